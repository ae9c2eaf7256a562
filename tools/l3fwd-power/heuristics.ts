/** When an lcore polls, when it pauses and when it sleeps, with the sample's numbers. Pure. */

/** MIN_ZERO_POLL_COUNT: up to so many empty polls in a row have no effect. */
export const MIN_ZERO_POLL_COUNT = 10;
/** MINIMUM_SLEEP_TIME, in microseconds. */
export const MINIMUM_SLEEP_TIME = 1;
/** SUSPEND_THRESHOLD: number of empty polls in a row, and number of microseconds, from which an lcore sleeps. */
export const SUSPEND_THRESHOLD = 300;

const MAX_COUNT = 0xffffffff;

/** The number of empty polls in a row of a queue, after a poll with `received` packets. */
export function countEmptyPolls(count: number, received: number): number {
  if (received > 0) return 0;
  return count < MAX_COUNT ? count + 1 : MAX_COUNT;
}

/** For how many microseconds a queue will probably be idle (power_idle_heuristic). */
export function idleHint(emptyPolls: number): number {
  if (emptyPolls <= MIN_ZERO_POLL_COUNT) return 0;
  return emptyPolls < SUSPEND_THRESHOLD ? MINIMUM_SLEEP_TIME : SUSPEND_THRESHOLD;
}

/** The smallest hint of an lcore's queues: 0: poll; below SUSPEND_THRESHOLD: a delay; else sleep. */
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
