/**
 * A device in a thread of its own that looks at buffers the moment they are shown: everything about a batch has to be in
 * place before its first buffer is. Looks at the last one first, uses them all, goes on with the next batch.
 */
import { workerData } from 'node:worker_threads';
import { viewsOf, type Mapping } from '../../../../native/region.js';
import { DESC_F_AVAIL, DESC_F_AVAIL_USED, DESC_F_USED, DESC_F_WRITE, DESC_WORDS } from '../../../../paths/layout.js';

export interface StrictDeviceData {
  readonly mapping: Mapping;
  readonly packed: boolean;
  readonly tx: boolean;
  readonly size: number;
  /** Offsets of the ring's parts in the mapping. */
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Buffers that the driver shows at once; divides `size`. */
  readonly batch: number;
  /** What every descriptor has to say about its length, and what it says once it is used. */
  readonly length: number;
  readonly usedLength: number;
  /** Word 0: 1 once it runs, 2 to end it. Word 1: batches so far. Word 2: buffers that were not complete. */
  readonly control: Int32Array;
}

const [STATE, BATCHES, VIOLATIONS] = [0, 1, 2];
const [RUNNING, STOP] = [1, 2];

const { mapping, packed, tx, size, desc, driver, device, batch, length, usedLength, control } =
  workerData as StrictDeviceData;
const { u16, u32, i32 } = viewsOf(mapping);
const word = (slot: number, index: number) => (desc >> 2) + slot * DESC_WORDS + index;
const stopped = () => Atomics.load(control, STATE) === STOP;
const isFilled = (slot: number) => u32[word(slot, 2)] === length && u32[word(slot, 0)] !== 0;

/** Spoils what the driver has to write anew. */
function spoil(slot: number): void {
  u32[word(slot, 0)] = 0;
  u32[word(slot, 2)] = 0;
}

function runPacked(): void {
  const shown = (slot: number, wrap: number) =>
    ((Atomics.load(i32, word(slot, 3)) >>> 16) & DESC_F_AVAIL_USED) === (wrap ? DESC_F_AVAIL : DESC_F_USED);
  for (let first = 0, wrap = 1; !stopped();) {
    if (!shown(first, wrap)) continue;
    for (let slot = first + batch - 1; slot > first; slot--) {
      if (shown(slot, wrap) && isFilled(slot)) continue;
      Atomics.add(control, VIOLATIONS, 1);
      while (!(shown(slot, wrap) && isFilled(slot)) && !stopped());
    }
    for (let slot = first + batch - 1; slot >= first; slot--) {
      const id = u32[word(slot, 3)]! & 0xffff;
      u32[word(slot, 0)] = 0;
      u32[word(slot, 2)] = usedLength;
      const flags = (wrap ? DESC_F_AVAIL_USED : 0) | (tx ? 0 : DESC_F_WRITE);
      Atomics.store(i32, word(slot, 3), (flags << 16) | id);
    }
    Atomics.add(control, BATCHES, 1);
    first += batch;
    if (first === size) {
      first = 0;
      wrap ^= 1;
    }
  }
}

function runSplit(): void {
  const NONE = 0xffff;
  for (let used = 0; !stopped();) {
    if (Atomics.load(u16, (driver >> 1) + 1) === used) continue;
    const ids: number[] = [];
    for (let i = batch - 1; i >= 0; i--) {
      const entry = (driver >> 1) + 2 + ((used + i) % size);
      const fine = () => u16[entry]! < size && isFilled(u16[entry]!);
      if (!fine()) {
        Atomics.add(control, VIOLATIONS, 1);
        while (!fine() && !stopped());
      }
      ids.unshift(u16[entry]!);
      u16[entry] = NONE;
    }
    ids.forEach((id, i) => {
      spoil(id);
      const at = (device >> 2) + 1 + 2 * ((used + i) % size);
      u32[at] = id;
      u32[at + 1] = usedLength;
    });
    used = (used + batch) & 0xffff;
    Atomics.store(u16, (device >> 1) + 1, used);
    Atomics.add(control, BATCHES, 1);
  }
}

Atomics.store(control, STATE, RUNNING);
if (packed) runPacked();
else runSplit();
