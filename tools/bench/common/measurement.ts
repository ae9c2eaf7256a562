/** Shared by all measurements: input, result, and running until they are done or interrupted. */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { machineLine, type Machine } from './machine.js';
import type { OurProgram } from './testpmd.js';

export const SIDES = ['ours', 'dpdk'] as const;
export type Side = (typeof SIDES)[number];

/** Input of a measurement besides its options. */
export interface Context {
  readonly program: OurProgram;
  /** File for the result, which is written after every step. */
  readonly json: string;
  readonly machine: Machine;
  readonly print: (line: string) => void;
  /** Ends the measurement early; the results so far are kept. */
  readonly signal: AbortSignal;
}

/** Contents of every result. */
export interface Result<Kind extends string, Options> {
  readonly kind: Kind;
  /** ISO 8601. */
  readonly started: string;
  readonly machine: Machine;
  readonly options: Options;
}

/**
 * Prints the machine, then runs `steps`.
 * @param measured the part of the result that the steps extend
 * @param steps must call `keep` after each step, which writes the result so far to the file
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

/** Runs `steps`. An interruption is no error. */
export async function untilInterrupted(signal: AbortSignal, steps: () => Promise<void>): Promise<void> {
  try {
    await steps();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Writes JSON atomically: the file is always complete. */
export function saveJson(file: string, value: unknown): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(value, undefined, 1)}\n`);
  renameSync(`${file}.new`, file);
}
