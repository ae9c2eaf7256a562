/** A queue of net_tap as plain data. */
import type { OffloadSpec } from '../../../paths/guest/queue.js';
import type { VdevQueueSpec } from '../queue-state.js';

/** Word of `control`: bytes of the longest packet that is sent. The control plane writes it. */
export const LONGEST_TX = 0;
export const CONTROL_WORDS = 16;
/** Segments of the longest packet, in either direction (the kernel takes up to 1024). */
export const MAX_SEGMENTS = 128;
/** For the word BROKEN: the tap was deleted. */
export const DELETED = 1;

/** What a queue needs besides what all have. */
export interface TapQueueData {
  readonly fd: number;
  /** CONTROL_WORDS words. */
  readonly control: SharedArrayBuffer;
  readonly offload: OffloadSpec;
  /** Mbufs of the longest packet that is received. */
  readonly segments: number;
}

export type TapQueueSpec = VdevQueueSpec & TapQueueData;
