/**
 * The thread behind rxReady: waits for descriptors on behalf of a thread whose event loop must stay free. It reads only its
 * own descriptor: only the owner of a queue knows whether the queue's descriptor is still valid.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { drainFd, PollSet } from '../../native/event.js';

/** What rx-ready-waiter.ts passes to the thread. */
export interface RxWaitData {
  /** An eventfd that ends a wait. */
  readonly wakeFd: number;
}

/** Descriptors to wait for; undefined: end the thread. */
export type RxWaitRequest = readonly number[] | undefined;

/** true: only the time-out ended the wait. */
export type RxWaitAnswer = boolean;

/**
 * Milliseconds of one wait. A thread in a system call cannot be ended, so a wait may delay the end of the process for as
 * long. Packets whose interrupt a device has omitted wait for as long, too.
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
