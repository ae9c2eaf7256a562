/**
 * A logarithmic histogram of durations, similar to HdrHistogram. All memory is allocated at the start. Values below 128 are
 * exact; larger ones have an error of less than one part in 128. Values above 2^31 - 1 count as 2^31 - 1.
 */

const SUB_BITS = 7;
const SUB = 1 << SUB_BITS;
const MAX_VALUE = 0x7fffffff;

/** The bucket of a whole number from 0 to 2^31 - 1. */
function bucketOf(value: number): number {
  if (value < SUB) return value;
  const shift = 31 - SUB_BITS - Math.clz32(value);
  return shift * SUB + (value >>> shift);
}

/** The largest value of a bucket. */
function highestOf(bucket: number): number {
  if (bucket < 2 * SUB) return bucket;
  const shift = Math.floor(bucket / SUB) - 1;
  return (bucket - shift * SUB + 1) * 2 ** shift - 1;
}

export class Histogram {
  private readonly counts = new Float64Array(bucketOf(MAX_VALUE) + 1);
  private total = 0;
  private sum = 0;
  private largest = 0;

  /** Counts one value, in whole units (nanoseconds here); negative ones as 0. */
  record(value: number): void {
    if (value > MAX_VALUE) value = MAX_VALUE;
    const whole = value > 0 ? value | 0 : 0;
    this.counts[bucketOf(whole)]! += 1;
    this.total += 1;
    this.sum += whole;
    if (whole > this.largest) this.largest = whole;
  }

  clear(): void {
    this.counts.fill(0);
    this.total = this.sum = this.largest = 0;
  }

  get count(): number {
    return this.total;
  }

  get mean(): number {
    return this.total === 0 ? 0 : this.sum / this.total;
  }

  /** The largest value, exact. */
  get max(): number {
    return this.largest;
  }

  /** A value that at least the fraction `q` of all values does not exceed: the upper end of its bucket. 0 without values. */
  quantile(q: number): number {
    const rank = Math.max(1, Math.ceil(q * this.total));
    let seen = 0;
    for (let bucket = 0; bucket < this.counts.length; bucket++) {
      seen += this.counts[bucket]!;
      if (seen >= rank) return Math.min(highestOf(bucket), this.largest);
    }
    return this.largest;
  }
}
