/** A control queue's device on a thread of its own: it answers every command with 7, `delayMs` after it came, until told to stop. */
import { workerData } from 'node:worker_threads';
import { referenceControl, type ControlTerms } from './reference-control.js';

export interface ControlThreadData {
  readonly terms: ControlTerms;
  readonly delayMs: number;
  /** 1 once the thread runs, 2 to end it. */
  readonly state: Int32Array;
}

const { terms, delayMs, state } = workerData as ControlThreadData;
const device = referenceControl(terms);
Atomics.store(state, 0, 1);
while (Atomics.load(state, 0) !== 2) {
  const taken = device.take();
  Atomics.wait(state, 0, 1, taken === undefined ? 0.05 : delayMs);
  if (taken !== undefined) device.use(taken, 7);
}
