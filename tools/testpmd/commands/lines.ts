/** Reads lines of commands from a file, a pipe or a terminal, in limited memory for any input. */
import { closeSync, constants, createReadStream, fstatSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { VirtioPmdError } from '../../../native/errors.js';

/** Characters. No command is that long; a file that is not text may be one long line. */
export const LONGEST_LINE = 65_536;

/** How long a pipe may be silent before a message. */
const PATIENCE_MS = 1000;

/** Splits text into lines, and drops lines that are too long. */
export class LineCutter {
  private rest = '';
  /** In the middle of a line that is dropped. */
  private skipping = false;
  private count = 0;

  /** @param onLong called with the number, from 1, of a line that is longer than LONGEST_LINE and dropped */
  constructor(private readonly onLong: (line: number) => void) {}

  *push(text: string): Generator<string> {
    let from = 0;
    for (let to = text.indexOf('\n'); to >= 0; to = text.indexOf('\n', from)) {
      this.add(text.slice(from, to));
      from = to + 1;
      const line = this.take();
      if (line !== undefined) yield line;
    }
    this.add(text.slice(from));
  }

  /** The last line, if it does not end in a newline. */
  *end(): Generator<string> {
    if (this.rest === '') return;
    yield this.take()!;
  }

  private add(part: string): void {
    if (this.skipping) return;
    if (this.rest.length + part.length > LONGEST_LINE) {
      this.rest = '';
      this.skipping = true;
      this.onLong(this.count + 1);
    } else this.rest += part;
  }

  private take(): string | undefined {
    this.count++;
    const line = this.skipping ? undefined : this.rest.replace(/\r$/, '');
    this.rest = '';
    this.skipping = false;
    return line;
  }
}

/**
 * The lines of a stream. Reads only as much as is consumed; ends early when `signal` is aborted.
 * @throws Error of the stream, or of `onLong`
 */
export async function* linesOf(
  input: Readable,
  signal: AbortSignal,
  onLong: (line: number) => void,
): AsyncGenerator<string> {
  const cutter = new LineCutter(onLong);
  const stop = () => void input.destroy();
  signal.addEventListener('abort', stop, { once: true });
  try {
    if (signal.aborted) return;
    for await (const text of input.setEncoding('utf8')) {
      for (const line of cutter.push(text as string)) {
        yield line;
        if (signal.aborted) return;
      }
    }
    yield* cutter.end();
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    input.destroy();
  }
}

/**
 * The lines of a text file that an option names, or of a pipe such as a shell's `<(...)`, which may be slow.
 * @param onWait called when nothing has come from a pipe yet
 * @throws VirtioPmdError EOPTION when it is neither, cannot be read, or holds a line that is too long
 */
export async function* linesOfFile(
  option: string,
  path: string,
  signal: AbortSignal,
  onWait: (sentence: string) => void,
): AsyncGenerator<string> {
  const fail = (why: string, cause?: unknown) =>
    new VirtioPmdError('EOPTION', `testpmd: --${option}=${path}: ${why}`, { cause });
  let input: Readable;
  let pipe: boolean;
  try {
    // open() of a FIFO would wait for a writer
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
    const stats = fstatSync(fd);
    pipe = stats.isFIFO();
    if (!pipe && !stats.isFile()) {
      closeSync(fd);
      throw new Error(`a text file is needed, and this is ${stats.isDirectory() ? 'a directory' : 'a device'}`);
    }
    input = pipe ? new Socket({ fd, readable: true, writable: false }) : createReadStream('', { fd });
  } catch (cause) {
    throw fail((cause as Error).message, cause);
  }
  const tooLong = (line: number) => {
    throw fail(`line ${line} has more than ${LONGEST_LINE} characters: this is no text file`);
  };
  const silence = pipe ? setTimeout(() => onWait(`testpmd: waiting for lines from ${path}`), PATIENCE_MS) : undefined;
  try {
    for await (const line of linesOf(input, signal, tooLong)) {
      clearTimeout(silence);
      yield line;
    }
  } catch (error) {
    throw error instanceof VirtioPmdError ? error : fail((error as Error).message, error);
  } finally {
    clearTimeout(silence);
  }
}
