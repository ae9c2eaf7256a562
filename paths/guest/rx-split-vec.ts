/**
 * `virtio_recv_pkts_vec`: what rx-split.ts does, by a kernel of the native helper (native/rx-split.h). Both work on the
 * same state, so that a burst too small for the call to pay is left to the TypeScript.
 */
import type { Mempool } from '../mempool.js';
import { specialize } from '../specialize.js';
import { ring, stripVlan } from './burst.js';
import { COUNT_MASK, KERNEL_KICK, openKernel, type RunKernel } from './kernel-block.js';
import { BROKEN, STARTED, USED_IDX, type QueueSpec, type RxPath } from './queue.js';
import { openRxSplit } from './rx-split.js';
import { splitQueue, type SplitQueue } from './split.js';

/** Packets below which the TypeScript is faster: docs/decisions/0007-kernels-per-burst.md. */
const WORTH_A_CALL = 4;

function rxSplitVec(queue: SplitQueue, scalar: RxPath, run: RunKernel, threshold: number): RxPath {
  const { spec, pool, words, u16, used16 } = queue;
  const { doorbell, vlanStrip } = spec;

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    const count = (u16[used16 + 1]! - words[USED_IDX]!) & 0xffff;
    if (count < threshold || n < threshold) return scalar.recv(pkts, n);
    const result = run(pkts, n);
    if ((result & KERNEL_KICK) !== 0) ring(doorbell);
    const nb = result & COUNT_MASK;
    if (vlanStrip) stripVlan(pool, pkts, nb);
    return nb;
  }

  return { spec, recv, fill: scalar.fill };
}

const scope = { STARTED, BROKEN, USED_IDX, COUNT_MASK, KERNEL_KICK, ring, stripVlan };

/** Opens the path for the calling thread. @param threshold packets that make a call worth it */
export function openRxSplitVec(spec: QueueSpec, pool: Mempool, threshold = WORTH_A_CALL): RxPath {
  const run = openKernel(spec, pool, 'rxSplit');
  return specialize(rxSplitVec, scope, splitQueue(spec, pool), openRxSplit(spec, pool), run, threshold);
}
