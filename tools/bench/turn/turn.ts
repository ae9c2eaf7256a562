/** `npm run bench -- turn`: nanoseconds per packet of the driver alone. Every measurement runs in a separate process. */
import { VirtioPmdError } from '../../../native/errors.js';
import { formatTable } from '../../common/table.js';
import { jobCommand, RESULT_LINE } from '../common/jobs.js';
import { machineLine } from '../common/machine.js';
import { saveJson, untilInterrupted, type Context } from '../common/measurement.js';
import { withScope } from '../common/scope.js';
import { median } from '../common/statistics.js';
import type { TurnJob, TurnResult } from './run.js';

export interface TurnOptions extends Omit<TurnJob, 'recipe'> {
  readonly recipes: readonly string[];
  /** Number of processes for each recipe. */
  readonly runs: number;
}

export interface TurnRun extends Omit<TurnResult, 'windows'> {
  readonly recipe: string;
  /** Nanoseconds per packet in the best window, and the median of all windows. */
  readonly best: number;
  readonly median: number;
  readonly windows: number;
}

export async function runTurn(options: TurnOptions, context: Omit<Context, 'program'>): Promise<readonly TurnRun[]> {
  const { machine, json, print, signal } = context;
  const { recipes, runs: count, ...job } = options;
  const runs: TurnRun[] = [];
  print(machineLine(machine));
  await untilInterrupted(signal, async () => {
    for (let round = 0; round < count; round++) {
      for (const recipe of recipes) {
        runs.push(await turnOnce({ recipe, ...job }, signal));
        const { best, median: middle } = runs.at(-1)!;
        print(`${recipe}: ${best.toFixed(1)} ns, median ${middle.toFixed(1)} ns`);
        saveJson(json, { kind: 'turn', machine, options, runs });
      }
    }
  });
  return runs;
}

/** Runs one process. @throws VirtioPmdError EPEER when it fails. */
export function turnOnce(job: TurnJob, signal: AbortSignal): Promise<TurnRun> {
  return withScope(signal, async (scope) => {
    const child = scope.start('turn', jobCommand('turn/run.ts', job));
    const status = await child.end();
    const line = RESULT_LINE.exec(child.output)?.[0];
    if (line === undefined) throw new VirtioPmdError('EPEER', `${job.recipe}: ended with ${status}: ${child.output}`);
    const { windows, ...paths } = JSON.parse(line) as TurnResult;
    const best = Math.min(...windows);
    return { recipe: job.recipe, best, median: median(windows), windows: windows.length, ...paths };
  });
}

/** One line per recipe: the best window of all processes, and the median of their medians. */
export function turnTable(recipes: readonly string[], runs: readonly TurnRun[]): string {
  const head = ['Recipe', 'Rx', 'Tx', 'SIMD', 'Best ns', 'Median ns', 'Runs'];
  const rows = recipes.flatMap((recipe) => {
    const of = runs.filter((run) => run.recipe === recipe);
    if (of.length === 0) return [];
    const best = Math.min(...of.map((run) => run.best));
    const middle = median(of.map((run) => run.median));
    const { rx, tx, isa = '-' } = of[0]!;
    return [[recipe, rx, tx, isa, best.toFixed(1), middle.toFixed(1), String(of.length)]];
  });
  return formatTable(head, rows);
}
