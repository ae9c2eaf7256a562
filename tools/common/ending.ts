/**
 * Early ends of our programs: after a signal, or when no one reads their output any more. They clean up as usual (sockets,
 * hugepages, the terminal), without a stack trace.
 */
import { constants } from 'node:os';

const asking = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const;
type Cause = (typeof asking)[number] | 'SIGPIPE';

/** npm, and a shell whose window is closed, send a signal twice within this time: that is not a second request. */
const TWICE_MS = 1000;
/** These signals, from a terminal or pipe that was closed, never count as a second request. */
const patient: readonly Cause[] = ['SIGHUP', 'SIGPIPE'];

/** The exit code that a shell shows in `$?` for a program that a signal ended. */
const shellCode = (signal: Cause): number => 128 + constants.signals[signal];

export class Ending {
  private readonly controller = new AbortController();
  private cause: Cause | undefined;
  private askedAt = 0;
  /** Writing to stdout or stderr failed for another reason than a closed pipe or terminal. */
  private failed = false;

  /**
   * Handles the signals, and the errors of stdout and stderr, of this process.
   * @param afterSignal exit code of an orderly end after a signal: 0, as in DPDK's programs, or the one of a shell
   */
  constructor(private readonly afterSignal: 0 | 'shell') {
    for (const name of asking) process.on(name, () => this.ask(name));
    process.stdout.on('error', (error: NodeJS.ErrnoException) => this.unwritable('stdout', error));
    process.stderr.on('error', (error: NodeJS.ErrnoException) => this.unwritable('stderr', error));
    process.on('exit', (code) => {
      if (code === 0) process.exitCode = this.exitCode;
    });
  }

  /** Aborted when the program has to end. */
  get signal(): AbortSignal {
    return this.controller.signal;
  }

  /**
   * For programs with synchronous work: `work` runs to its end, and a signal that came meanwhile is handled afterwards.
   * @returns the result of `work`
   */
  async during<T>(work: () => T): Promise<T> {
    try {
      return work();
    } finally {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Ends the program in an orderly way, after an internal error. */
  abort(): void {
    this.controller.abort();
  }

  /** The exit code, if there is no other error. */
  get exitCode(): number {
    if (this.failed) return 1;
    if (this.cause === undefined) return 0;
    return this.cause === 'SIGPIPE' || this.afterSignal === 'shell' ? shellCode(this.cause) : 0;
  }

  /** The first request asks for an orderly end; the second one ends the program at once. */
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

  /** EPIPE: the reader, such as `| head`, has closed the pipe, which counts as SIGPIPE. EIO: the terminal is gone. */
  private unwritable(name: 'stdout' | 'stderr', { code, message }: NodeJS.ErrnoException): void {
    if (code !== 'EPIPE' && code !== 'EIO' && !this.failed) {
      this.failed = true;
      if (name === 'stdout') process.stderr.write(`error[ESYSTEM]: cannot write to stdout: ${message}\n`);
    }
    this.ask(code === 'EIO' ? 'SIGHUP' : 'SIGPIPE');
  }
}
