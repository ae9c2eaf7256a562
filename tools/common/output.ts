/**
 * Output to a reader that may have stopped reading, such as a stopped process at the other end of a pipe. Node would keep all
 * lines in memory. Here, when some are waiting, further ones are dropped and counted, and the number is written later.
 */

/** Bytes that may wait: somewhat more than a screen of statistics for 64 guests. */
const WAITING_BYTES = 64 << 10;

export interface LineStream {
  /** Bytes that were written and not yet taken by the reader. */
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

/** How long the program waits for the reader to take its last output, when it has to end. */
const LAST_WORDS_MS = 1000;

/** Ends the process after a signal: Node would wait until all output is read, which may never happen. */
export function endDespiteReaders(): void {
  setTimeout(() => process.exit(), LAST_WORDS_MS).unref();
}
