/** The result of the forwarding benchmark, as saved in a JSON file, and what is still missing. */
import { readFileSync } from 'node:fs';
import { VirtioPmdError } from '../../../native/errors.js';
import type { Machine } from '../common/machine.js';
import { SIDES, type Result, type Side } from '../common/measurement.js';

/** io: packets circulate; rxonly: the front-end receives packets that the vhost side generates; txonly: the reverse. */
export const MODES = ['io', 'rxonly', 'txonly'] as const;
export type Mode = (typeof MODES)[number];

/** Whose net_vhost is at the other end. */
export const PEERS = ['dpdk', 'ours'] as const;
export type VhostPeer = (typeof PEERS)[number];

export interface ForwardingOptions {
  /** Absent in results of earlier versions: dpdk. */
  readonly peer?: VhostPeer;
  /** Names of recipes. */
  readonly recipes: readonly string[];
  /** Bytes of a packet. */
  readonly sizes: readonly number[];
  readonly modes: readonly Mode[];
  readonly pairs: number;
  /** One-second windows of a measurement. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** Whose net_vhost the front-ends were measured with, for titles. */
export const peerName = ({ peer = 'dpdk' }: ForwardingOptions): string =>
  peer === 'dpdk' ? 'DPDK’s vhost PMD' : 'our own net_vhost port';

/** One measurement of both sides: a row of the table has `pairs` of them. */
export interface Step {
  /** 0 to pairs - 1. */
  readonly pair: number;
  readonly recipe: string;
  readonly size: number;
  readonly mode: Mode;
}

/** One front-end in one process. */
export interface Run extends Step {
  readonly side: Side;
  /** Packets per second, window by window. */
  readonly windows: readonly number[];
  /** Packets within the windows. */
  readonly packets: number;
  /** How many of these packets were lost. */
  readonly lost: number;
  /** Garbage collections within the windows; undefined for DPDK. */
  readonly collections?: number;
  /** CPU cycles of the front-end within the windows; absent where `perf` cannot count them. */
  readonly cycles?: number;
  /** Nanoseconds for a cache line to the other CPU and back, before and after: see hand-over.ts. */
  readonly handOver: readonly number[];
  /** The paths that ran, with the names in the front-end's log. */
  readonly rx: string;
  readonly tx: string;
  /** Instruction set of our vectorized paths. */
  readonly isa?: string;
}

export interface Failure extends Step {
  readonly error: string;
}

export interface ForwardingResult extends Result<'forwarding', ForwardingOptions> {
  /** ISO 8601. */
  readonly updated: string;
  /** Kind of pages of the packet memory, the same on both sides. */
  readonly pages: string;
  readonly runs: readonly Run[];
  /** Failures of the last attempt: these are measured again when the result is resumed. */
  readonly failures: readonly Failure[];
}

export const sameRow = (a: Omit<Step, 'pair'>, b: Omit<Step, 'pair'>) =>
  a.recipe === b.recipe && a.size === b.size && a.mode === b.mode;

/** All rows of a table, in its order. */
export function rowsOf({ modes, sizes, recipes }: ForwardingOptions): Omit<Step, 'pair'>[] {
  return modes.flatMap((mode) => sizes.flatMap((size) => recipes.map((recipe) => ({ recipe, size, mode }))));
}

/**
 * All measurements in order: the first pair of every row, then the second of every row. So a slow phase of the machine
 * affects one pair of some rows and not all pairs of one row, and an interrupted run has every row.
 */
export function stepsOf(options: ForwardingOptions): Step[] {
  const rows = rowsOf(options);
  return Array.from({ length: options.pairs }, (_, pair) => rows.map((row) => ({ pair, ...row }))).flat();
}

/** Whether both sides of a step have been measured. */
export function isDone(result: Pick<ForwardingResult, 'runs'>, step: Step): boolean {
  const of = result.runs.filter((run) => run.pair === step.pair && sameRow(run, step));
  return SIDES.every((side) => of.some((run) => run.side === side));
}

/** The result without incomplete pairs: the sides must alternate, so both halves of a pair are measured again. */
export function wholePairs(result: ForwardingResult): ForwardingResult {
  return { ...result, runs: result.runs.filter((run) => isDone(result, run)), failures: [] };
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/** Loads a result. @throws VirtioPmdError EOPTION when the file cannot be read or is not a result. */
export function loadResult(file: string): ForwardingResult {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new VirtioPmdError('EOPTION', `${file} cannot be read as JSON: ${(cause as Error).message}`, { cause });
  }
  const fits =
    isObject(value) &&
    value['kind'] === 'forwarding' &&
    [value['runs'], value['failures']].every(Array.isArray) &&
    [value['machine'], value['options']].every(isObject);
  if (fits) return value as unknown as ForwardingResult;
  throw new VirtioPmdError('EOPTION', `${file} is no result of npm run bench: one of the forwarding kind is expected`);
}

/** @throws VirtioPmdError ECONFIG when the result in the file is from another machine or another commit. */
export function checkSameMachine(file: string, then: Machine, now: Machine): void {
  for (const key of ['cpu', 'cpus', 'kernel', 'node', 'dpdk', 'commit'] as const) {
    if (then[key] === now[key]) continue;
    throw new VirtioPmdError(
      'ECONFIG',
      `${file} was begun with ${key} ${then[key]}, and here is ${now[key]}: begin a new result, without --resume`,
    );
  }
}
