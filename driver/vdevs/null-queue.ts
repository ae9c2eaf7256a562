/** Queues of net_null: an Rx queue that always has packets, as long as there are mbufs, and a Tx queue that frees. */
import { resetMbuf } from '../../paths/mbuf.js';
import type { Mempool } from '../../paths/mempool.js';
import { BYTES, NOMBUF, PACKETS } from '../../paths/stats.js';
import type { PortQueueSpec, RxQueue, TxQueue } from '../port/queue.js';
import { STARTED, vdevQueueState, type VdevQueueSpec } from './queue-state.js';

/** What null.ts adds to a queue. */
export interface NullQueueData {
  /** Bytes of a packet, at most the mempool's data room. */
  readonly size: number;
  /** Packets are filled with zeros; else they have what was in the mbuf. */
  readonly copy: boolean;
  readonly noRx: boolean;
}

type NullQueueSpec = VdevQueueSpec & NullQueueData;

/** Most packets of one burst. */
const MAX_BURST = 512;

export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue {
  const { portId, size, copy, noRx, shared } = spec as NullQueueSpec;
  const { words, stats } = vdevQueueState({ shared });
  const { dataLen, pktLen, port, u8 } = pool;
  const mbufs = new Int32Array(MAX_BURST);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || noRx) return 0;
    if (n > MAX_BURST) n = MAX_BURST;
    const got = pool.getBulk(mbufs, n);
    if (got < n) stats[NOMBUF]! += n - got;
    for (let i = 0; i < got; i++) {
      const m = mbufs[i]!;
      resetMbuf(pool, m);
      dataLen[m] = size;
      pktLen[m] = size;
      port[m] = portId;
      if (copy) u8.fill(0, pool.dataStart(m), pool.dataStart(m) + size);
      pkts[i] = m;
    }
    stats[PACKETS]! += got;
    stats[BYTES]! += got * size;
    return got;
  }

  return { spec, recv, fill: () => 0 };
}

export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue {
  const { words, stats } = vdevQueueState(spec as NullQueueSpec);
  const { pktLen } = pool;

  function xmit(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0) return 0;
    let bytes = 0;
    for (let i = 0; i < n; i++) bytes += pktLen[pkts[i]!]!;
    pool.freeBulk(pkts, 0, n);
    stats[PACKETS]! += n;
    stats[BYTES]! += bytes;
    return n;
  }

  return { spec, prepare: (_, n) => n, xmit, cleanup: () => MAX_BURST };
}
