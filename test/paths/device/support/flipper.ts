/**
 * A thread that writes plausible and implausible words into descriptors until it is told to stop: the guest that
 * changes its mind between our check and our use. Word 0 of `stop`: 1 once it runs, 2 to end it.
 */
import { workerData } from 'node:worker_threads';
import { viewsOf, type Mapping } from '../../../../native/region.js';

export interface FlipperData extends Mapping {
  readonly stop: Int32Array;
  /** Byte offsets of the tables of eight descriptors to write to. */
  readonly tables: readonly number[];
}

const { stop, tables, ...mapping } = workerData as FlipperData;
const { u16, u32 } = viewsOf(mapping);
const flags = [0x80, 0x82, 0x81, 0x84, 0, 0x8080, 1, 7];
let x = 1;
Atomics.store(stop, 0, 1);
while (Atomics.load(stop, 0) !== 2) {
  for (let i = 0; i < 1000; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    const at = tables[(x >>> 4) % tables.length]! / 16 + ((x >>> 8) & 7);
    const kind = (x >>> 12) & 7;
    if (kind === 0)
      u32[at * 4] = 0x20_0000 + (x >>> 11); // up to the end of the memory
    else if (kind === 1) u32[at * 4 + 1] = x & 0x6_0000 ? 1 : 0;
    else if (kind === 2) u32[at * 4 + 2] = x & 0x2_0000 ? x : (x >>> 20) & 0xff;
    else if (kind < 6) u16[at * 8 + 7] = flags[(x >>> 17) & 7]!;
    else u16[at * 8 + 6] = (x >>> 17) & 7;
  }
}
