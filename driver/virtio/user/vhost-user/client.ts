/**
 * The front-end's side of one vhost-user connection: requests, their replies and acknowledgements (vhost-user.rst). It knows the
 * protocol only; session.ts and virtio-user.ts decide what to send and when.
 *
 * Nothing here waits. A request is a generator that yields while its bytes do not fit into the socket or its reply has not
 * come; conversation.ts resumes it and limits the time.
 *
 * When a back-end sends anything but the expected reply, later replies cannot be matched with requests, so the connection is
 * closed at once (vhost-user.rst, Communication). A refusal (REPLY_ACK) is a regular answer.
 */
import { closeFromPeer } from '../../../../native/closer.js';
import { SystemError, VirtioPmdError } from '../../../../native/errors.js';
import { pollFd, POLLIN, POLLOUT } from '../../../../native/event.js';
import { peerHasClosed } from '../../../../native/socket.js';
import { MessageChannel } from '../../../wire/channel.js';
import * as V from '../../../wire/vhost-user.js';
import { hex } from '../../../../native/hex.js';

/** Why a request is not complete yet: one object per request and direction. */
export interface Pause {
  readonly request: number;
  /** What the socket has to be ready for: POLLIN or POLLOUT. */
  readonly events: number;
}

/** One or several requests: yields as long as it has to wait, and returns the answer. It throws EPEER when the back-end fails. */
export type Exchange<T = void> = Generator<Pause, T, void>;

/** A memory region and the file behind it. */
export interface SharedRegion extends V.MemoryRegion {
  readonly fd: number;
}

/** The requests of one connection. */
export class VhostUserClient {
  /** Acknowledged protocol features (PROTOCOL_F_*). */
  protocolFeatures = 0n;

  private readonly channel: MessageChannel;
  private closed = false;

  /** @param fd a connected socket, which the client closes. */
  constructor(
    fd: number,
    private readonly warn: (line: string) => void,
  ) {
    this.channel = new MessageChannel(fd);
  }

  get fd(): number {
    return this.channel.fd;
  }

  /** False once this side has closed, also because of a wrong answer. */
  get open(): boolean {
    return !this.closed;
  }

  /**
   * True until either side has closed. One system call. A back-end sends only replies, so a message between two requests is an
   * error; it would also hide the end of the connection behind it.
   */
  get alive(): boolean {
    if (this.closed) return false;
    const { fd } = this.channel;
    if (pollFd(fd, POLLIN, 0) === 0) return true;
    if (!peerHasClosed(fd)) this.warn('the back-end sent a message that nobody asked for; connection closed');
    return false;
  }

  close(): void {
    this.closed = true;
    this.channel.close();
  }

  // ---- requests, in the order in which a session uses them -----------------------------------------------------------

  setOwner(): Exchange {
    return this.command(V.SET_OWNER);
  }

  *getFeatures(): Exchange<bigint> {
    return V.decodeU64(yield* this.query(V.GET_FEATURES, V.U64_SIZE));
  }

  *getProtocolFeatures(): Exchange<bigint> {
    return V.decodeU64(yield* this.query(V.GET_PROTOCOL_FEATURES, V.U64_SIZE));
  }

  *setProtocolFeatures(features: bigint): Exchange {
    yield* this.command(V.SET_PROTOCOL_FEATURES, V.encodeU64(features));
    this.protocolFeatures = features;
  }

  /** `length` bytes of the device's configuration from `offset` on; undefined when the back-end has none (an empty reply). */
  *getConfig(offset: number, length: number): Exchange<Uint8Array | undefined> {
    const request = V.encodeConfig({ offset, flags: 0, data: new Uint8Array(length) });
    const payload = yield* this.query(V.GET_CONFIG, undefined, request);
    if (payload.length === 0) return undefined;
    if (payload.length !== request.length) {
      throw this.broken(`the reply to GET_CONFIG has ${payload.length} bytes instead of ${request.length}`);
    }
    const { data } = V.decodeConfig(payload);
    return data.length === length ? data : undefined;
  }

  /** @param fd the eventfd that the back-end signals when it has used buffers of ring `index`. */
  setVringCall(index: number, fd: number): Exchange {
    return this.command(V.SET_VRING_CALL, V.encodeVringFd(index, true), [fd]);
  }

  setFeatures(features: bigint): Exchange {
    return this.command(V.SET_FEATURES, V.encodeU64(features));
  }

  setStatus(status: number): Exchange {
    return this.command(V.SET_STATUS, V.encodeU64(BigInt(status)));
  }

  *getStatus(): Exchange<number> {
    const status = V.decodeU64(yield* this.query(V.GET_STATUS, V.U64_SIZE));
    if (status > 0xffn) throw this.broken(`the reply to GET_STATUS is ${hex(status)}, more than a byte`);
    return Number(status);
  }

  setMemTable(regions: readonly SharedRegion[]): Exchange {
    const fds = regions.map((region) => region.fd);
    return this.command(V.SET_MEM_TABLE, V.encodeMemoryTable(regions), fds);
  }

  setVringNum(index: number, num: number): Exchange {
    return this.command(V.SET_VRING_NUM, V.encodeVringState({ index, num }));
  }

  setVringBase(index: number, num: number): Exchange {
    return this.command(V.SET_VRING_BASE, V.encodeVringState({ index, num }));
  }

  setVringAddr(addr: V.VringAddr): Exchange {
    return this.command(V.SET_VRING_ADDR, V.encodeVringAddr(addr));
  }

  /** @param fd the eventfd that we signal when there are new buffers in ring `index`. */
  setVringKick(index: number, fd: number): Exchange {
    return this.command(V.SET_VRING_KICK, V.encodeVringFd(index, true), [fd]);
  }

  setVringEnable(index: number, on: boolean): Exchange {
    return this.command(V.SET_VRING_ENABLE, V.encodeVringState({ index, num: on ? 1 : 0 }));
  }

  /** Stops a ring. @returns the back-end's position in it. */
  *getVringBase(index: number): Exchange<number> {
    const payload = V.encodeVringState({ index, num: 0 });
    return V.decodeVringState(yield* this.query(V.GET_VRING_BASE, V.VRING_STATE_SIZE, payload)).num;
  }

  // ---- conversation --------------------------------------------------------------------------------------------------

  /** A request without a reply of its own: acknowledged when REPLY_ACK is in force. @throws VirtioPmdError EPEER on a refusal */
  private *command(request: number, payload?: Uint8Array, fds: readonly number[] = []): Exchange {
    const acknowledged = (this.protocolFeatures & V.PROTOCOL_F_REPLY_ACK) !== 0n;
    yield* this.send(request, V.VERSION | (acknowledged ? V.NEED_REPLY : 0), payload, fds);
    if (!acknowledged) return;
    const answer = V.decodeU64(yield* this.reply(request, V.U64_SIZE));
    if (answer === 0n) return;
    throw new VirtioPmdError(
      'EPEER',
      `the back-end refused ${V.requestName(request)}: it answered ${answer} instead of 0; its own log has the reason`,
    );
  }

  private *query(request: number, size: number | undefined, payload?: Uint8Array): Exchange<Uint8Array> {
    yield* this.send(request, V.VERSION, payload);
    return yield* this.reply(request, size);
  }

  private *send(request: number, flags: number, payload?: Uint8Array, fds: readonly number[] = []): Exchange {
    const bytes = V.encodeMessage(request, flags, payload);
    const pause: Pause = { request, events: POLLOUT };
    for (let sent = 0; ;) {
      sent += this.sendSome(request, bytes.subarray(sent), sent === 0 ? fds : []);
      if (sent === bytes.length) return;
      yield pause;
    }
  }

  private sendSome(request: number, bytes: Uint8Array, fds: readonly number[]): number {
    if (this.closed) {
      throw new VirtioPmdError('EPEER', `${V.requestName(request)} cannot be sent: there is no back-end`);
    }
    try {
      return this.channel.sendSome(bytes, fds);
    } catch (error) {
      this.close();
      if (error instanceof SystemError && (error.errno === 'EPIPE' || error.errno === 'ECONNRESET')) {
        throw new VirtioPmdError('EPEER', `the back-end closed the connection before ${V.requestName(request)}`);
      }
      throw error;
    }
  }

  private *reply(request: number, size: number | undefined): Exchange<Uint8Array> {
    const message = yield* this.receive(request);
    if (message.fds.length > 0) {
      closeFromPeer(message.fds);
      this.warn(
        `${message.fds.length} file descriptors came with the reply to ${V.requestName(request)}, which has none; closed`,
      );
    }
    const problem = V.replyProblem(message, request, size);
    if (problem !== undefined) throw this.broken(problem);
    return message.payload;
  }

  private *receive(request: number): Exchange<V.Message> {
    const pause: Pause = { request, events: POLLIN };
    for (;;) {
      const message = this.channel.receive();
      if (message !== undefined) return message;
      const { ended } = this.channel;
      if (ended !== undefined) {
        const where = ended === '' ? '' : ` (${ended})`;
        throw this.broken(`the back-end closed the connection instead of answering ${V.requestName(request)}${where}`);
      }
      yield pause;
    }
  }

  private broken(why: string): VirtioPmdError {
    this.close();
    return new VirtioPmdError('EPEER', `${why}; connection closed`);
  }
}
