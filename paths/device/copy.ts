/**
 * Copying packet bytes between two mappings. `set(subarray)` would allocate two objects per packet, so short packets are
 * copied in loops: by 4 bytes where both sides have the same alignment, by 2 or by 1 elsewhere. Each pair of mappings gets
 * machine code of its own (see specialize.ts), which more than halves the time. Long packets are copied by memcpy.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { addressOfViews, copyMemory, type Views } from '../../native/region.js';
import { specialize } from '../specialize.js';

/**
 * Bytes. From this length on memcpy is faster in spite of the call: loop / memcpy 22 / 65 ns for 128 bytes, 73 / 72 for 512,
 * 133 / 89 for 1024, 194 / 110 for 1518 (Node 20, AMD EPYC Milan).
 */
export const MEMCPY_FROM = 768;

/**
 * Copies `length` bytes from byte `s` of the source to byte `d` of the destination. The caller has checked both ranges.
 * @throws VirtioPmdError ESTATE when memcpy would leave the views, and copies nothing: only typed arrays check the bounds
 *   themselves.
 */
export type Copier = (d: number, s: number, length: number) => void;

/** By destination, then source: queues on the same memory share their copiers. */
const copiers = new WeakMap<Views, WeakMap<Views, Copier>>();

/** The function that copies from `src` to `dst`. */
export function copierOf(dst: Views, src: Views): Copier {
  const bySource = copiers.get(dst) ?? new WeakMap<Views, Copier>();
  copiers.set(dst, bySource);
  const copier = bySource.get(src) ?? specialize(makeCopier, scope, dst, src);
  bySource.set(src, copier);
  return copier;
}

/** The error of an invalid copy within a burst: see `VhostDevice.enqueueBurst`. */
function outside(d: number, s: number, length: number): VirtioPmdError {
  return new VirtioPmdError('ESTATE', `a copy of ${length} bytes from ${s} to ${d} would leave its memory`);
}

const scope = { MEMCPY_FROM, addressOfViews, copyMemory, outside };

function makeCopier(dst: Views, src: Views): Copier {
  const to = addressOfViews(dst);
  const from = addressOfViews(src);
  const { u8: to8, u16: to16, i32: to32 } = dst;
  const { u8: from8, u16: from16, i32: from32 } = src;
  const toBytes = to8.length;
  const fromBytes = from8.length;
  return (d, s, length) => {
    if (length >= MEMCPY_FROM) {
      // the cost of these comparisons is not measurable beside the 60 ns of the call
      if (d < 0 || s < 0 || d + length > toBytes || s + length > fromBytes) throw outside(d, s, length);
      copyMemory(to + d, from + s, length);
      return;
    }
    const end = d + length;
    if (((d ^ s) & 3) === 0 && length >= 8) {
      while ((d & 3) !== 0) to8[d++] = from8[s++]!;
      let i = d >>> 2;
      let j = s >>> 2;
      const last = end >>> 2;
      for (; i + 8 <= last; i += 8, j += 8) {
        to32[i] = from32[j]!;
        to32[i + 1] = from32[j + 1]!;
        to32[i + 2] = from32[j + 2]!;
        to32[i + 3] = from32[j + 3]!;
        to32[i + 4] = from32[j + 4]!;
        to32[i + 5] = from32[j + 5]!;
        to32[i + 6] = from32[j + 6]!;
        to32[i + 7] = from32[j + 7]!;
      }
      while (i < last) to32[i++] = from32[j++]!;
      d = i << 2;
      s = j << 2;
    } else if (((d | s) & 1) === 0) {
      let i = d >>> 1;
      let j = s >>> 1;
      const last = end >>> 1;
      while (i < last) to16[i++] = from16[j++]!;
      d = i << 1;
      s = j << 1;
    }
    while (d < end) to8[d++] = from8[s++]!;
  };
}
