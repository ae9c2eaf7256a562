/**
 * A device in a thread of its own that writes nearly right things into a ring at full speed, while the driver reads
 * them: used entries, indices, wrap marks, num_buffers. Word 0 of `stop`: 1 once it runs, 2 to end it.
 */
import { workerData } from 'node:worker_threads';
import { viewsOf, type Mapping } from '../../../../native/region.js';

export interface LiarData extends Mapping {
  readonly stop: Int32Array;
  readonly packed: boolean;
  readonly size: number;
  readonly ringOff: number;
  /** Offset of the used ring in the mapping (split). */
  readonly usedOff: number;
  /** Offsets of num_buffers of the mbufs. */
  readonly numBuffersOffs: readonly number[];
}

const { stop, packed, size, ringOff, usedOff, numBuffersOffs, ...mapping } = workerData as LiarData;
const { u16, u32 } = viewsOf(mapping);
let x = 1;
const random = (below: number): number => {
  x = (Math.imul(x, 1103515245) + 12345) >>> 0;
  return (x >>> 8) % below;
};
const id = () => (random(16) === 0 ? random(0x10000) : random(size));
const length = () => (random(16) === 0 ? random(0x1000000) * 256 : random(2200));

Atomics.store(stop, 0, 1);
while (Atomics.load(stop, 0) !== 2) {
  for (let i = 0; i < 1000; i++) {
    const slot = random(size);
    if (random(4) === 0) {
      u16[numBuffersOffs[random(numBuffersOffs.length)]! >> 1] = random(5);
    } else if (packed) {
      const d = (ringOff >> 2) + slot * 4;
      u32[d + 2] = length();
      u32[d + 3] = (id() | (random(2) ? 0x80800000 : 0)) >>> 0;
    } else if (random(3) > 0) {
      const entry = (usedOff >> 2) + 1 + slot * 2;
      u32[entry] = random(4) ? slot : id();
      u32[entry + 1] = length();
    } else {
      u16[(usedOff >> 1) + 1] = u16[(usedOff >> 1) + 1]! + random(3);
    }
  }
}
