/**
 * How our programs end after an error: what they print, and their exit codes. docs/errors.md has a table of them.
 */
import { isVirtioPmdError, type VirtioPmdError } from '../../native/errors.js';

/** Format of errors. `rte_exit`: the two lines of DPDK's programs, with their only exit code for errors. */
export type Frame = 'plain' | 'rte_exit';

/** Time limit of an orderly end after an uncaught exception. */
const GRACE_MS = 5000;

const oneLine = (text: string) => text.trim().replace(/\s*[\n\r]+\s*/g, ' ');

export const errorLine = ({ code, message }: VirtioPmdError): string => `error[${code}]: ${oneLine(message)}`;

/** The line for an exception that is not a VirtioPmdError: a bug. */
function bugLine(error: unknown): string {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const end = what.endsWith('.') ? '' : '.';
  return `error[EBUG]: ${oneLine(what)}${end} This is a fault of virtio-pmd: please report it (npm bugs virtio-pmd) with the stack that VPMD_STACK=1 shows`;
}

/** The exit code: 2 for an invalid command line, 1 for any other error. */
export function exitCodeOf(error: unknown, frame: Frame = 'plain'): number {
  return frame === 'plain' && isVirtioPmdError(error, 'EOPTION') ? 2 : 1;
}

/** Prints an error to stderr: one line, and the stack only with VPMD_STACK=1. @returns the exit code */
function tell(error: unknown, frame: Frame = 'plain'): number {
  const code = exitCodeOf(error, frame);
  const line = isVirtioPmdError(error) ? errorLine(error) : bugLine(error);
  const stack = process.env['VPMD_STACK'] === '1' && error instanceof Error ? `${error.stack}\n` : '';
  const lead = frame === 'rte_exit' ? `EAL: Error - exiting with code: ${code}\n  Cause: ` : '';
  process.stderr.write(`${stack}${lead}${line}\n`);
  return code;
}

let orderly: (() => void) | undefined;

/** Calls `stop` after an uncaught exception, for an orderly end: sockets are removed and the terminal is restored. */
export function endOrderly(stop: () => void): void {
  orderly = stop;
}

/**
 * Runs a program and sets its exit code.
 * @param main returns the exit code. Its errors are printed, and so are those of timers and callbacks
 */
export async function runMain(main: () => number | Promise<number>, frame: Frame = 'plain'): Promise<void> {
  let uncaught: number | undefined;
  process.on('uncaughtException', (error) => {
    const first = uncaught === undefined;
    uncaught ??= exitCodeOf(error, frame);
    tell(error, frame);
    if (!first || orderly === undefined) process.exit(uncaught);
    process.exitCode = uncaught;
    setTimeout(() => process.exit(uncaught), GRACE_MS).unref();
    orderly();
  });
  try {
    const code = await main();
    process.exitCode = uncaught ?? code;
  } catch (error) {
    process.exitCode = uncaught ?? tell(error, frame);
  }
}
