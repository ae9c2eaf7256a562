/** The number of mbufs without --total-num-mbufs. */
import { MAX_REGION_SIZE } from '../../native/region.js';
import { mempoolStride } from '../../paths/mempool.js';

/** Enough for ports that are attached later, with rings of usual sizes. */
const MINIMUM = 16384;
const SPARE_PORTS = 2;
/** Bytes for rings in packet memory of the maximum size. */
const RINGS = 64 * 1024 * 1024;

export interface MbufNeeds {
  /** Ring size of each port. */
  readonly queueSizes: readonly number[];
  /** Queue pairs of each port. */
  readonly queues: number;
  readonly burst: number;
  readonly lcores: number;
  readonly cacheSize: number;
  readonly headroom: number;
  readonly dataRoom: number;
}

/**
 * Mbufs for full rings in both directions, a burst in flight per queue, and every lcore's cache full (which holds twice its
 * size). dpdk-testpmd uses the same formula for 32 ports with rings of 2048, for any number of queues. At most as many as
 * packet memory holds: with very many large rings, not all of them can be full.
 */
export function mbufsNeeded(needs: MbufNeeds): number {
  const { queueSizes, queues, burst, lcores, cacheSize, headroom, dataRoom } = needs;
  const fit = Math.floor((MAX_REGION_SIZE - RINGS) / mempoolStride(headroom, dataRoom));
  const ring = Math.max(256, ...queueSizes);
  const rings = [...queueSizes, ...Array<number>(SPARE_PORTS).fill(ring)];
  const inQueues = rings.reduce((sum, size) => sum + queues * (2 * size + burst), 0);
  return Math.min(Math.max(MINIMUM, inQueues + lcores * 2 * cacheSize), fit);
}
