/** Makes the rows of the table from the measurements. */
import { RECIPES } from '../../common/recipes.js';
import { distanceOf, type Distance } from '../common/hand-over.js';
import type { Side } from '../common/measurement.js';
import { best, median, pairRatios, partsPerMillion, sum } from '../common/statistics.js';
import { rowsOf, sameRow, wholePairs, type ForwardingResult, type Mode, type Run } from './results.js';

/** One side of a row. */
export interface SideSummary {
  /** The best window of all, packets per second. */
  readonly best: number;
  /** The median of all windows. */
  readonly median: number;
  /** Packets lost within the windows, per million. */
  readonly lostPpm: number;
  /** CPU cycles of the front-end per packet; undefined where they were not counted. */
  readonly cycles: number | undefined;
  /** Paths that ran. */
  readonly rx: string;
  readonly tx: string;
}

export interface Row {
  readonly recipe: string;
  readonly size: number;
  readonly mode: Mode;
  readonly pairs: number;
  readonly ours: SideSummary;
  readonly dpdk: SideSummary;
  /** The published ratio: the median, over the pairs, of our best window divided by DPDK's. */
  readonly ratio: number;
  /** Ratio of the best windows of all pairs. */
  readonly ratioOfBest: number;
  readonly ratioOfMedians: number;
  /** Our garbage collections within the windows. */
  readonly collections: number;
  /** How many pairs were measured at which distance of the CPUs: '3 near, 2 far'. */
  readonly distances: string;
}

function summariseSide(runs: readonly Run[]): SideSummary {
  const windows = runs.flatMap((run) => run.windows);
  const { rx, tx } = runs[0]!;
  const packets = sum(runs.map((run) => run.packets));
  const lostPpm = partsPerMillion(sum(runs.map((run) => run.lost)), packets);
  const counted = runs.every((run) => run.cycles !== undefined);
  const cycles = counted ? sum(runs.map((run) => run.cycles!)) / packets : undefined;
  return { best: best(windows), median: median(windows), lostPpm, cycles, rx, tx };
}

function countDistances(pairs: readonly Distance[]): string {
  const counts = (['near', 'far', 'mixed'] as const).map((distance) => {
    const count = pairs.filter((each) => each === distance).length;
    return count === 0 ? [] : [`${count} ${distance}`];
  });
  return counts.flat().join(', ');
}

/** The rows with at least one measured pair, in the order of the table. */
export function summarise(result: ForwardingResult): Row[] {
  const { runs } = wholePairs(result);
  return rowsOf(result.options).flatMap((row) => {
    const of = (side: Side) =>
      runs.filter((run) => run.side === side && sameRow(run, row)).sort((a, b) => a.pair - b.pair);
    const [ourRuns, dpdkRuns] = [of('ours'), of('dpdk')];
    if (ourRuns.length === 0) return [];
    const [ours, dpdk] = [summariseSide(ourRuns), summariseSide(dpdkRuns)];
    return {
      ...{ ...row, pairs: ourRuns.length, ours, dpdk, ratio: median(pairRatios(ourRuns, dpdkRuns)) },
      ratioOfBest: ours.best / dpdk.best,
      ratioOfMedians: ours.median / dpdk.median,
      collections: sum(ourRuns.map((run) => run.collections ?? 0)),
      distances: countDistances(ourRuns.map((run, i) => distanceOf([run, dpdkRuns[i]!]))),
    };
  });
}

/** True when a side did not run the paths of the recipe, but fell back to others. */
function fellBack(recipe: string, { rx, tx }: SideSummary): boolean {
  const wanted = RECIPES.find(({ name }) => name === recipe);
  return wanted !== undefined && (wanted.rx !== rx || wanted.tx !== tx);
}

/** Marks a row that has a note. */
export const fallbackMark = (row: Row) =>
  fellBack(row.recipe, row.ours) || fellBack(row.recipe, row.dpdk) ? ' *' : '';

/** One sentence for each recipe for which a side fell back to other paths. */
export function fallbackNotes(rows: readonly Row[]): string[] {
  const notes = rows.flatMap(({ recipe, ours, dpdk }) =>
    Object.entries({ Ours: ours, DPDK: dpdk })
      .filter(([, side]) => fellBack(recipe, side))
      .map(([name, { rx, tx }]) => `* ${recipe}: ${name} ran ${rx} and ${tx} instead.`),
  );
  return [...new Set(notes)];
}
