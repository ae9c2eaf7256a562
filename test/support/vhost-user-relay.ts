/**
 * A relay between a vhost-user front-end and a back-end: every message goes through as it came, bytes and descriptors, and is
 * written down. So two real programs say in which order they talk, and a connection can end at any message.
 */
import { requestName } from '../../driver/wire/vhost-user.js';
import { closeFd } from '../../native/region.js';
import { acceptUnix, connectUnix, isListening, listenUnix, receiveWithFds, sendWithFds } from '../../native/socket.js';
import type { Scope } from './peers.js';

/** How the relay meets a side: it listens for it, or connects to where that one listens. */
export type RelayEnd = { readonly listen: string } | { readonly connect: string };

export interface RelayedMessage {
  readonly from: 'front' | 'back';
  /** Number of the connection it went through, from 0. */
  readonly connection: number;
  readonly request: number;
  /** `SET_STATUS`. */
  readonly name: string;
  readonly flags: number;
  readonly payload: Buffer;
  /** Descriptors that came with it. */
  readonly fds: number;
  /** Name and what it says, for reading: `SET_VRING_BASE 1: 0x80008000`. */
  readonly text: string;
}

const HEADER = 12;
const POLL_MS = 1;

/** Bytes of one direction, message by message. A read asks for what is missing of one, so descriptors stay with theirs. */
class Stream {
  private bytes = Buffer.alloc(HEADER);
  private filled = 0;
  private fds: number[] = [];

  constructor(readonly fd: number) {}

  /** The next whole message; undefined when it is not all there; 'closed'. */
  take(): { readonly bytes: Buffer; readonly fds: number[] } | undefined | 'closed' {
    for (;;) {
      const size = this.filled < HEADER ? HEADER : HEADER + this.bytes.readUInt32LE(8);
      if (this.filled === size) {
        const message = { bytes: this.bytes, fds: this.fds };
        this.bytes = Buffer.alloc(HEADER);
        this.filled = 0;
        this.fds = [];
        return message;
      }
      if (this.bytes.length < size) this.bytes = Buffer.concat([this.bytes], size);
      const got = receiveWithFds(this.fd, this.bytes.subarray(this.filled, size));
      this.fds.push(...got.fds);
      if (got.length === 0) return 'closed';
      if (got.length < 0) return undefined;
      this.filled += got.length;
    }
  }

  close(): void {
    this.fds.splice(0).forEach(closeFd);
    closeFd(this.fd);
  }
}

const hex = (value: bigint | number) => `0x${value.toString(16)}`;

/** What a message says, as far as its shape tells. */
function describe(name: string, payload: Buffer, fds: number): string {
  const fdNote = fds > 0 ? ` +${fds} fd` : '';
  if (/VRING_(NUM|BASE|ENABLE)/.test(name) && payload.length === 8) {
    return `${name} ${payload.readUInt32LE(0)}: ${hex(payload.readUInt32LE(4))}`;
  }
  if (/VRING_(KICK|CALL|ERR)/.test(name) && payload.length === 8) return `${name} ${payload[0]}${fdNote}`;
  if (name === 'SET_VRING_ADDR' && payload.length === 40) {
    return `${name} ${payload.readUInt32LE(0)}: ${hex(payload.readBigUInt64LE(8))}`;
  }
  if (name === 'SET_MEM_TABLE' && payload.length >= 8) return `${name} ${payload.readUInt32LE(0)} regions${fdNote}`;
  return (payload.length === 8 ? `${name} ${hex(payload.readBigUInt64LE())}` : name) + fdNote;
}

export class VhostUserRelay {
  /** All messages so far. */
  readonly log: RelayedMessage[] = [];
  /** Asked before a message is passed on: true ends the connection instead. */
  cut: (message: RelayedMessage) => boolean = () => false;
  /** Connections that have ended. */
  ended = 0;

  private readonly listeners = new Map<string, number>();
  private front: Stream | undefined;
  private back: Stream | undefined;
  private connection = 0;
  private readonly timer: NodeJS.Timeout;

  private constructor(
    private readonly frontEnd: RelayEnd,
    private readonly backEnd: RelayEnd,
  ) {
    for (const end of [frontEnd, backEnd]) if ('listen' in end) this.listeners.set(end.listen, listenUnix(end.listen));
    this.timer = setInterval(() => this.turn(), POLL_MS);
  }

  /** At least one of the ends listens. Both ends of a connection close together, and the next may come. */
  static start(scope: Scope, ends: { readonly front: RelayEnd; readonly back: RelayEnd }): VhostUserRelay {
    const relay = new VhostUserRelay(ends.front, ends.back);
    scope.teardown(() => relay.close());
    return relay;
  }

  /** What went from the front-end to the back-end and back, a line each. */
  lines(from = 0): string[] {
    return this.log.slice(from).map((message) => `${message.from === 'front' ? '>' : '<'} ${message.text}`);
  }

  /** Ends the connection there is. */
  hangUp(): void {
    if (this.front === undefined && this.back === undefined) return;
    this.front?.close();
    this.back?.close();
    this.front = this.back = undefined;
    this.ended++;
    this.connection++;
  }

  close(): void {
    clearInterval(this.timer);
    this.hangUp();
    for (const fd of this.listeners.values()) closeFd(fd);
    this.listeners.clear();
  }

  private turn(): void {
    // whoever listens for a side waits for it first; then the other one is called
    this.front ??= this.meet(this.frontEnd, this.back);
    this.back ??= this.meet(this.backEnd, this.front);
    const { front, back } = this;
    if (front === undefined || back === undefined) return;
    if (!this.pass('front', front, back) || !this.pass('back', back, front)) this.hangUp();
  }

  private meet(end: RelayEnd, other: Stream | undefined): Stream | undefined {
    if ('listen' in end) {
      const fd = acceptUnix(this.listeners.get(end.listen)!);
      return fd < 0 ? undefined : new Stream(fd);
    }
    if (other === undefined || !isListening(end.connect)) return undefined;
    try {
      return new Stream(connectUnix(end.connect));
    } catch {
      return undefined; // not yet, or not any more
    }
  }

  /** Passes on what is there. @returns false when the connection is over */
  private pass(from: 'front' | 'back', source: Stream, target: Stream): boolean {
    for (;;) {
      const taken = this.take(source);
      if (taken === undefined) return true;
      if (taken === 'closed') return false;
      const { bytes, fds } = taken;
      try {
        const message = this.note(from, bytes, fds.length);
        if (this.cut(message)) return false;
        sendWithFds(target.fd, bytes, fds);
      } catch {
        return false; // the other side has closed
      } finally {
        fds.forEach(closeFd);
      }
    }
  }

  private take(source: Stream): ReturnType<Stream['take']> {
    try {
      return source.take();
    } catch {
      return 'closed';
    }
  }

  private note(from: 'front' | 'back', bytes: Buffer, fds: number): RelayedMessage {
    const request = bytes.readUInt32LE(0);
    const name = requestName(request);
    const payload = bytes.subarray(HEADER);
    const isAck = from === 'back' && payload.length === 8 && !name.startsWith('GET_');
    const message = {
      from,
      connection: this.connection,
      request,
      name,
      flags: bytes.readUInt32LE(4),
      payload,
      fds,
      text: isAck ? `${name} ack ${payload.readBigUInt64LE()}` : describe(name, payload, fds),
    };
    this.log.push(message);
    return message;
  }
}
