/**
 * `virtio_recv_pkts_packed_vec`: what rx-packed.ts does, by a kernel of the native helper (native/rx-packed.h). Both work
 * on the same state, so that a burst too small for the call to pay is left to the TypeScript.
 */
import { DESC_WORDS } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { specialize } from '../specialize.js';
import { afterRx } from './burst.js';
import { openDoorbell, type Ring } from './doorbell.js';
import { COUNT_MASK, KERNEL_KICK, openKernel, type RunKernel } from './kernel-block.js';
import { packedQueue, WRAP_BITS, type PackedQueue } from './packed.js';
import { AVAIL_IDX, AVAIL_WRAP, BROKEN, STARTED, USED_IDX, USED_WRAP, type QueueSpec, type RxPath } from './queue.js';
import { siftFor } from './rx-offload.js';
import { openRxPacked } from './rx-packed.js';

/** Packets below which the TypeScript is faster: docs/decisions/0007-kernels-per-burst.md. */
const WORTH_A_CALL = 4;

function rxPackedVec(queue: PackedQueue, scalar: RxPath, run: RunKernel, ring: Ring, threshold: number): RxPath {
  const { spec, pool, words, stats, i32, size, desc32 } = queue;
  const sift = siftFor(spec, pool, stats, true);
  const after = afterRx(spec, pool);

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
    if ((result & KERNEL_KICK) !== 0) ring(words[AVAIL_IDX]! | (words[AVAIL_WRAP]! << 15));
    let nb = result & COUNT_MASK;
    if (sift !== undefined) nb = sift(pkts, nb);
    if (after !== undefined) after(pkts, nb);
    return nb;
  }

  return { spec, recv, fill: scalar.fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, AVAIL_IDX, AVAIL_WRAP, USED_IDX, USED_WRAP, DESC_WORDS, WRAP_BITS, COUNT_MASK, KERNEL_KICK, afterRx,
  siftFor,
};

/** Opens the path for the calling thread. @param threshold packets that make a call worth it */
export function openRxPackedVec(spec: QueueSpec, pool: Mempool, threshold = WORTH_A_CALL): RxPath {
  const run = openKernel(spec, pool, 'rxPacked');
  const ring = openDoorbell(spec.doorbell);
  return specialize(rxPackedVec, scope, packedQueue(spec, pool), openRxPacked(spec, pool), run, ring, threshold);
}
