/**
 * When a program of ours ends before its work is done: a signal asks it to, or nobody takes its output any more. It then
 * cleans up as at any other end (sockets, hugepages, the terminal), without a stack trace.
 */
import { constants } from 'node:os';

const asking = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
type Cause = (typeof asking)[number] | 'SIGPIPE';

/** npm, and a shell whose window is closed, send a signal twice: that is not somebody who has lost patience. */
const TWICE_MS = 1000;
/** Nor is a shell that goes away with its terminal, however long it takes. */
const patient: readonly Cause[] = ['SIGHUP', 'SIGPIPE'];

/** As a shell has it in `$?` after a program that a signal ended. */
const shellCode = (signal: Cause): number => 128 + constants.signals[signal];

export class Ending {
  private readonly controller = new AbortController();
  private cause: Cause | undefined;
  private askedAt = 0;
  /** Of writing to stdout or stderr, when it was not only that the reader went away. */
  private failed = false;

  /**
   * Takes the signals, and the errors of stdout and stderr, for this process.
   * @param afterSignal exit code of an orderly end after a signal: 0 as with DPDK's programs, whose only end it is, or as in a shell
   */
  constructor(private readonly afterSignal: 0 | 'shell') {
    for (const name of asking) process.on(name, () => this.ask(name));
    process.stdout.on('error', (error: NodeJS.ErrnoException) => this.unwritable('stdout', error));
    process.stderr.on('error', (error: NodeJS.ErrnoException) => this.unwritable('stderr', error));
    process.on('exit', (code) => {
      if (code === 0) process.exitCode = this.exitCode;
    });
  }

  /** Aborts once the program is to end. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /**
   * For programs whose work is one synchronous piece: what they have begun they end, and then hear of a signal that came meanwhile.
   * @returns what `work` returns
   */
  async during<T>(work: () => T): Promise<T> {
    try {
      return work();
    } finally {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends the program as if it had been asked to, after a fault of its own. */
  abort(): void {
    this.controller.abort();
  }

  /** Of a program that has done nothing wrong otherwise. */
  get exitCode(): number {
    if (this.failed) return 1;
    if (this.cause === undefined) return 0;
    return this.cause === 'SIGPIPE' || this.afterSignal === 'shell' ? shellCode(this.cause) : 0;
  }

  /** The first time asks for an orderly end; the next one has no patience with it. */
  private ask(cause: Cause): void {
    const now = performance.now();
    if (this.cause === undefined) {
      this.cause = cause;
      this.askedAt = now;
      this.controller.abort();
    } else if (!patient.includes(cause) && now - this.askedAt > TWICE_MS) {
      process.exit(shellCode(cause));
    }
  }

  /** EPIPE: `| head` has seen enough, and what a pipe's writer gets then is SIGPIPE. EIO: the terminal is gone. */
  private unwritable(name: 'stdout' | 'stderr', { code, message }: NodeJS.ErrnoException): void {
    if (code !== 'EPIPE' && code !== 'EIO' && !this.failed) {
      this.failed = true;
      if (name === 'stdout') process.stderr.write(`error[ESYSTEM]: cannot write to stdout: ${message}\n`);
    }
    this.ask(code === 'EIO' ? 'SIGHUP' : 'SIGPIPE');
  }
}
