/**
 * `virtio_recv_pkts_vec`: split.ts as SIMD code of the native helper (native/helper/rx-split.h). Both use the same state, so
 * that TypeScript can handle bursts that are too small for a call to pay off.
 */
import type { Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { openDoorbell, type Ring } from '../doorbell.js';
import { COUNT_MASK, SIMD_KICK, openSimd, type RunSimd } from '../simd-block.js';
import { AVAIL_IDX, BROKEN, STARTED, USED_IDX, type QueueSpec, type RxPath } from '../queue.js';
import { finishCounted } from './finish.js';
import { openRxSplit } from './split.js';
import { splitQueue, type SplitQueue } from '../split.js';

/** Below so many packets TypeScript is faster: docs/decisions/0007-simd-per-burst.md. */
const WORTH_A_CALL = 4;

function rxSplitVec(queue: SplitQueue, scalar: RxPath, run: RunSimd, ring: Ring, threshold: number): RxPath {
  const { spec, pool, words, stats, u16, used16 } = queue;
  const finish = finishCounted(spec, pool, stats);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    const count = (u16[used16 + 1]! - words[USED_IDX]!) & 0xffff;
    if (count < threshold || n < threshold) return scalar.recv(pkts, n);
    const result = run(pkts, n);
    if ((result & SIMD_KICK) !== 0) ring(words[AVAIL_IDX]!);
    const nb = result & COUNT_MASK;
    return finish === undefined ? nb : finish(pkts, nb);
  }

  return { spec, recv, fill: scalar.fill };
}

const scope = { STARTED, BROKEN, AVAIL_IDX, USED_IDX, COUNT_MASK, SIMD_KICK, finishCounted };

/** Opens the path for the calling thread. @param threshold packets from which a call pays off */
export function openRxSplitVec(spec: QueueSpec, pool: Mempool, threshold = WORTH_A_CALL): RxPath {
  const run = openSimd(spec, pool, 'rxSplit');
  const ring = openDoorbell(spec.doorbell);
  return specialize(rxSplitVec, scope, splitQueue(spec, pool), openRxSplit(spec, pool), run, ring, threshold);
}
