/** What an lcore says of its work: a Float64Array in shared memory, written by that lcore alone. Ports count in a block each. */

export const POLLS = 0;
export const EMPTY_POLLS = 1;
/** Polls that found as many packets as a burst holds. */
export const FULL_POLLS = 2;
/** As the log tells of them: one more than wake-ups while the lcore sleeps. */
export const SLEEPS = 3;
export const WAKEUPS = 4;
/** Interrupts without packets. */
export const SPURIOUS = 5;
/** Wake-ups without an interrupt: the device forgot it, and the packets were found by looking now and then. */
export const MISSED = 6;
/** Milliseconds in turns that found packets, up to BUSY_SINCE. */
export const BUSY_MS = 7;
/** 0, or when the turns with packets began that are still going on. */
export const BUSY_SINCE = 8;
/** When the lcore began, by `wallMs`. */
export const STARTED_AT = 9;
const LCORE_WORDS = 16;

/** By port that is sent on. */
export const TX_PACKETS = 0;
/** Packets that there was no room for. */
export const TX_DROPPED = 1;
const PORT_WORDS = 2;

export function createLcoreCounters(ports: number): SharedArrayBuffer {
  return new SharedArrayBuffer((LCORE_WORDS + ports * PORT_WORDS) * 8);
}

/** Where the counters of the `slot`-th port begin. */
export function portBlock(slot: number): number {
  return LCORE_WORDS + slot * PORT_WORDS;
}

/** Milliseconds, by a clock that all threads share. */
export function wallMs(): number {
  return performance.timeOrigin + performance.now();
}

export interface LcoreCounts {
  readonly polls: number;
  readonly emptyPolls: number;
  readonly fullPolls: number;
  readonly sleeps: number;
  readonly wakeups: number;
  readonly spurious: number;
  readonly missed: number;
  readonly busyMs: number;
  /** Since the lcore began. */
  readonly elapsedMs: number;
}

/** @param now of `wallMs` */
export function readLcoreCounters(counters: Float64Array, now: number): LcoreCounts {
  const since = counters[BUSY_SINCE]!;
  const startedAt = counters[STARTED_AT]!;
  return {
    polls: counters[POLLS]!,
    emptyPolls: counters[EMPTY_POLLS]!,
    fullPolls: counters[FULL_POLLS]!,
    sleeps: counters[SLEEPS]!,
    wakeups: counters[WAKEUPS]!,
    spurious: counters[SPURIOUS]!,
    missed: counters[MISSED]!,
    busyMs: counters[BUSY_MS]! + (since === 0 ? 0 : Math.max(0, now - since)),
    elapsedMs: startedAt === 0 ? 0 : Math.max(0, now - startedAt),
  };
}
