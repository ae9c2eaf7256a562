/**
 * Lines for a reader who may not read: a pipe whose other end is stopped. Node would keep them in memory without end; here they
 * are dropped and counted once some are waiting, and the number is told when the reader goes on.
 */

/** Bytes that may wait; somewhat more than a screen of statistics for 64 guests. */
const WAITING_BYTES = 64 << 10;

export interface LineStream {
  /** Bytes that were written and that the reader has not taken. */
  readonly writableLength: number;
  write(text: string): unknown;
}

/** Writes texts to a stream, or drops them. */
export class Output {
  private dropped = 0;

  constructor(private readonly stream: LineStream) {}

  /** @param text whole lines, each with its newline */
  write(text: string): void {
    const { stream } = this;
    if (stream.writableLength > WAITING_BYTES) {
      this.dropped++;
      return;
    }
    if (this.dropped > 0) stream.write(`${this.dropped} outputs were dropped, because nobody read them\n`);
    this.dropped = 0;
    stream.write(text);
  }

  readonly line = (line: string): void => this.write(`${line}\n`);
}

/** How long the reader has to take what is waiting, once the program has been told to end. */
const LAST_WORDS_MS = 1000;

/** After a signal: Node would not end before all output is read, and it may never be. */
export function endDespiteReaders(): void {
  setTimeout(() => process.exit(), LAST_WORDS_MS).unref();
}
