/**
 * QEMU's qtest protocol (QEMU's system/qtest.c): each request is a line over a Unix socket, and so is its answer. It reads and
 * writes the memory and the I/O ports of an emulated machine as its processor would. A request takes about 0.1 ms, so it is for
 * the control plane only.
 *
 * Two threads use the one socket, control plane and bridge. A mutex in shared memory gives it to one of them for a whole
 * exchange. If the bridge alone used it, no request would be possible before its thread has loaded or after it has ended, and
 * every answer would cost two more switches between threads.
 */
import { SystemError, VirtioPmdError, isVirtioPmdError } from '../../../../native/errors.js';
import { pollFd, POLLIN } from '../../../../native/event.js';
import { peerHasClosed, receiveWithFds, sendWithFds } from '../../../../native/socket.js';
import { allOnes } from '../bar.js';
import type { Width } from '../function.js';
import { hex } from '../../../../native/hex.js';
import { GONE, HUNG_UP, PRESENT, SharedMutex, SILENT, SOCKET_LOCK } from './shared.js';

/** An address space of the emulated processor. */
export type Space = 'memory' | 'io';

/** A connection, as plain data that can be posted to a worker. */
export interface QtestLink {
  readonly fd: number;
  readonly shared: SharedArrayBuffer;
  /** Milliseconds that one answer may take. */
  readonly timeoutMs: number;
}

const reads = { memory: { 1: 'readb', 2: 'readw', 4: 'readl' }, io: { 1: 'inb', 2: 'inw', 4: 'inl' } } as const;
const writes = { memory: { 1: 'writeb', 2: 'writew', 4: 'writel' }, io: { 1: 'outb', 2: 'outw', 4: 'outl' } } as const;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** One thread's end of the connection. */
export class QtestSocket {
  private readonly words: Int32Array;
  private readonly lock: SharedMutex;
  private readonly chunk = new Uint8Array(256);

  constructor(private readonly link: QtestLink) {
    this.words = new Int32Array(link.shared);
    this.lock = new SharedMutex(this.words, SOCKET_LOCK);
  }

  /**
   * True once QEMU has closed the socket or stopped answering. It stays true, as late answers could not be matched with
   * requests.
   */
  get gone(): boolean {
    if (this.words[GONE] === PRESENT && peerHasClosed(this.link.fd)) this.lose(HUNG_UP);
    return Atomics.load(this.words, GONE) !== PRESENT;
  }

  /** Why QEMU is gone, for a message. */
  get whyGone(): string {
    return Atomics.load(this.words, GONE) === SILENT
      ? `it does not answer (${this.link.timeoutMs} ms waited)`
      : 'it has closed its socket';
  }

  /** Reads; all ones when QEMU is gone. @throws VirtioPmdError EPEER when the answer is not QEMU's */
  read(space: Space, address: number, width: Width): number {
    const answer = this.request(`${reads[space][width]} ${hex(address)}`);
    if (answer === undefined) return allOnes(width);
    if (!/^0x[0-9a-f]{1,16}$/.test(answer)) throw this.nonsense(answer);
    return Number(BigInt.asUintN(8 * width, BigInt(answer)));
  }

  /** Writes; without effect when QEMU is gone. @throws VirtioPmdError EPEER when the answer is not QEMU's */
  write(space: Space, address: number, width: Width, value: number): void {
    this.request(`${writes[space][width]} ${hex(address)} ${hex(value)}`);
  }

  /** Sends a line. @returns the text after "OK" of its answer, or undefined when QEMU is gone. */
  private request(line: string): string | undefined {
    return this.lock.run(() => {
      if (Atomics.load(this.words, GONE) !== PRESENT) return undefined;
      const { fd, timeoutMs } = this.link;
      try {
        sendWithFds(fd, encoder.encode(`${line}\n`), [], timeoutMs);
      } catch (error) {
        if (isVirtioPmdError(error, 'ETIMEOUT')) return this.lose(SILENT);
        if (error instanceof SystemError) return this.lose(HUNG_UP);
        throw error;
      }
      const answer = this.receive();
      if (answer === undefined) return undefined;
      const [status, value = ''] = answer.split(' ');
      if (status !== 'OK') throw this.nonsense(answer);
      return value;
    });
  }

  /** The next line that does not report an interrupt. */
  private receive(): string | undefined {
    const { fd, timeoutMs } = this.link;
    const deadline = performance.now() + timeoutMs;
    let text = '';
    for (;;) {
      const end = text.indexOf('\n');
      if (end >= 0) {
        const line = text.slice(0, end);
        if (!line.startsWith('IRQ ')) return line;
        text = text.slice(end + 1);
        continue;
      }
      if (text.length > 1024) throw this.nonsense(text);
      const left = deadline - performance.now();
      if (left <= 0) return this.lose(SILENT);
      if (pollFd(fd, POLLIN, Math.ceil(left)) === 0) continue;
      const { length } = receiveWithFds(fd, this.chunk);
      if (length === 0) return this.lose(HUNG_UP);
      if (length > 0) text += decoder.decode(this.chunk.subarray(0, length));
    }
  }

  private lose(why: number): undefined {
    Atomics.compareExchange(this.words, GONE, PRESENT, why);
  }

  private nonsense(answer: string): VirtioPmdError {
    this.lose(SILENT);
    return new VirtioPmdError(
      'EPEER',
      `the qtest socket answered ${JSON.stringify(answer.slice(0, 80))} instead of "OK": give the socket of QEMU's -qtest option`,
    );
  }
}
