/** Statistics over measurements. */

/** The median; for an even number of values the mean of the two in the middle. NaN without values. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The largest value; NaN without values. */
export function best(values: readonly number[]): number {
  return values.length === 0 ? NaN : Math.max(...values);
}

/** One run of a pair: a front-end in its own process. */
export interface PairedRun {
  readonly pair: number;
  /** Packets per second, window by window. */
  readonly windows: readonly number[];
}

/** The best window of all runs; NaN without runs. */
export function bestWindow(runs: readonly Pick<PairedRun, 'windows'>[]): number {
  return best(runs.flatMap((run) => run.windows));
}

/** For each pair that both sides have measured: our best window divided by theirs. */
export function pairRatios(ours: readonly PairedRun[], theirs: readonly PairedRun[]): number[] {
  return ours.flatMap((run) => {
    const other = theirs.find(({ pair }) => pair === run.pair);
    return other === undefined ? [] : [best(run.windows) / best(other.windows)];
  });
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** `part` in parts per million of `whole`; 0 when `whole` is 0. */
export function partsPerMillion(part: number, whole: number): number {
  return whole === 0 ? 0 : (part / whole) * 1e6;
}
