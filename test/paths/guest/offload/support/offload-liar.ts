/**
 * A thread that rewrites net headers and the headers of packets until it is told to stop: a device that changes its mind
 * while the driver reads. Word 0 of `stop`: 1 once it runs, 2 to end it.
 */
import { workerData } from 'node:worker_threads';
import { viewsOf, type Mapping } from '../../../../../native/region.js';

export interface OffloadLiarData extends Mapping {
  readonly stop: Int32Array;
  /** Byte offsets of net headers. */
  readonly headers: readonly number[];
  /** From a net header to its packet. */
  readonly hdrSize: number;
}

const { stop, headers, hdrSize, ...mapping } = workerData as OffloadLiarData;
const { u8, u16 } = viewsOf(mapping);

/** Places behind a net header, with values for them: one byte each. */
const lies: readonly (readonly [number, readonly number[]])[] = [
  [0, [0, 1, 2, 3, 1, 1]],
  [1, [0, 0, 0, 1, 4, 0x81, 3]],
  ...[12, 13].map((at) => [hdrSize + at, [0x08, 0x00, 0x81, 0x86, 0xdd]] as const), // EtherType
  [hdrSize + 14, [0x45, 0x4f, 0x60, 0x46]], // version and IHL
  ...[16, 17, 18, 19].map((at) => [hdrSize + at, [0, 20, 80, 255]] as const), // lengths
  [hdrSize + 20, [0, 6, 17, 43, 44, 60]], // next header of IPv6
  [hdrSize + 23, [6, 17, 1]], // protocol
  [hdrSize + 46, [0x50, 0xf0, 0x40]], // data offset of TCP
  [hdrSize + 55, [0, 1, 255]], // length of an extension header
];
const words = [0, 13, 14, 34, 50, 198, 199, 200, 201, 500, 4000, 65534, 65535];

let x = 1;
Atomics.store(stop, 0, 1);
while (Atomics.load(stop, 0) !== 2) {
  for (let i = 0; i < 1000; i++) {
    x = (Math.imul(x, 1103515245) + 12345) >>> 0;
    const header = headers[(x >>> 20) % headers.length]!;
    if (x & 0x10000) {
      const [at, values] = lies[(x >>> 8) % lies.length]!;
      u8[header + at] = values[(x >>> 17) % values.length]!;
    } else {
      // gso_size, csum_start, csum_offset
      u16[(header >> 1) + 2 + ((x >>> 8) % 3)] = words[(x >>> 17) % words.length]!;
    }
  }
}
