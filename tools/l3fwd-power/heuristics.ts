/** When an lcore polls on, when it lingers and when it sleeps: the sample's numbers. Pure. */

/** MIN_ZERO_POLL_COUNT: so many empty polls in a row mean nothing yet. */
export const MIN_ZERO_POLL_COUNT = 10;
/** MINIMUM_SLEEP_TIME, in microseconds. */
export const MINIMUM_SLEEP_TIME = 1;
/** SUSPEND_THRESHOLD: as many empty polls in a row, and as many microseconds worth sleeping for. */
export const SUSPEND_THRESHOLD = 300;

const MAX_COUNT = 0xffffffff;

/** The empty polls in a row of a queue, after one that found `received` packets. */
export function countEmptyPolls(count: number, received: number): number {
  if (received > 0) return 0;
  return count < MAX_COUNT ? count + 1 : MAX_COUNT;
}

/** For how many microseconds a queue seems to need nobody (power_idle_heuristic). */
export function idleHint(emptyPolls: number): number {
  if (emptyPolls <= MIN_ZERO_POLL_COUNT) return 0;
  return emptyPolls < SUSPEND_THRESHOLD ? MINIMUM_SLEEP_TIME : SUSPEND_THRESHOLD;
}

/** The smallest hint of all queues of an lcore: 0 polls on, less than SUSPEND_THRESHOLD is a delay, the rest a sleep. */
export function lcoreHint(emptyPolls: ArrayLike<number>): number {
  let least = SUSPEND_THRESHOLD;
  for (let i = 0; i < emptyPolls.length; i++) {
    const hint = idleHint(emptyPolls[i]!);
    if (hint < least) least = hint;
  }
  return least;
}

/** --pmd-mgmt: whether every queue was empty more than --max-empty-polls times in a row. */
export function allEmptyFor(emptyPolls: ArrayLike<number>, maxEmptyPolls: number): boolean {
  for (let i = 0; i < emptyPolls.length; i++) if (emptyPolls[i]! <= maxEmptyPolls) return false;
  return true;
}
