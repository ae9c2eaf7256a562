/** Shared by the packed-ring paths: offsets, the doorbell, and giving empty buffers to the device. */
import { fence, WEAK_ORDER } from '../../native/order.js';
import { viewsOf } from '../../native/region.js';
import { packedNeedsNotify } from '../kick.js';
import { DESC_F_AVAIL, DESC_F_USED, DESC_F_WRITE, DESC_WORDS, packedLayout } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { specialize } from '../specialize.js';
import { KICKS, KICKS_SUPPRESSED, NOMBUF } from '../stats.js';
import { openDoorbell, type Ring } from './doorbell.js';
import { AVAIL_IDX, AVAIL_WRAP, FREE_COUNT, FREE_HEAD, queueState, type QueueSpec, type QueueState } from './queue.js';

/**
 * AVAIL and USED bits in word 3 of a descriptor (id | flags << 16), as a signed 32-bit number. A descriptor is used when
 * both equal the wrap counter (virtio 1.2 section 2.8.1).
 */
export const WRAP_BITS = ((DESC_F_AVAIL | DESC_F_USED) << 16) | 0;

/** One thread's view of a packed queue. Offsets are indices into the typed array that the name ends in. */
export interface PackedQueue extends QueueState {
  readonly spec: QueueSpec;
  readonly pool: Mempool;
  /** The ring memory, which the device writes too. */
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly size: number;
  /** Descriptor ring: DESC_WORDS words each. */
  readonly desc32: number;
  /** Device event suppression: off_wrap | flags << 16. */
  readonly deviceEvent32: number;
  /** Room for mbufs on the way between pool and ring. */
  readonly scratch: Int32Array;
}

export function packedQueue(spec: QueueSpec, pool: Mempool): PackedQueue {
  const { size, ringOff } = spec;
  const { u32, i32 } = viewsOf(spec.mapping);
  const layout = packedLayout(size);
  return {
    spec,
    pool,
    ...queueState(spec),
    u32,
    i32,
    size,
    desc32: (ringOff + layout.desc) >> 2,
    deviceEvent32: (ringOff + layout.device) >> 2,
    scratch: new Int32Array(size),
  };
}

/** Returns a function that rings the doorbell for what SIMD code has made available. */
export function openKick({ spec, words }: PackedQueue): () => void {
  const ring = openDoorbell(spec.doorbell);
  return () => ring(words[AVAIL_IDX]! | (words[AVAIL_WRAP]! << 15));
}

/**
 * Makes the descriptors from `first` on available by writing word 3 of the first; the rest is written already. Then notifies
 * the device, if it wants that (section 2.8.21). Once per burst. `next` is the next descriptor to fill, with its wrap
 * counter; `count` descriptors were added.
 */
export type PublishPacked = (first: number, word3: number, next: number, nextWrap: number, count: number) => void;

function publisher(queue: PackedQueue, ring: Ring): PublishPacked {
  const { words, stats, i32, desc32, size, deviceEvent32 } = queue;
  const { eventIdx } = queue.spec;
  return (first, word3, next, nextWrap, count) => {
    words[AVAIL_IDX] = next;
    words[AVAIL_WRAP] = nextWrap;
    Atomics.store(i32, desc32 + first * DESC_WORDS + 3, word3); // publish; and fence, before the load below
    const event = Atomics.load(i32, deviceEvent32);
    if (packedNeedsNotify(eventIdx, event >>> 16, event & 0xffff, size, next, nextWrap, count)) {
      ring(next | (nextWrap << 15));
      stats[KICKS]! += 1;
    } else {
      stats[KICKS_SUPPRESSED]! += 1;
    }
  };
}

const publisherScope = { AVAIL_IDX, AVAIL_WRAP, DESC_WORDS, KICKS, KICKS_SUPPRESSED, packedNeedsNotify };

export function publishPacked(queue: PackedQueue): PublishPacked {
  return specialize(publisher, publisherScope, queue, openDoorbell(queue.spec.doorbell));
}

function filler(queue: PackedQueue, publish: PublishPacked): () => number {
  const { pool, words, stats, cookie, freeRing, scratch, u32, size, desc32 } = queue;
  const { addrLo, addrHi } = pool;
  const { hdrSize } = queue.spec;
  const hdrOff = pool.headroom - hdrSize;
  const length = pool.dataRoom + hdrSize;
  return () => {
    const want = words[FREE_COUNT]!;
    if (want === 0) return 0;
    const got = pool.getBulk(scratch, want);
    if (got < want) stats[NOMBUF]! += want - got;
    if (got === 0) return 0;
    const first = words[AVAIL_IDX]!;
    let idx = first;
    let wrap = words[AVAIL_WRAP]!;
    let flags = (DESC_F_WRITE | (wrap === 0 ? DESC_F_USED : DESC_F_AVAIL)) << 16;
    let head = words[FREE_HEAD]!;
    let firstWord3 = 0;
    for (let i = 0; i < got; i++) {
      const m = scratch[i]!;
      const id = freeRing[head]!;
      if (++head === size) head = 0;
      cookie[id] = m;
      const d = desc32 + idx * DESC_WORDS;
      u32[d] = addrLo[m]! + hdrOff;
      u32[d + 1] = addrHi[m]!;
      u32[d + 2] = length;
      if (i === 0) firstWord3 = flags | id;
      else u32[d + 3] = flags | id;
      if (++idx === size) {
        idx = 0;
        wrap ^= 1;
        flags = (DESC_F_WRITE | (wrap === 0 ? DESC_F_USED : DESC_F_AVAIL)) << 16;
      }
    }
    words[FREE_COUNT] = want - got;
    words[FREE_HEAD] = head;
    publish(first, firstWord3, idx, wrap, got);
    return got;
  };
}

// prettier-ignore
const fillerScope = {
  AVAIL_IDX, AVAIL_WRAP, FREE_COUNT, FREE_HEAD, NOMBUF, DESC_WORDS, DESC_F_WRITE, DESC_F_USED, DESC_F_AVAIL,
};

/** A function that gives the device a buffer for each free descriptor, as many as the pool has, and returns how many. */
export function fillPacked(queue: PackedQueue): () => number {
  return specialize(filler, fillerScope, queue, publishPacked(queue));
}

/** How many descriptors from `idx` on the device has marked used, at most `limit`. */
export type CountUsed = (idx: number, wrap: number, limit: number) => number;

function counter(queue: PackedQueue): CountUsed {
  const { i32, desc32, size } = queue;
  return (idx, wrap, limit) => {
    let expected = wrap === 0 ? 0 : WRAP_BITS;
    // observe: what the device wrote before it marked the first descriptor
    if ((Atomics.load(i32, desc32 + idx * DESC_WORDS + 3) & WRAP_BITS) !== expected) return 0;
    let count = 1;
    for (; count < limit; count++) {
      if (++idx === size) {
        idx = 0;
        expected ^= WRAP_BITS;
      }
      if ((i32[desc32 + idx * DESC_WORDS + 3]! & WRAP_BITS) !== expected) break;
    }
    if (WEAK_ORDER) fence(); // the other words are read after the flags
    return count;
  };
}

const counterScope = { DESC_WORDS, WRAP_BITS, WEAK_ORDER, fence };

export function countUsedPacked(queue: PackedQueue): CountUsed {
  return specialize(counter, counterScope, queue);
}
