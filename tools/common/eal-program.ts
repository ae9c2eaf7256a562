/**
 * Shared by programs with DPDK's command line: EAL options, `--` and options of their own; output, signals and exit codes.
 */
import { isVirtioPmdError } from '../../native/errors.js';
import { createEal, processCpus, type Eal, type LcoreMap } from '../../driver/eal/eal.js';
import type { PortEvents } from '../../driver/port/types.js';
import { Ending } from './ending.js';
import { endDespiteReaders, Output } from './output.js';
import { logLevelNumber } from './log-level.js';
import { endOrderly, errorLine, runMain } from './program.js';
import { parseEalOptions, type EalArguments } from './eal-options.js';
import { startVersion, versionText } from './version.js';

/** The line in which the user types: output must not go into it. */
export interface TypedLine {
  /** Removes it from the screen. */
  hide(): void;
  /** Draws it again, below the output. */
  show(): void;
}

let typed: TypedLine | undefined;

export function keepTyped(line: TypedLine | undefined): void {
  typed = line;
}

function write(stream: NodeJS.WriteStream, text: string): void {
  const around = stream.isTTY ? typed : undefined;
  around?.hide();
  stream.write(text);
  around?.show();
}

export const print = (text: string) => write(process.stdout, `${text}\n`);
export const complain = (text: string) => write(process.stderr, `${text}\n`);

/** For lines that a peer can cause: they must not pile up when no one reads them. */
const peerLines = new Output({
  get writableLength() {
    return process.stderr.writableLength;
  },
  write: (text) => write(process.stderr, text),
});

/** A log function that writes the lines selected by --log-level to stderr. */
export function logOf({ logLevel }: EalArguments): PortEvents['log'] {
  return (level, line) => {
    if (logLevelNumber(level) <= logLevel) peerLines.line(line);
  };
}

/** Makes the Eal. @param lcores used instead of those in the options */
export function ealOf(args: EalArguments, lcores: LcoreMap, mainLcore: number | undefined): Eal {
  const { memoryMiB, filePrefix, noHuge } = args;
  complain(`EAL: Detected CPU lcores: ${processCpus().length}`);
  return createEal({
    noHuge,
    lcores,
    pinMain: args.lcores !== undefined,
    log: complain,
    ...(memoryMiB === undefined ? {} : { memoryMiB }),
    ...(filePrefix === undefined ? {} : { filePrefix }),
    ...(mainLcore === undefined ? {} : { mainLcore }),
  });
}

export interface EalProgram<A extends { readonly help: boolean; readonly notes: readonly string[] }> {
  /** Such as `testpmd`, for DPDK's `dpdk-testpmd`. */
  readonly name: string;
  readonly usage: string;
  /** The options behind `--`. @throws VirtioPmdError */
  readonly parse: (argv: readonly string[]) => A;
  readonly makeEal: (args: EalArguments) => Eal;
  /** Ends when its work is done, or when `signal` is aborted. @throws VirtioPmdError */
  readonly run: (eal: Eal, args: EalArguments, own: A, signal: AbortSignal) => Promise<void>;
}

/** Runs a program and sets the exit code: 0 after a signal and 1 after any error, as in DPDK's programs. */
export async function runProgram<A extends { readonly help: boolean; readonly notes: readonly string[] }>(
  program: EalProgram<A>,
): Promise<void> {
  const ending = new Ending(0);
  await runMain(() => exitCode(program, process.argv.slice(2), ending), 'rte_exit');
}

async function exitCode<A extends { readonly help: boolean; readonly notes: readonly string[] }>(
  { name, usage, parse, makeEal, run }: EalProgram<A>,
  argv: readonly string[],
  ending: Ending,
): Promise<number> {
  const separator = argv.indexOf('--');
  let eal: Eal | undefined;
  try {
    const args = parseEalOptions(separator < 0 ? argv : argv.slice(0, separator));
    if (args.version && !args.help) {
      process.stdout.write(versionText(name));
      return 0;
    }
    const own = args.help ? undefined : parse(separator < 0 ? [] : argv.slice(separator + 1));
    if (own === undefined || own.help) {
      print(usage);
      return 0;
    }
    if (args.showVersion) complain(startVersion());
    for (const note of [...args.notes, ...own.notes]) complain(note);
    endOrderly(() => ending.abort());
    eal = makeEal(args);
    await run(eal, args, own, ending.signal);
    eal.close();
    return 0;
  } catch (error) {
    try {
      eal?.close();
    } catch (second) {
      complain(isVirtioPmdError(second) ? errorLine(second) : String(second)); // the first error is more important
    }
    if (ending.signal.aborted && isVirtioPmdError(error)) return 0;
    throw error;
  } finally {
    if (ending.signal.aborted) endDespiteReaders();
  }
}
