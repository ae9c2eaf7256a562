/**
 * Reads and writes of one packet in several pieces (readv, writev), for descriptors that keep packets apart, such as taps. They
 * are called for each packet: no call allocates anything.
 */
import { addressOf, c, lastErrnoNumber } from './libc.js';

/** The error of a descriptor whose device does not exist any more. */
export const EBADFD = 77;

/** Pieces of memory, in order (struct iovec): the caller keeps what they point to. */
export class Vectors {
  private readonly words: Uint32Array;
  private readonly address: number;

  /** @param capacity the most pieces */
  constructor(readonly capacity: number) {
    this.words = new Uint32Array(4 * capacity);
    this.address = Number(addressOf(this.words));
  }

  /** @param address all user addresses are below 2^53. @param byteLength below 2^32 */
  set(index: number, address: number, byteLength: number): void {
    const { words } = this;
    const at = index << 2;
    words[at] = address % 0x100000000;
    words[at + 1] = address / 0x100000000;
    words[at + 2] = byteLength;
  }

  /** The same for bytes of ours, which the caller keeps. */
  setBytes(index: number, bytes: Uint8Array): void {
    this.set(index, Number(addressOf(bytes)), bytes.length);
  }

  /** One read into the first `count` pieces. @returns bytes, or the negative number of the error */
  read(fd: number, count: number): number {
    const got = c.readv(fd, this.address, count);
    return got < 0 ? -lastErrnoNumber() : got;
  }

  /** One write of the first `count` pieces. @returns bytes, or the negative number of the error */
  write(fd: number, count: number): number {
    const put = c.writev(fd, this.address, count);
    return put < 0 ? -lastErrnoNumber() : put;
  }
}
