/** The data plane alone: rings, mbufs, paths for both sides of a ring, and path selection. No sockets, no threads. */
export * from './layout.js';
export * from './mbuf.js';
export { createMempool, Mempool, mempoolStride, NIL, type MempoolOptions, type MempoolSpec } from './mempool.js';
export * from './checksum.js';
export * from './packet-headers.js';
export * from './select.js';
export {
  BROADCAST,
  BYTES,
  DROP_OFFLOAD,
  DROP_RESET,
  DROP_RUNT,
  DROP_SEGMENTS,
  DROP_STATS,
  DROP_TOO_LONG,
  DROP_TX,
  ERRORS,
  KICKS,
  KICKS_SUPPRESSED,
  MULTICAST,
  NOMBUF,
  PACKET_STATS,
  PACKETS,
  SIZE_BINS,
  sizeBin,
  STATS_COUNT,
  XSTAT_NAMES,
  type StatNames,
} from './stats.js';
export { openRx, openTx } from './guest/open.js';
export {
  queueSharedBytes,
  reclaim,
  resetQueue,
  ringBase,
  type Doorbell,
  type QueueSpec,
  type RxPath,
  type RxPathName,
  type TxPath,
  type TxPathName,
} from './guest/queue.js';
