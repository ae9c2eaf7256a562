/** Event counters (eventfd) and waiting for file descriptors. */
import { interrupted } from './interrupted.js';
import { addressOf, c, check, lastErrno, lastErrnoNumber } from './libc.js';

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const one = new Uint8Array(8);
one[0] = 1;
const scratch = new Uint8Array(8);

/** A new eventfd, non-blocking. */
export function createEventFd(): number {
  return check(c.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 'eventfd');
}

/**
 * Signals an eventfd that no peer holds, such as the one that wakes a thread of ours. A peer could make it wait for ever:
 * use `signalPeer` then. About 0.2 us. A full counter means "already signalled" and is no error.
 * @returns false when nothing was written.
 */
export function signalFd(fd: number): boolean {
  return c.write(fd, one, 8) === 8;
}

// struct iovec: address and length of `scratch`
const scratchIov = new BigUint64Array([addressOf(scratch), 8n]);
const RWF_NOWAIT = 8;
const EAGAIN = 11;

/**
 * Reads an eventfd (or pipe) until it is empty. Never waits, even when a peer that has the same open file made it blocking.
 * Before Linux 5.8 the kernel cannot do that for eventfds: then they are read when readable, and a timer interrupts the read
 * when a peer was faster.
 * @returns true when it had been signalled.
 */
export function drainFd(fd: number): boolean {
  const got = c.preadv2(fd, scratchIov, 1, -1, RWF_NOWAIT);
  if (got >= 0 || lastErrnoNumber() === EAGAIN) return got > 0;
  return (pollFd(fd, POLLIN, 0) & POLLIN) !== 0 && interrupted(() => c.read(fd, scratch, 8)) > 0;
}

export const POLLIN = 0x1;
export const POLLOUT = 0x4;
/** Reported without being asked for: an error, such as that the other end is gone. */
export const POLLERR = 0x8;
/** Reported without being asked for: both sides have closed. */
export const POLLHUP = 0x10;

/** Descriptors to wait for together. Its memory is reused, so that waits leave no garbage. */
export class PollSet {
  // struct pollfd, two words each: fd; events | revents << 16
  private readonly words: Int32Array;
  private count = 0;

  constructor(readonly capacity: number) {
    this.words = new Int32Array(2 * capacity);
  }

  clear(): void {
    this.count = 0;
  }

  /** Adds `fd`, to wait until it is readable. @returns its position */
  add(fd: number): number {
    this.words[2 * this.count] = fd;
    this.words[2 * this.count + 1] = POLLIN;
    return this.count++;
  }

  /** Waits. @param timeoutMs as pollFd. @returns how many are ready, 0 after the time-out or a signal. */
  wait(timeoutMs: number): number {
    const ready = c.poll(this.words, this.count, timeoutMs);
    if (ready < 0 && lastErrno() !== 'EINTR') check(ready, 'poll');
    return Math.max(ready, 0);
  }

  /** Whether the last wait found the descriptor at `position` ready. */
  isReady(position: number): boolean {
    return this.words[2 * position + 1]! >>> 16 !== 0;
  }
}

// struct pollfd, reused: the driver's timer polls for ever and should leave no garbage
const entry = new DataView(new ArrayBuffer(8));
const entryBytes = new Uint8Array(entry.buffer);

/**
 * Waits until `fd` is ready for `events`.
 * @param timeoutMs 0 returns at once, -1 waits for ever (blocks the thread: never on a thread that has an event loop).
 * @returns the ready events, 0 after the time-out.
 */
export function pollFd(fd: number, events: number, timeoutMs: number): number {
  entry.setInt32(0, fd, true);
  entry.setInt16(4, events, true);
  const ready = c.poll(entryBytes, 1, timeoutMs);
  if (ready < 0 && lastErrno() !== 'EINTR') check(ready, 'poll');
  return ready > 0 ? entry.getUint16(6, true) : 0;
}
