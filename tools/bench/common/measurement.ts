/** What every measurement is given, what its result says, and how it goes on until it is done or interrupted. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { machineLine, type Machine } from './machine.js';
import type { OurProgram } from './testpmd.js';

export const SIDES = ['ours', 'dpdk'] as const;
export type Side = (typeof SIDES)[number];

/** What a measurement is given besides its options. */
export interface Context {
  readonly program: OurProgram;
  /** Where the result goes, after every step. */
  readonly json: string;
  readonly machine: Machine;
  readonly print: (line: string) => void;
  /** Ends it early: what has been measured is kept. */
  readonly signal: AbortSignal;
}

/** What every result says. */
export interface Result<Kind extends string, Options> {
  readonly kind: Kind;
  /** ISO 8601. */
  readonly started: string;
  readonly machine: Machine;
  readonly options: Options;
}

/**
 * Prints the machine, then runs `steps`.
 * @param measured what the steps add to: part of the result
 * @param steps calls `keep` after each step, which writes the result so far to the file
 */
export async function measure<Kind extends string, Options, Measured extends object>(
  kind: Kind,
  options: Options,
  { machine, json, print, signal }: Context,
  measured: Measured,
  steps: (keep: () => void) => Promise<void>,
): Promise<Result<Kind, Options> & Measured> {
  const result = { kind, started: new Date().toISOString(), machine, options, ...measured };
  print(machineLine(machine));
  await untilInterrupted(signal, () => steps(() => saveJson(json, result)));
  return result;
}

/** Runs `steps`; that they were interrupted is no error. */
export async function untilInterrupted(signal: AbortSignal, steps: () => Promise<void>): Promise<void> {
  try {
    await steps();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Writes JSON so that the file is whole at every moment. */
export function saveJson(file: string, value: unknown): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(value, undefined, 1)}\n`);
  renameSync(`${file}.new`, file);
}
