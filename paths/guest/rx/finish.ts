/** What every Rx path does with the packets of a burst, and with dropped ones, after taking them off the ring. */
import { ETHER_HDR_LEN } from '../../layout.js';
import type { Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { countDrop, DROP_RUNT, DROP_SEGMENTS, DROP_TOO_LONG } from '../../stats.js';
import { accountFor, afterRx, type Account } from '../burst.js';
import type { QueueSpec } from '../queue.js';
import { rxOffloadFor, type RxOffload } from './offload.js';

/** Ends a burst: the first `n` packets of `pkts`. @returns how many are left, in the same order */
export type Finish = (pkts: Uint32Array, n: number) => number;

function finisher(apply: RxOffload | undefined, account: Account, after: ReturnType<typeof afterRx>): Finish {
  return (pkts, n) => {
    if (apply !== undefined) n = apply(pkts, n);
    if (n > 0) account(pkts, n);
    if (after !== undefined) after(pkts, n);
    return n;
  };
}

/** For a path that does not count packets itself. */
export function finishRx(spec: QueueSpec, pool: Mempool, stats: Float64Array): Finish {
  return specialize(finisher, {}, rxOffloadFor(spec, pool, stats), accountFor(stats, pool), afterRx(spec, pool));
}

/** For a path whose SIMD code has counted the packets already; undefined when there is nothing left to do. */
export function finishCounted(spec: QueueSpec, pool: Mempool, stats: Float64Array): Finish | undefined {
  const apply = rxOffloadFor(spec, pool, stats, true);
  const after = afterRx(spec, pool);
  if (apply === undefined && after === undefined) return undefined;
  return (pkts, n) => {
    if (apply !== undefined) n = apply(pkts, n);
    if (after !== undefined) after(pkts, n);
    return n;
  };
}

/** Drops the packet that begins in `m`: for an invalid `length` of its first buffer, else for its number of buffers. */
export function dropPacket(pool: Mempool, stats: Float64Array, m: number, length: number): void {
  countDrop(stats, length > pool.dataRoom ? DROP_TOO_LONG : length < ETHER_HDR_LEN ? DROP_RUNT : DROP_SEGMENTS);
  pool.put(m);
}
