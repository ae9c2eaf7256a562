/**
 * A queue of a small port driver as plain data. All that changes is in `shared`, which the control plane and the lcore that
 * polls the queue both see: a word that lets bursts through, and counters.
 */
import { STATS_COUNT } from '../../paths/stats.js';
import type { PortQueueSpec } from '../port/queue.js';

export interface VdevQueueSpec extends PortQueueSpec {
  readonly kind: 'rx' | 'tx';
  /** VDEV_QUEUE_BYTES bytes. */
  readonly shared: SharedArrayBuffer;
}

/** Word: not 0 while bursts may run. The control plane writes it, every burst reads it first. */
export const STARTED = 0;
/** Word: 0, or why the queue does nothing any more; the driver has the sentences. */
export const BROKEN = 1;
const STATE_WORDS = 16;

export const VDEV_QUEUE_BYTES = STATE_WORDS * 4 + STATS_COUNT * 8;

export interface VdevQueueState {
  readonly words: Int32Array;
  /** Counters, at the indices of paths/stats.ts. Only the thread that polls the queue writes them. */
  readonly stats: Float64Array;
}

/** One thread's typed arrays over a queue's state. */
export function vdevQueueState({ shared }: Pick<VdevQueueSpec, 'shared'>): VdevQueueState {
  return {
    words: new Int32Array(shared, 0, STATE_WORDS),
    stats: new Float64Array(shared, STATE_WORDS * 4, STATS_COUNT),
  };
}
