#!/usr/bin/env node
/** `npm run bench`: see `usage` in options.ts. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';
import { getKoffi } from '../../native/koffi.js';
import { didYouMean } from '../../native/nearest.js';
import { Ending } from '../common/ending.js';
import { runMain } from '../common/program.js';
import { checkExceptionPath, exceptionPathTable, runExceptionPath } from './exception-path/exception-path.js';
import { newResult, publish, resumeResult, runForwarding } from './forwarding/forwarding.js';
import { runInterrupt } from './interrupt/interrupt.js';
import { interruptTable } from './interrupt/table.js';
import { latencyTable, runLatency } from './latency/latency.js';
import { lookupTable, runLookup } from './lookup.js';
import { describeMachine, machineLine, type Machine } from './common/machine.js';
import {
  fail,
  parseExceptionPath,
  parseForwarding,
  parseInterrupt,
  parseLatency,
  parseLookup,
  parseReport,
  parseScaling,
  parseTurn,
  usage,
  type Command as Parsed,
} from './options.js';
import type { Context } from './common/measurement.js';
import { root } from './common/peer.js';
import { intoPage, markdownReport } from './forwarding/report.js';
import { loadResult } from './forwarding/results.js';
import { runScaling, scalingTable } from './scaling.js';
import { runTurn, turnTable } from './turn/turn.js';

const print = (text: string) => void process.stdout.write(`${text}\n`);

/** @returns the exit code */
type Command = (argv: readonly string[]) => number | Promise<number>;

const interrupted = new Ending('shell');

/** Builds the project: our testpmd is measured as users run it. */
function build(): void {
  const { status, error } = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  throw new VirtioPmdError('ESYSTEM', `npm run build failed${error ? `: ${error.message}` : ''}; see above`);
}

/** Checks that native calls work, before anything is built: measurements need them. @throws VirtioPmdError ESYSTEM */
function checkNative(): void {
  getKoffi();
}

/** The machine. @throws VirtioPmdError ECONFIG when it has no dpdk-testpmd */
function machineWithDpdk(): Machine {
  const machine = describeMachine();
  if (machine.dpdk !== 'not installed') return machine;
  throw new VirtioPmdError(
    'ECONFIG',
    'dpdk-testpmd is not installed, without which there is nothing to compare with: docs/testing.md names the packages',
  );
}

async function forwarding(argv: readonly string[]): Promise<number> {
  const command = parseForwarding(argv);
  if (command === undefined) return help();
  checkNative();
  const machine = machineWithDpdk();
  const begun =
    command.options === undefined ? resumeResult(command.json, machine) : newResult(command.options, machine);
  if (command.build) build();
  const { signal } = interrupted;
  const result = await runForwarding(begun, { program: 'dist', json: command.json, print, signal });
  publish(result, command.svg, print);
  print(command.json);
  if (signal.aborted) print(`interrupted; npm run bench -- --resume ${command.json} goes on`);
  return signal.aborted ? interrupted.exitCode : result.failures.length > 0 ? 1 : 0;
}

/** A benchmark that compares our programs with DPDK's. */
interface Comparison<Options extends object, Result> {
  readonly parse: (argv: readonly string[]) => Parsed<Options> | undefined;
  /** Checks that this machine has what the benchmark needs, besides DPDK. @throws VirtioPmdError */
  readonly check?: (options: Options) => void;
  /** False: the benchmark does not need DPDK. Default: it does. */
  readonly needsDpdk?: (options: Options) => boolean;
  readonly run: (options: Options, context: Context) => Promise<Result>;
  readonly table: (result: Result) => string;
}

/** The command that parses, builds, measures and prints the table. */
function comparison<Options extends object, Result>(benchmark: Comparison<Options, Result>): Command {
  const { parse, check = () => {}, needsDpdk = () => true, run, table } = benchmark;
  return async (argv) => {
    const command = parse(argv);
    if (command === undefined) return help();
    const { options, json } = command;
    checkNative();
    check(options);
    const machine = needsDpdk(options) ? machineWithDpdk() : describeMachine();
    if (command.build) build();
    const { signal } = interrupted;
    const result = await run(options, { program: 'dist', json, machine, print, signal });
    return finish(table(result), json);
  };
}

/** @returns the exit code */
function finish(table: string, json: string): number {
  print(`\n${table}\n\n${json}`);
  return interrupted.signal.aborted ? interrupted.exitCode : 0;
}

async function turn(argv: readonly string[]): Promise<number> {
  const command = parseTurn(argv);
  if (command === undefined) return help();
  const { options, json } = command;
  checkNative();
  const runs = await runTurn(options, { json, machine: describeMachine(), print, signal: interrupted.signal });
  return finish(turnTable(options.recipes, runs), json);
}

function lookup(argv: readonly string[]): number {
  const options = parseLookup(argv);
  if (options === undefined) return help();
  print(`${machineLine(describeMachine())}\n\n${lookupTable(runLookup(options))}`);
  return 0;
}

function report(argv: readonly string[]): number {
  const command = parseReport(argv);
  if (command === undefined) return help();
  const result = loadResult(command.file);
  publish(result, command.svg, print);
  if (command.markdown !== undefined) {
    const page = existsSync(command.markdown) ? readFileSync(command.markdown, 'utf8') : '';
    writeFileSync(command.markdown, intoPage(page, markdownReport(result)));
    print(command.markdown);
  }
  return 0;
}

function help(): number {
  print(usage);
  return 0;
}

const commands: Readonly<Record<string, Command>> = {
  forwarding,
  latency: comparison({ parse: parseLatency, run: runLatency, table: latencyTable }),
  turn,
  scaling: comparison({ parse: parseScaling, run: runScaling, table: scalingTable }),
  'exception-path': comparison({
    parse: parseExceptionPath,
    check: ({ path }) => checkExceptionPath(path),
    needsDpdk: ({ sides }) => sides.includes('dpdk'),
    run: runExceptionPath,
    table: exceptionPathTable,
  }),
  interrupt: comparison({ parse: parseInterrupt, run: runInterrupt, table: interruptTable }),
  lookup,
  report,
};

async function main(argv: readonly string[]): Promise<number> {
  const named = argv[0] !== undefined && !argv[0].startsWith('-');
  const name = named ? argv[0]! : 'forwarding';
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    const names = Object.keys(commands);
    throw fail(`bench: there is no '${name}': the commands are ${names.join(', ')}${didYouMean(name, names)}`);
  }
  return command(named ? argv.slice(1) : argv);
}

await runMain(() => main(process.argv.slice(2)));
