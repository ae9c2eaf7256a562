/**
 * The front-end's side of one vhost-user connection: requests, their replies and acknowledgements, each within a time
 * limit. It knows the protocol and no policy: what to send when is virtio-user.ts's business.
 *
 * A back-end that answers with anything but the expected reply has lost its place in the conversation, so the
 * connection is closed on the spot (vhost-user.rst, Communication). A refusal (REPLY_ACK) is an answer like any other.
 */
import { SystemError, VirtioPmdError } from '../../native/errors.js';
import { pollFd, POLLIN } from '../../native/event.js';
import { closeFd } from '../../native/region.js';
import { peerHasClosed } from '../../native/socket.js';
import { MessageChannel } from '../wire/channel.js';
import * as V from '../wire/vhost-user.js';

export const DEFAULT_REPLY_TIMEOUT_MS = 5000;

export interface VhostUserClientOptions {
  /** How long one reply may take. */
  readonly replyTimeoutMs: number;
  readonly warn: (line: string) => void;
}

/** A memory region and the file behind it. */
export interface SharedRegion extends V.MemoryRegion {
  readonly fd: number;
}

export class VhostUserClient {
  /** Acknowledged protocol features (PROTOCOL_F_*). */
  protocolFeatures = 0n;

  private readonly channel: MessageChannel;
  private closed = false;

  /** @param fd a connected socket, owned by the client from now on. */
  constructor(
    fd: number,
    private readonly options: VhostUserClientOptions,
  ) {
    this.channel = new MessageChannel(fd);
  }

  /**
   * True until either side has closed. Looks at the socket: one system call. A back-end speaks only when it is asked, so
   * one that has something to say between two requests has lost its place, and its end would hide behind it.
   */
  get alive(): boolean {
    if (this.closed) return false;
    const { fd } = this.channel;
    if (pollFd(fd, POLLIN, 0) === 0) return true;
    if (!peerHasClosed(fd)) this.options.warn('the back-end sent a message that nobody asked for; connection closed');
    return false;
  }

  close(): void {
    this.closed = true;
    this.channel.close();
  }

  // ---- requests, in the order in which a session uses them -----------------------------------------------------------

  setOwner(): void {
    this.command(V.SET_OWNER);
  }

  getFeatures(): bigint {
    return V.decodeU64(this.query(V.GET_FEATURES, V.U64_SIZE));
  }

  getProtocolFeatures(): bigint {
    return V.decodeU64(this.query(V.GET_PROTOCOL_FEATURES, V.U64_SIZE));
  }

  setProtocolFeatures(features: bigint): void {
    this.command(V.SET_PROTOCOL_FEATURES, V.encodeU64(features));
    this.protocolFeatures = features;
  }

  /** A piece of the device's configuration; undefined when the back-end has none (an empty reply). */
  getConfig(offset: number, length: number): Uint8Array | undefined {
    const request = V.encodeConfig({ offset, flags: 0, data: new Uint8Array(length) });
    const payload = this.query(V.GET_CONFIG, undefined, request);
    if (payload.length === 0) return undefined;
    if (payload.length !== request.length) {
      throw this.broken(`the reply to GET_CONFIG has ${payload.length} bytes instead of ${request.length}`);
    }
    const { data } = V.decodeConfig(payload);
    return data.length === length ? data : undefined;
  }

  /** @param fd the eventfd that the back-end signals when it has used buffers of ring `index`. */
  setVringCall(index: number, fd: number): void {
    this.command(V.SET_VRING_CALL, V.encodeVringFd(index, true), [fd]);
  }

  setFeatures(features: bigint): void {
    this.command(V.SET_FEATURES, V.encodeU64(features));
  }

  setStatus(status: number): void {
    this.command(V.SET_STATUS, V.encodeU64(BigInt(status)));
  }

  getStatus(): number {
    const status = V.decodeU64(this.query(V.GET_STATUS, V.U64_SIZE));
    if (status > 0xffn) throw this.broken(`the reply to GET_STATUS is 0x${status.toString(16)}, more than a byte`);
    return Number(status);
  }

  setMemTable(regions: readonly SharedRegion[]): void {
    const fds = regions.map((region) => region.fd);
    this.command(V.SET_MEM_TABLE, V.encodeMemoryTable(regions), fds);
  }

  setVringNum(index: number, num: number): void {
    this.command(V.SET_VRING_NUM, V.encodeVringState({ index, num }));
  }

  setVringBase(index: number, num: number): void {
    this.command(V.SET_VRING_BASE, V.encodeVringState({ index, num }));
  }

  setVringAddr(addr: V.VringAddr): void {
    this.command(V.SET_VRING_ADDR, V.encodeVringAddr(addr));
  }

  /** @param fd the eventfd with which we tell the back-end about buffers in ring `index`. */
  setVringKick(index: number, fd: number): void {
    this.command(V.SET_VRING_KICK, V.encodeVringFd(index, true), [fd]);
  }

  setVringEnable(index: number, on: boolean): void {
    this.command(V.SET_VRING_ENABLE, V.encodeVringState({ index, num: on ? 1 : 0 }));
  }

  /** Stops a ring. @returns where the back-end stood in it. */
  getVringBase(index: number): number {
    const payload = V.encodeVringState({ index, num: 0 });
    return V.decodeVringState(this.query(V.GET_VRING_BASE, V.VRING_STATE_SIZE, payload)).num;
  }

  // ---- conversation --------------------------------------------------------------------------------------------------

  /** A request without a reply of its own: acknowledged when REPLY_ACK is in force. @throws VirtioPmdError EPEER on a refusal */
  private command(request: number, payload?: Uint8Array, fds: readonly number[] = []): void {
    const acknowledged = (this.protocolFeatures & V.PROTOCOL_F_REPLY_ACK) !== 0n;
    this.send(request, V.VERSION | (acknowledged ? V.NEED_REPLY : 0), payload, fds);
    if (!acknowledged) return;
    const answer = V.decodeU64(this.reply(request, V.U64_SIZE));
    if (answer === 0n) return;
    throw new VirtioPmdError(
      'EPEER',
      `the back-end refused ${V.requestName(request)}: it answered ${answer} instead of 0; its own log has the reason`,
    );
  }

  private query(request: number, size: number | undefined, payload?: Uint8Array): Uint8Array {
    this.send(request, V.VERSION, payload);
    return this.reply(request, size);
  }

  private send(request: number, flags: number, payload?: Uint8Array, fds: readonly number[] = []): void {
    const { replyTimeoutMs } = this.options;
    if (this.closed)
      throw new VirtioPmdError('EPEER', `${V.requestName(request)} cannot be sent: there is no back-end`);
    try {
      this.channel.send(request, flags, payload, fds, replyTimeoutMs);
    } catch (error) {
      this.close();
      if (error instanceof SystemError && (error.errno === 'EPIPE' || error.errno === 'ECONNRESET')) {
        throw new VirtioPmdError('EPEER', `the back-end closed the connection before ${V.requestName(request)}`);
      }
      throw error;
    }
  }

  private reply(request: number, size: number | undefined): Uint8Array {
    const message = this.receive(request);
    if (message.fds.length > 0) {
      for (const fd of message.fds) closeFd(fd);
      this.options.warn(
        `${message.fds.length} file descriptors came with the reply to ${V.requestName(request)}, which has none; closed`,
      );
    }
    const problem = V.replyProblem(message, request, size);
    if (problem !== undefined) throw this.broken(problem);
    return message.payload;
  }

  private receive(request: number): V.Message {
    const { replyTimeoutMs } = this.options;
    const deadline = performance.now() + replyTimeoutMs;
    for (;;) {
      const message = this.channel.receive();
      if (message !== undefined) return message;
      const { ended } = this.channel;
      if (ended !== undefined) {
        const where = ended === '' ? '' : ` (${ended})`;
        throw this.broken(`the back-end closed the connection instead of answering ${V.requestName(request)}${where}`);
      }
      const left = Math.ceil(deadline - performance.now());
      if (left <= 0) {
        this.close();
        throw new VirtioPmdError(
          'ETIMEOUT',
          `the back-end did not answer ${V.requestName(request)} within ${replyTimeoutMs} ms: it hangs, or is stopped`,
        );
      }
      pollFd(this.channel.fd, POLLIN, left);
    }
  }

  private broken(why: string): VirtioPmdError {
    this.close();
    return new VirtioPmdError('EPEER', `${why}; connection closed`);
  }
}
