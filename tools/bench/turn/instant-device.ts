/**
 * A device in the driver's own thread that uses all buffers when it is called. It copies nothing and does as little as the
 * ring format allows, so that the measured time is that of the driver.
 */
import { viewsOf } from '../../../native/region.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { AVAIL_IDX, AVAIL_WRAP, isTx, layoutOf, queueState, type QueueSpec } from '../../../paths/guest/queue.js';
import { DESC_F_AVAIL_USED, DESC_WORDS, EVENT_F_DISABLE, USED_F_NO_NOTIFY } from '../../../paths/layout.js';

export interface InstantDevice {
  /** Uses all that the driver has made available. */
  use(): void;
  /** Checks what this device assumes about the ring. @throws VirtioPmdError EPEER when it is not true. */
  check(): void;
}

/** @param length bytes of a received packet, without its header. */
export function instantDevice(spec: QueueSpec, length: number): InstantDevice {
  const used = isTx(spec) ? 0 : length + spec.hdrSize;
  return spec.packed ? packedDevice(spec, used) : splitDevice(spec, used);
}

/**
 * Split: the ids of single-descriptor packets repeat in the order of the ring. So the used ring is written once, here, and
 * using buffers is a store to its index.
 */
function splitDevice(spec: QueueSpec, length: number): InstantDevice {
  const { u16, u32 } = viewsOf(spec.mapping);
  const layout = layoutOf(spec);
  const { words } = queueState(spec);
  const avail16 = (spec.ringOff + layout.driver) >> 1;
  const used16 = (spec.ringOff + layout.device) >> 1;
  const usedRing32 = (spec.ringOff + layout.device + 4) >> 2;
  u16[used16] = USED_F_NO_NOTIFY;
  for (let i = 0; i < spec.size; i++) {
    u32[usedRing32 + 2 * i] = i;
    u32[usedRing32 + 2 * i + 1] = length;
  }
  return {
    use: () => {
      u16[used16 + 1] = words[AVAIL_IDX]!;
    },
    check: () => {
      const filled = Math.min(spec.size, u16[avail16 + 1]!);
      for (let i = 0; i < filled; i++) {
        if (u16[avail16 + 2 + i] === i) continue;
        throw new VirtioPmdError('EPEER', `avail ring entry ${i} holds descriptor ${u16[avail16 + 2 + i]}, not ${i}`);
      }
    },
  };
}

/** Packed: writes length, id and used flags to every descriptor; with IN_ORDER on Tx to the first, for all up to that id. */
function packedDevice(spec: QueueSpec, length: number): InstantDevice {
  const { i32 } = viewsOf(spec.mapping);
  const layout = layoutOf(spec);
  const { words } = queueState(spec);
  const { size } = spec;
  const desc32 = (spec.ringOff + layout.desc) >> 2;
  i32[(spec.ringOff + layout.device) >> 2] = EVENT_F_DISABLE << 16;
  let idx = 0;
  let wrap = 1;
  const marks = () => (wrap === 0 ? 0 : DESC_F_AVAIL_USED << 16);
  const useEach = () => {
    const end = words[AVAIL_IDX]!;
    const endWrap = words[AVAIL_WRAP]!;
    while (idx !== end || wrap !== endWrap) {
      const word3 = desc32 + idx * DESC_WORDS + 3;
      i32[word3 - 1] = length;
      i32[word3] = (i32[word3]! & 0xffff) | marks();
      if (++idx === size) {
        idx = 0;
        wrap ^= 1;
      }
    }
  };
  const useAll = () => {
    const end = words[AVAIL_IDX]!;
    const endWrap = words[AVAIL_WRAP]!;
    if (idx === end && wrap === endWrap) return;
    i32[desc32 + idx * DESC_WORDS + 3] = (end === 0 ? size - 1 : end - 1) | marks();
    idx = end;
    wrap = endWrap;
  };
  return { use: isTx(spec) && spec.inOrder ? useAll : useEach, check: () => {} };
}
