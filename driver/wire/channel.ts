/**
 * Framing of vhost-user: receives and sends whole messages with their descriptors on a stream socket.
 *
 * A read never asks for more than the rest of the current message. So one read never returns bytes of two messages, however
 * the sender split them, and the descriptors that come with a read belong to the current message.
 */
import { closeFromPeer } from '../../native/closer.js';
import { VirtioPmdError } from '../../native/errors.js';
import { closeConnection, receiveWithFds, sendWithFds, trySendWithFds } from '../../native/socket.js';
import {
  decodeHeader,
  encodeMessage,
  HEADER_SIZE,
  headerProblem,
  MAX_MESSAGE_FDS,
  requestName,
  type Header,
  type Message,
} from './vhost-user.js';

export class MessageChannel {
  /** Undefined, or why no more messages come: the peer has closed, or violated the framing. '' after an orderly close. */
  ended: string | undefined;

  private header: Header | undefined;
  private buffer = new Uint8Array(HEADER_SIZE);
  private filled = 0;
  private fds: number[] = [];

  /** @param fd a connected, non-blocking stream socket, which the channel owns from now on. */
  constructor(readonly fd: number) {}

  /**
   * The next whole message; undefined when there is none yet, or no more (see `ended`).
   * Never waits. The caller owns the descriptors of the message and closes them.
   */
  receive(): Message | undefined {
    while (this.ended === undefined) {
      if (this.filled === this.buffer.length) {
        const message = this.advance();
        if (message !== undefined) return message;
        continue;
      }
      if (!this.read()) return undefined;
    }
    return undefined;
  }

  /** Part of a message has arrived, but not all of it. */
  get isWithinMessage(): boolean {
    return this.filled > 0 || this.header !== undefined;
  }

  /** Reads missing bytes of the message. @returns false when nothing came. */
  private read(): boolean {
    const missing = this.buffer.subarray(this.filled);
    let received;
    try {
      received = receiveWithFds(this.fd, missing);
    } catch (error) {
      this.end(error instanceof Error ? error.message : String(error));
      return false;
    }
    this.fds.push(...received.fds);
    if (received.truncated || this.fds.length > MAX_MESSAGE_FDS) {
      this.end(`more than ${MAX_MESSAGE_FDS} file descriptors came with one message`);
      return false;
    }
    if (received.length < 0) return false;
    if (received.length === 0) {
      this.end(this.closedWhere());
      return false;
    }
    this.filled += received.length;
    return true;
  }

  /** Handles a full buffer: a header, or a payload. */
  private advance(): Message | undefined {
    if (this.header === undefined) {
      const header = decodeHeader(this.buffer);
      const problem = headerProblem(header);
      if (problem !== undefined) {
        this.end(problem);
        return undefined;
      }
      this.header = header;
      this.buffer = new Uint8Array(header.size);
      this.filled = 0;
      return undefined;
    }
    const message = { ...this.header, payload: this.buffer, fds: this.fds };
    this.header = undefined;
    this.buffer = new Uint8Array(HEADER_SIZE);
    this.filled = 0;
    this.fds = [];
    return message;
  }

  private closedWhere(): string {
    if (this.header !== undefined) {
      const { request, size } = this.header;
      return `the peer closed after ${this.filled} of ${size} bytes of ${requestName(request)}`;
    }
    return this.filled === 0 ? '' : `the peer closed within a message: short header of ${this.filled} bytes`;
  }

  private end(reason: string): void {
    this.ended = reason;
    closeFromPeer(this.fds);
    this.fds = [];
  }

  /**
   * Sends one message. The caller keeps the descriptors.
   * @param timeoutMs how long to wait for a peer that does not read: 0 gives up at once.
   * @throws VirtioPmdError EPEER, SystemError EPIPE when the peer has closed, VirtioPmdError ETIMEOUT.
   */
  send(request: number, flags: number, payload?: Uint8Array, fds: readonly number[] = [], timeoutMs = 1000): void {
    if (this.ended !== undefined) {
      throw new VirtioPmdError('EPEER', `${requestName(request)} cannot be sent: the connection has ended`);
    }
    sendWithFds(this.fd, encodeMessage(request, flags, payload), fds, timeoutMs);
  }

  /** Sends as much of an encoded message as there is room for. Never waits. @returns bytes sent. @throws as `send` */
  sendSome(bytes: Uint8Array, fds: readonly number[]): number {
    return trySendWithFds(this.fd, bytes, fds);
  }

  /** Closes the socket and the descriptors of an incomplete message. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.end(this.ended ?? 'closed by us');
    closeConnection(this.fd);
  }

  private closed = false;
}
