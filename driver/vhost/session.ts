/**
 * One connection: it reads messages, has them carried out, and answers as the protocol requires (vhost-user.rst, Communication).
 * A message with wrong framing, size or descriptors always ends the connection. A refused request ends it when the
 * front-end did not ask for an acknowledgement (REPLY_ACK), or when the protocol says so.
 */
import { closeFromPeer, MAX_UNCLOSED, unclosed } from '../../native/closer.js';
import { pollFd, POLLIN } from '../../native/event.js';
import { MessageChannel } from '../wire/channel.js';
import { messageProblem } from '../wire/vhost-user-checks.js';
import * as wire from '../wire/vhost-user.js';
import { hex } from '../../native/hex.js';
import type { GuestDevice } from './device.js';
import { handleRequest, type Outcome } from './requests.js';

/** Limits for the messages of one connection in one poll: a flood of them must not keep the rings from being served. */
const MESSAGES_PER_POLL = 64;
const MS_PER_POLL = 0.2;

/** A connection and its device. */
export class VhostSession {
  private readonly channel: MessageChannel;
  private over = false;
  /** SET_OWNER and GET_FEATURES, with which every front-end begins, have come. */
  private owned = false;
  private asked = false;
  /** By when the first two requests, or the rest of a message, have to come; Infinity when we wait for neither. */
  private deadline: number;
  /** When the last message came, by performance.now. */
  heard = performance.now();

  /** @param fd connected socket, which the session closes. @param patienceMs see VhostOptions.handshakeTimeoutMs. */
  constructor(
    fd: number,
    readonly device: GuestDevice,
    private readonly patienceMs: number,
  ) {
    this.channel = new MessageChannel(fd);
    this.deadline = performance.now() + patienceMs;
  }

  /**
   * The front-end has sent SET_OWNER and GET_FEATURES, as QEMU and DPDK do when they connect. The next message may take any time:
   * the guest may not use its device yet, or never.
   */
  get introduced(): boolean {
    return this.owned && this.asked;
  }

  /** The front-end shares no memory and was silent for the time that a handshake may take: its guest may never begin. */
  get isParked(): boolean {
    return this.device.table.regions.length === 0 && performance.now() - this.heard > this.patienceMs;
  }

  /** Sets the deadline, after messages were handled. */
  private waitOn(): void {
    if (!this.introduced) return;
    if (!this.channel.isWithinMessage) this.deadline = Infinity;
    else if (this.deadline === Infinity) this.deadline = performance.now() + this.patienceMs;
  }

  private giveUpWaiting(): void {
    const what = this.introduced ? 'a message was not completed' : 'no SET_OWNER and GET_FEATURES came';
    this.close('error', `${what} within ${this.patienceMs} ms; connection closed`);
  }

  /** Handles the messages that have arrived. Never waits, never throws. @returns false once the connection has ended. */
  poll(): boolean {
    if (this.over) return false;
    if (this.device.table.truncated()) {
      this.close('error', "a file behind the guest's memory was truncated; the rest of it reads as zeros");
      return false;
    }
    this.device.reportBroken();
    if (this.deadline !== Infinity && performance.now() > this.deadline) {
      this.giveUpWaiting();
      return false;
    }
    if (pollFd(this.channel.fd, POLLIN, 0) === 0) return true;
    const until = performance.now() + MS_PER_POLL;
    for (let i = 0; i < MESSAGES_PER_POLL && !this.over; i++) {
      if (i > 0 && performance.now() > until) break;
      const message = this.channel.receive();
      if (message === undefined) break;
      this.heard = performance.now();
      this.take(message);
    }
    this.waitOn();
    if (!this.over && this.channel.ended !== undefined) this.hangUp(this.channel.ended);
    return !this.over;
  }

  private hangUp(reason: string): void {
    if (reason === '') this.close('info', 'vhost peer closed');
    else this.close('error', `${reason}; connection closed`);
  }

  /** Handles one message. Its descriptors are closed here, unless the device has taken them. */
  private take(message: wire.Message): void {
    let kept = false;
    try {
      const problem = messageProblem(message);
      if (problem !== undefined) {
        this.close('error', `${problem}; connection closed`);
        return;
      }
      const name = wire.requestName(message.request);
      this.device.log('debug', `read message VHOST_USER_${name}`);
      const reserved = message.flags & ~(wire.VERSION_MASK | wire.REPLY | wire.NEED_REPLY);
      if (reserved) this.device.log('warning', `${name} has unknown flags ${hex(reserved >>> 0)}: ignored`);
      if (message.request === wire.SET_OWNER) this.owned = true;
      else if (message.request === wire.GET_FEATURES) this.asked = true;
      const outcome = handleRequest(this.device, message);
      kept = 'keepsFds' in outcome && outcome.keepsFds === true;
      this.answer(message, outcome);
    } finally {
      if (!kept) this.closeAll(message.fds);
    }
  }

  private closeAll(fds: readonly number[]): void {
    if (closeFromPeer(fds) || unclosed() < MAX_UNCLOSED) return;
    this.close('error', `${unclosed()} descriptors that came from peers do not close; connection closed`);
  }

  private answer(message: wire.Message, outcome: Outcome): void {
    const { request, flags } = message;
    const acks = (flags & wire.NEED_REPLY) !== 0 && (this.device.protocolFeatures & wire.PROTOCOL_F_REPLY_ACK) !== 0n;
    switch (outcome.kind) {
      case 'reply':
        this.reply(request, outcome.payload);
        return;
      case 'done':
        if (acks) this.reply(request, wire.encodeU64(0n));
        return;
      case 'unknown':
        this.device.log('warning', `vhost message (req: ${request}) is unknown and was ignored`);
        if (acks) this.reply(request, wire.encodeU64(1n));
        return;
      case 'refused':
        if (!acks || outcome.fatal) {
          this.close('error', `${outcome.why}; connection closed`);
          return;
        }
        this.device.log('error', outcome.why);
        this.reply(request, wire.encodeU64(1n));
    }
  }

  /** Answers are small and few: the connection ends when they do not fit into the socket's buffer. */
  private reply(request: number, payload: Uint8Array): void {
    try {
      this.channel.send(request, wire.REPLY_FLAGS, payload, [], 0);
    } catch (error) {
      this.close('error', `${error instanceof Error ? error.message : String(error)}; connection closed`);
    }
  }

  /** Ends the connection and its device. Idempotent. @param reason a sentence for the log. */
  close(level: 'info' | 'error', reason: string): void {
    if (this.over) return;
    this.over = true;
    this.device.log(level, reason);
    this.device.dispose();
    this.device.options.callbacks.destroyConnection?.(this.device);
    this.channel.close();
  }
}
