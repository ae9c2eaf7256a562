/** How many mbufs to make when --total-num-mbufs does not say. */

/** Enough for ports that are attached later, with rings of usual sizes. */
const MINIMUM = 16384;
const SPARE_PORTS = 2;

export interface MbufNeeds {
  /** Ring size of each port. */
  readonly queueSizes: readonly number[];
  /** Queue pairs of each port. */
  readonly queues: number;
  readonly burst: number;
  readonly lcores: number;
  readonly cacheSize: number;
}

/**
 * Every ring full in both directions, a burst in flight per queue, and every lcore's cache (which holds twice its
 * size) full; dpdk-testpmd counts the same for 32 ports with rings of 2048.
 */
export function mbufsNeeded({ queueSizes, queues, burst, lcores, cacheSize }: MbufNeeds): number {
  const ring = Math.max(256, ...queueSizes);
  const rings = [...queueSizes, ...Array<number>(SPARE_PORTS).fill(ring)];
  const inQueues = rings.reduce((sum, size) => sum + queues * (2 * size + burst), 0);
  return Math.max(MINIMUM, inQueues + lcores * 2 * cacheSize);
}
