/**
 * The thread behind rxReady: waits for descriptors in the place of a thread whose event loop must stay free. It reads
 * none of them but its own: whether a queue's still is that queue's, only its owner knows.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { drainFd, PollSet } from '../../native/event.js';

/** What rx-ready-waiter.ts gives the thread. */
export interface RxWaitData {
  /** An eventfd that ends a wait. */
  readonly wakeFd: number;
}

/** Descriptors to wait for; undefined: end the thread. */
export type RxWaitRequest = readonly number[] | undefined;

/** true: nothing but its time-out ended the wait. */
export type RxWaitAnswer = boolean;

/**
 * A thread in a system call cannot be ended, so this is how long a wait may hold up the end of the process. It is also how
 * long packets wait whose interrupt a device forgot.
 */
const SLICE_MS = 250;

const { wakeFd } = workerData as RxWaitData;
let set = new PollSet(8);

function wait(fds: readonly number[]): RxWaitAnswer {
  if (fds.length >= set.capacity) set = new PollSet(fds.length + 1);
  set.clear();
  const wake = set.add(wakeFd);
  for (const fd of fds) set.add(fd);
  const timedOut = set.wait(SLICE_MS) === 0;
  if (set.isReady(wake)) drainFd(wakeFd);
  return timedOut;
}

parentPort!.on('message', (fds: RxWaitRequest) => {
  if (fds === undefined) parentPort!.close();
  else parentPort!.postMessage(wait(fds) satisfies RxWaitAnswer);
});
