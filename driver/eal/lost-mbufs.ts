/**
 * Finds lost mbufs: those that code neither sent nor freed, perhaps because it threw. Only virtqueues hold mbufs between
 * bursts. Queues that a module opens copy packets, and free what they sent within the burst.
 */
import { INITIALISED, isTx, queueState, type QueueSpec } from '../../paths/guest/queue.js';
import { isVirtqueue, type PortQueueSpec } from '../port/queue.js';
import { CheckedMempool } from '../../paths/checked-mempool.js';
import { NIL, type Mempool } from '../../paths/mempool.js';

/** What `recoverMbufs` has found. */
export interface MbufFindings {
  /** Mbufs that were neither free nor with a device; they are free now. */
  readonly lost: number;
  /** Mbufs that were freed twice, or freed and sent; now each is free once, or with its device. */
  readonly twice: number;
}

const UNSEEN = 0;
const WITH_DEVICE = 1;
const FREE = 2;

/**
 * Looks at every mbuf of a pool and frees those that are lost. Meanwhile no other code may use the pool or hold mbufs of it.
 * @param queues every queue that may hold mbufs of the pool; those of other kinds of ports may be among them.
 * @returns undefined, with nothing changed, when mbufs are in the cache of a thread that died.
 */
export function recoverMbufs(handle: Mempool, queues: readonly PortQueueSpec[]): MbufFindings | undefined {
  if (handle instanceof CheckedMempool) handle.forgetHeld();
  const pool = handle.unchecked;
  const seen = new Uint8Array(pool.count);
  for (const spec of queues.filter(isVirtqueue)) markHeld(pool, spec, seen);
  const free = takeAll(pool);
  if (pool.available() > 0) {
    for (const m of free) pool.put(m);
    pool.flushCache();
    return undefined;
  }
  let twice = 0;
  for (const m of free) {
    if (seen[m] === UNSEEN) {
      seen[m] = FREE;
      pool.put(m);
    } else twice++;
  }
  let lost = 0;
  for (let m = 0; m < pool.count; m++) {
    if (seen[m] !== UNSEEN) continue;
    pool.next[m] = NIL;
    pool.nbSegs[m] = 1;
    pool.put(m);
    lost++;
  }
  pool.flushCache();
  return { lost, twice };
}

function markHeld(pool: Mempool, spec: QueueSpec, seen: Uint8Array): void {
  const { cookie, words } = queueState(spec);
  if (words[INITIALISED] === 0) return;
  for (const first of cookie) {
    // a sent packet may have segments; their chain comes from the sender, so it may even be a circle
    for (let m = first; m !== NIL && seen[m] === UNSEEN; m = isTx(spec) ? pool.next[m]! : NIL) seen[m] = WITH_DEVICE;
  }
}

/** Takes every free mbuf. One that was freed twice comes twice, so there may be more than the pool has. */
function takeAll(pool: Mempool): number[] {
  const all: number[] = [];
  const some = new Int32Array(256);
  for (let n = pool.getBulk(some, some.length); n > 0; n = pool.getBulk(some, some.length)) {
    all.push(...some.subarray(0, n));
  }
  return all;
}
