/** The few figures that we make of many measurements. */

/** The middle value; of an even number of them the mean of the two in the middle. NaN of none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) return NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** The largest value; NaN of none. */
export function best(values: readonly number[]): number {
  return values.length === 0 ? NaN : Math.max(...values);
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** `part` in parts per million of `whole`; 0 of nothing. */
export function partsPerMillion(part: number, whole: number): number {
  return whole === 0 ? 0 : (part / whole) * 1e6;
}
