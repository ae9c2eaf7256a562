/** Counters of an lcore: a Float64Array in shared memory, written only by that lcore. It has a block for each port. */

export const POLLS = 0;
export const EMPTY_POLLS = 1;
/** Polls that received a full burst. */
export const FULL_POLLS = 2;
/** Sleeps, as in the log: one more than wake-ups while the lcore sleeps. */
export const SLEEPS = 3;
export const WAKEUPS = 4;
/** Interrupts without packets. */
export const SPURIOUS = 5;
/** Wake-ups without an interrupt: the device omitted it, and a periodic check found the packets. */
export const MISSED = 6;
/** Milliseconds in turns that found packets, up to BUSY_SINCE. */
export const BUSY_MS = 7;
/** 0, or the time when the current series of turns with packets began. */
export const BUSY_SINCE = 8;
/** When the lcore started, in time of `wallMs`. */
export const STARTED_AT = 9;
const LCORE_WORDS = 16;

/** Packets sent, in the block of the output port. */
export const TX_PACKETS = 0;
/** Packets without room in the Tx ring. */
export const TX_DROPPED = 1;
const PORT_WORDS = 2;

export function createLcoreCounters(ports: number): SharedArrayBuffer {
  return new SharedArrayBuffer((LCORE_WORDS + ports * PORT_WORDS) * 8);
}

/** Index of the first counter of the `slot`-th port. */
export function portBlock(slot: number): number {
  return LCORE_WORDS + slot * PORT_WORDS;
}

/** Milliseconds of a clock that all threads share. */
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
  /** Time since the lcore started. */
  readonly elapsedMs: number;
}

/** Reads the counters. @param now time of `wallMs` */
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
