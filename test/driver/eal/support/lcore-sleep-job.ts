/** Sleeps, for no queue's packets, until it is wanted: a job that loads fast. */
import type { LcoreContext } from '../../../../driver/eal/types.js';

/** Words that it keeps. */
export const TURNS = 0;
export const SLEEPS = 2;

export function dormouse(context: LcoreContext, shared: SharedArrayBuffer): void {
  const words = new Int32Array(shared);
  while (context.running()) {
    Atomics.add(words, TURNS, 1);
    context.rxInterrupt.wait([]);
    Atomics.store(words, SLEEPS, context.rxInterrupt.sleeps);
  }
}
