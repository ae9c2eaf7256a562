/**
 * Every error of the project: one class, a stable `code`, and a sentence that says what was expected, what was found
 * and what to do. Tools print `message` and exit non-zero. A user must never see a stack trace.
 */

/** Codes are stable API: scripts may test them. docs/errors.md lists each with its usual cause. */
export type ErrorCode =
  | 'EDEVARGS' // a device argument string that cannot be understood
  | 'EOPTION' // a command-line option or command that cannot be understood
  | 'ECONFIG' // a request that the device or the driver cannot serve
  | 'ESTATE' // a call in the wrong order: start before configure, configure while started
  | 'EMEMORY' // not enough memory, hugepages or mbufs
  | 'ELCORE' // an lcore that does not exist, is busy, or died
  | 'ESOCKET' // a socket path that cannot be used
  | 'EPEER' // the peer broke the protocol, refused a request, or went away
  | 'ETIMEOUT' // the peer did not answer in time
  | 'ESYSTEM'; // a system call failed

export class VirtioPmdError extends Error {
  override readonly name = 'VirtioPmdError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** A system call that failed: `errno` is its symbolic name, as in errno(3). */
export class SystemError extends VirtioPmdError {
  constructor(
    readonly syscall: string,
    readonly errno: string,
    detail = '',
  ) {
    super('ESYSTEM', `${syscall}: ${describeErrno(errno)}${detail ? ` (${detail})` : ''}`);
  }
}

const descriptions: Record<string, string> = {
  EACCES: 'permission denied',
  EADDRINUSE: 'address already in use',
  EAGAIN: 'would block',
  EBUSY: 'device or resource busy',
  ECONNREFUSED: 'connection refused: nobody listens',
  ECONNRESET: 'connection reset by peer',
  EINVAL: 'invalid argument',
  EMFILE: 'too many open files in this process',
  ENOENT: 'no such file or directory',
  ENOMEM: 'out of memory',
  ENOTSOCK: 'not a socket',
  EPERM: 'operation not permitted',
  EPIPE: 'peer closed the connection',
};

function describeErrno(errno: string): string {
  const words = descriptions[errno];
  return words ? `${words} [${errno}]` : errno;
}

/** True when `error` is one of ours, optionally of the given code. */
export function isVirtioPmdError(error: unknown, code?: ErrorCode): error is VirtioPmdError {
  return error instanceof VirtioPmdError && (code === undefined || error.code === code);
}

/** The errno of a SystemError by name; '' for other errors. */
export function errnoOf(error: unknown): string {
  return error instanceof SystemError ? error.errno : '';
}

/** The message of an error, for use in another one. */
export function words(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Runs all steps of a clean-up, also after one that fails. Never throws. */
export function attempt(...steps: (() => void)[]): void {
  for (const step of steps) {
    try {
      step();
    } catch {
      // the device may be gone, and its resources with it
    }
  }
}
