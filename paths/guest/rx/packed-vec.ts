/**
 * `virtio_recv_pkts_packed_vec`: packed.ts as SIMD code of the native helper (native/helper/rx-packed.h). Both use the same
 * state, so that TypeScript can handle bursts that are too small for a call to pay off.
 */
import { DESC_WORDS } from '../../layout.js';
import type { Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { COUNT_MASK, SIMD_KICK, openSimd, type RunSimd } from '../simd-block.js';
import { openKick, packedQueue, WRAP_BITS, type PackedQueue } from '../packed.js';
import { BROKEN, STARTED, USED_IDX, USED_WRAP, type QueueSpec, type RxPath } from '../queue.js';
import { finishCounted } from './finish.js';
import { openRxPacked } from './packed.js';

/** Below so many packets TypeScript is faster: docs/decisions/0007-simd-per-burst.md. */
const WORTH_A_CALL = 4;

function rxPackedVec(queue: PackedQueue, scalar: RxPath, run: RunSimd, kick: () => void, threshold: number): RxPath {
  const { spec, pool, words, stats, i32, size, desc32 } = queue;
  // one function for the end of a burst and one for the doorbell keep `recv` short: V8 does not inline a longer one into the
  // caller's loop, which costs 4 ns of 23 per packet (Node 20, AMD EPYC Milan; always with --no-concurrent-recompilation,
  // else now and then)
  const finish = finishCounted(spec, pool, stats);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    let at = words[USED_IDX]! + threshold - 1;
    let mark = words[USED_WRAP] === 0 ? 0 : WRAP_BITS;
    if (at >= size) {
      at -= size;
      mark ^= WRAP_BITS;
    }
    const few = (i32[desc32 + at * DESC_WORDS + 3]! & WRAP_BITS) !== mark;
    if (few || n < threshold || size < threshold) return scalar.recv(pkts, n);
    const result = run(pkts, n);
    if ((result & SIMD_KICK) !== 0) kick();
    const nb = result & COUNT_MASK;
    return finish === undefined ? nb : finish(pkts, nb);
  }

  return { spec, recv, fill: scalar.fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, USED_WRAP, DESC_WORDS, WRAP_BITS, COUNT_MASK, SIMD_KICK, finishCounted,
};

/** Opens the path for the calling thread. @param threshold packets from which a call pays off */
export function openRxPackedVec(spec: QueueSpec, pool: Mempool, threshold = WORTH_A_CALL): RxPath {
  const run = openSimd(spec, pool, 'rxPacked');
  const queue = packedQueue(spec, pool);
  return specialize(rxPackedVec, scope, queue, openRxPacked(spec, pool), run, openKick(queue), threshold);
}
