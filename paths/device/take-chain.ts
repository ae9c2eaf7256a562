/** The general case of a dequeue, for both ring formats: what happens to a chain after the walk. */
import { ETHER_HDR_LEN } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { countDrop, DROP_RUNT, DROP_SEGMENTS, DROP_TOO_LONG, NOMBUF } from '../stats.js';
import { CHAIN_GOOD, type Chain } from './chain.js';
import type { Copier } from './copy.js';
import { chainToPacket, MAX_FRAME } from './transfer.js';

/** Taken: the packet is in the mbuf. Dropped: the chain is used up without a packet. Stop: it stays, and the burst ends. */
export const TAKEN = 0;
const DROPPED = 1;
export const STOP = 2;

/** @param result of the walk: CHAIN_GOOD or CHAIN_BAD. @returns TAKEN, DROPPED or STOP */
export function takeChain(
  chain: Chain,
  result: number,
  hdrSize: number,
  pool: Mempool,
  m: number,
  copiers: readonly Copier[],
  stats: Float64Array,
): number {
  const bytes = chain.bytes - hdrSize;
  if (result !== CHAIN_GOOD) countDrop(stats, DROP_SEGMENTS);
  else if (bytes < ETHER_HDR_LEN) countDrop(stats, DROP_RUNT);
  else if (bytes > MAX_FRAME || bytes > pool.count * pool.dataRoom) countDrop(stats, DROP_TOO_LONG);
  else if (!chain.ready()) return STOP;
  else if (chainToPacket(chain, pool, copiers, m, hdrSize)) {
    chain.countCopy(bytes, pool.nbSegs[m]!);
    return TAKEN;
  } else {
    stats[NOMBUF]!++; // the guest's packet stays in the ring until there are mbufs again
    return STOP;
  }
  return DROPPED;
}
