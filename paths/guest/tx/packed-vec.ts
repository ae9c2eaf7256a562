/**
 * `virtio_xmit_pkts_packed_vec`: packed.ts with IN_ORDER as SIMD code of the native helper (native/helper/tx-packed.h). Both
 * use the same state. TypeScript handles bursts that are too small for a call to pay off, and bursts with packets of several
 * segments, without room for the header, or with offloads.
 */
import type { Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { COUNT_MASK, SIMD_KICK, SIMD_SCALAR, openSimd, type RunSimd } from '../simd-block.js';
import { openKick, packedQueue, type PackedQueue } from '../packed.js';
import { BROKEN, STARTED, type QueueSpec, type TxPath } from '../queue.js';
import { asksForOffload } from './offload.js';
import { openTxPacked } from './packed.js';

/** Below so many packets TypeScript is faster: docs/decisions/0007-simd-per-burst.md. */
const WORTH_A_CALL = 4;

function txPackedVec(queue: PackedQueue, scalar: TxPath, run: RunSimd, kick: () => void, threshold: number): TxPath {
  const { spec, pool, words } = queue;
  const { anyLayout, txOffload } = spec;

  function xmit(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    if (n < threshold || n > COUNT_MASK || !anyLayout) return scalar.xmit(pkts, n);
    if (txOffload && anyAsks(pkts, n)) return scalar.xmit(pkts, n);
    const result = run(pkts, n);
    if ((result & SIMD_SCALAR) !== 0) return scalar.xmit(pkts, n);
    if ((result & SIMD_KICK) !== 0) kick();
    return result & COUNT_MASK;
  }

  function anyAsks(pkts: Uint32Array, n: number): boolean {
    for (let i = 0; i < n; i++) if (asksForOffload(pool, pkts[i]!)) return true;
    return false;
  }

  return { spec, prepare: scalar.prepare, xmit, cleanup: scalar.cleanup };
}

const scope = { STARTED, BROKEN, COUNT_MASK, SIMD_KICK, SIMD_SCALAR, asksForOffload };

/** Opens the path for the calling thread. @param threshold packets from which a call pays off */
export function openTxPackedVec(spec: QueueSpec, pool: Mempool, threshold = WORTH_A_CALL): TxPath {
  const run = openSimd(spec, pool, 'txPacked');
  const queue = packedQueue(spec, pool);
  return specialize(txPackedVec, scope, queue, openTxPacked(spec, pool), run, openKick(queue), threshold);
}
