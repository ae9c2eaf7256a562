/** Reads a regular file ahead, in chunks, with a limit per burst: a burst takes at most the time of one read. */
import { readSync } from 'node:fs';
import { FD, OPENED, SIZE, type CaptureState } from './state.js';

/** Bytes that are read at once. */
const CHUNK = 128 * 1024;
/** Most bytes that can be asked for at once. */
export const WINDOW_BYTES = 384 * 1024;

/** Answers of `at`: the file ends before; not in this burst. */
export const BEYOND = -1;
export const LATER = -2;

export class FileWindow {
  readonly u8 = new Uint8Array(WINDOW_BYTES);
  readonly view = new DataView(this.u8.buffer);
  /** Which bytes of the file `u8` has. */
  private start = 0;
  private held = 0;
  private opened = 0;
  private mayRead = true;

  constructor(private readonly state: CaptureState) {}

  /** A burst begins: it may read once. */
  begin(): void {
    this.mayRead = true;
    const opened = this.state.words[OPENED]!;
    if (opened === this.opened) return;
    this.opened = opened;
    this.held = 0;
  }

  /**
   * Makes `length` bytes at `position` of the file available.
   * @returns their index in `u8`, BEYOND or LATER. @throws the error of read(2)
   */
  at(position: number, length: number): number {
    const index = position - this.start;
    if (index >= 0 && index + length <= this.held) return index;
    if (position + length > this.state.doubles[SIZE]!) return BEYOND;
    if (!this.mayRead) return LATER;
    this.mayRead = false;
    const kept = index >= 0 && index < this.held ? this.held - index : 0;
    if (kept > 0) this.u8.copyWithin(0, index, this.held);
    this.start = position;
    this.held = kept;
    const fd = this.state.words[FD]!;
    const wanted = Math.max(length, CHUNK);
    while (this.held < length) {
      const got = readSync(fd, this.u8, this.held, wanted - this.held, position + this.held);
      if (got === 0) return BEYOND; // somebody cut the file meanwhile
      this.held += got;
    }
    return 0;
  }
}
