/**
 * How every program of ours ends when something goes wrong: what it prints, and its exit code. docs/errors.md has the same
 * as a table.
 */
import { isVirtioPmdError, type VirtioPmdError } from '../../native/errors.js';

/** `rte_exit`: in the two lines of DPDK's programs, and with their only exit code. */
export type Frame = 'plain' | 'rte_exit';

/** How long a program has for an orderly end after an exception that nothing caught. */
const GRACE_MS = 5000;

const oneLine = (text: string) => text.trim().replace(/\s*[\n\r]+\s*/g, ' ');

export const errorLine = ({ code, message }: VirtioPmdError): string => `error[${code}]: ${oneLine(message)}`;

/** An exception that is none of ours: a fault of the program. */
function bugLine(error: unknown): string {
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  const end = what.endsWith('.') ? '' : '.';
  return `error[EBUG]: ${oneLine(what)}${end} This is a fault of virtio-pmd: please report it (npm bugs virtio-pmd) with the stack that VPMD_STACK=1 shows`;
}

/** 2: the command line could not be understood; 1: anything else. */
export function exitCodeOf(error: unknown, frame: Frame = 'plain'): number {
  return frame === 'plain' && isVirtioPmdError(error, 'EOPTION') ? 2 : 1;
}

/** Says on stderr what went wrong: one line, and the stack only when VPMD_STACK=1 asks for it. @returns the exit code */
function tell(error: unknown, frame: Frame = 'plain'): number {
  const code = exitCodeOf(error, frame);
  const line = isVirtioPmdError(error) ? errorLine(error) : bugLine(error);
  const stack = process.env['VPMD_STACK'] === '1' && error instanceof Error ? `${error.stack}\n` : '';
  const lead = frame === 'rte_exit' ? `EAL: Error - exiting with code: ${code}\n  Cause: ` : '';
  process.stderr.write(`${stack}${lead}${line}\n`);
  return code;
}

let orderly: (() => void) | undefined;

/** `stop` ends the program in an orderly way after an exception that nothing caught: sockets and terminals are put right. */
export function endOrderly(stop: () => void): void {
  orderly = stop;
}

/**
 * Runs a program and sets its exit code.
 * @param main returns the exit code. What it throws is told, and so is what timers and callbacks throw
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
