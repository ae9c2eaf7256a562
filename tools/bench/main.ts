#!/usr/bin/env node
/** `npm run bench`: see `usage` in options.ts. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';
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
} from './options.js';
import { root } from './common/peer.js';
import { intoPage, markdownReport } from './forwarding/report.js';
import { loadResult } from './forwarding/results.js';
import { runScaling, scalingTable } from './scaling.js';
import { runTurn, turnTable } from './turn/turn.js';

const print = (text: string) => void process.stdout.write(`${text}\n`);

const interrupted = new Ending('shell');

/** Our testpmd is measured as users have it. */
function build(): void {
  const { status, error } = spawnSync('npm', ['run', '--silent', 'build'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0) return;
  throw new VirtioPmdError('ESYSTEM', `npm run build failed${error ? `: ${error.message}` : ''}; see above`);
}

/** The machine, with dpdk-testpmd on it. @throws VirtioPmdError ECONFIG */
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

async function latency(argv: readonly string[]): Promise<number> {
  const command = parseLatency(argv);
  if (command === undefined) return help();
  const { options, json } = command;
  const machine = machineWithDpdk();
  if (command.build) build();
  const { signal } = interrupted;
  const result = await runLatency(options, { program: 'dist', json, machine, print, signal });
  print(`\n${latencyTable(result)}\n\n${json}`);
  return signal.aborted ? interrupted.exitCode : 0;
}

async function scaling(argv: readonly string[]): Promise<number> {
  const command = parseScaling(argv);
  if (command === undefined) return help();
  const { options, json } = command;
  const machine = machineWithDpdk();
  if (command.build) build();
  const { signal } = interrupted;
  const result = await runScaling(options, { program: 'dist', json, machine, print, signal });
  print(`\n${scalingTable(result)}\n\n${json}`);
  return signal.aborted ? interrupted.exitCode : 0;
}

async function turn(argv: readonly string[]): Promise<number> {
  const command = parseTurn(argv);
  if (command === undefined) return help();
  const { options, json } = command;
  const { signal } = interrupted;
  const runs = await runTurn(options, { json, machine: describeMachine(), print, signal });
  print(`\n${turnTable(options.recipes, runs)}\n\n${json}`);
  return signal.aborted ? interrupted.exitCode : 0;
}

async function exceptionPath(argv: readonly string[]): Promise<number> {
  const command = parseExceptionPath(argv);
  if (command === undefined) return help();
  const { options, json } = command;
  checkExceptionPath(options.path);
  const machine = options.sides.includes('dpdk') ? machineWithDpdk() : describeMachine();
  if (command.build) build();
  const { signal } = interrupted;
  const result = await runExceptionPath(options, { program: 'dist', json, machine, print, signal });
  print(`\n${exceptionPathTable(result)}\n\n${json}`);
  return signal.aborted ? interrupted.exitCode : 0;
}

async function interrupt(argv: readonly string[]): Promise<number> {
  const command = parseInterrupt(argv);
  if (command === undefined) return help();
  const { options, json } = command;
  const machine = machineWithDpdk();
  if (command.build) build();
  const { signal } = interrupted;
  const result = await runInterrupt(options, { program: 'dist', json, machine, print, signal });
  print(`\n${interruptTable(result)}\n\n${json}`);
  return signal.aborted ? interrupted.exitCode : 0;
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

type Command = (argv: readonly string[]) => number | Promise<number>;
const commands: Readonly<Record<string, Command>> = {
  ...{ forwarding, latency, turn, scaling, 'exception-path': exceptionPath, interrupt, lookup, report },
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
