/** The system's part in the exception-path benchmark: a network namespace, its interface, counters, senders. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VirtioPmdError } from '../../../native/errors.js';
import type { FloodJob } from './flood.js';

type Command = [string, string[]];

/** From the range for documentation; not visible outside the namespace. */
const ADDRESS = '192.0.2.1';
/** A multicast group: it needs no ARP. */
const TARGET = '239.0.0.1';
/** Bytes of Ethernet, IPv4 and UDP headers. */
const HEADERS = 14 + 20 + 8;

/** Runs a program as a check. @throws VirtioPmdError ECONFIG, with `remedy`, when it cannot be run */
export function tool(program: string, args: readonly string[], remedy: string): void {
  const { status, error } = spawnSync(program, args, { stdio: 'ignore' });
  if (error === undefined && status === 0) return;
  throw new VirtioPmdError('ECONFIG', `${[program, ...args].join(' ')} does not work: ${remedy}`);
}

/** Runs a command in a new network namespace. Neither this nor the next adds a process: the child is the program itself. */
export function namespaced([program, args]: Command): Command {
  return ['unshare', ['-n', program, ...args]];
}

/** Runs a command in the network namespace of a process. */
export function inNamespaceOf(pid: number, [program, args]: Command): Command {
  return ['nsenter', ['-t', String(pid), '-n', program, ...args]];
}

/** Gives the interface an address, and sets it up. @throws VirtioPmdError ESYSTEM */
export function setUp(pid: number, name: string): void {
  for (const words of [`addr add ${ADDRESS}/24 dev ${name}`, `link set ${name} up`]) {
    const [program, args] = inNamespaceOf(pid, ['ip', words.split(' ')]);
    const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
    if (status === 0) continue;
    throw new VirtioPmdError('ESYSTEM', `ip ${words}: ${error?.message ?? stderr.trim()}`);
  }
}

export interface InterfaceCounters {
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly txDropped: number;
}

/** `text` is /proc/PID/net/dev. @throws VirtioPmdError EPEER when the interface is gone */
export function parseInterface(text: string, name: string): InterfaceCounters {
  const line = text.split('\n').find((row) => row.trimStart().startsWith(`${name}:`));
  const fields = line
    ?.slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  if (fields?.length !== 16) throw new VirtioPmdError('EPEER', `the interface ${name} is not there any more`);
  return { rxPackets: fields[1]!, txPackets: fields[9]!, txDropped: fields[11]! };
}

export function interfaceCounters(pid: number, name: string): InterfaceCounters {
  return parseInterface(readFileSync(`/proc/${pid}/net/dev`, 'utf8'), name);
}

/** The command for flood.ts: from source or built, like this process. */
export function floodCommand(size: number, address = ADDRESS, target = TARGET, port = 9): Command {
  const script = fileURLToPath(new URL(`./flood${extname(import.meta.url)}`, import.meta.url));
  const job: FloodJob = { address, target, port, bytes: size - HEADERS };
  return [process.execPath, [...process.execArgv, script, JSON.stringify(job)]];
}
