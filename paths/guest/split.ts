/** Shared by the split-ring paths: offsets, the doorbell, and giving empty buffers to the device. */
import { viewsOf } from '../../native/region.js';
import { splitNeedsNotify } from '../kick.js';
import { DESC_F_WRITE, DESC_WORDS, splitLayout } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { specialize } from '../specialize.js';
import { KICKS, KICKS_SUPPRESSED, NOMBUF } from '../stats.js';
import { openDoorbell, type Ring } from './doorbell.js';
import { AVAIL_IDX, FREE_COUNT, FREE_HEAD, queueState, type QueueSpec, type QueueState } from './queue.js';

/** One thread's view of a split queue. Offsets are indices into the typed array that the name ends in. */
export interface SplitQueue extends QueueState {
  readonly spec: QueueSpec;
  readonly pool: Mempool;
  /** The ring memory, which the device writes too. */
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  /** size - 1 */
  readonly mask: number;
  /** Descriptor table: DESC_WORDS words each. */
  readonly desc32: number;
  /** avail->flags, idx, ring[size], used_event. */
  readonly avail16: number;
  /** used->flags and idx. */
  readonly used16: number;
  /** used->ring: id, len. */
  readonly usedRing32: number;
  /** used->avail_event. */
  readonly availEvent16: number;
  /** Room for mbufs on the way between pool and ring. */
  readonly scratch: Int32Array;
}

export function splitQueue(spec: QueueSpec, pool: Mempool): SplitQueue {
  const { size, ringOff } = spec;
  const { u16, u32 } = viewsOf(spec.mapping);
  const layout = splitLayout(size);
  return {
    spec,
    pool,
    ...queueState(spec),
    u16,
    u32,
    mask: size - 1,
    desc32: (ringOff + layout.desc) >> 2,
    avail16: (ringOff + layout.driver) >> 1,
    used16: (ringOff + layout.device) >> 1,
    usedRing32: (ringOff + layout.device + 4) >> 2,
    availEvent16: (ringOff + layout.device + 4 + 8 * size) >> 1,
    scratch: new Int32Array(size),
  };
}

/** Publishes avail idx and notifies the device, if it wants that (virtio 1.2 section 2.7.13). Once per burst. */
export type PublishSplit = (newIdx: number, oldIdx: number) => void;

function publisher(queue: SplitQueue, ring: Ring): PublishSplit {
  const { words, stats, u16, avail16, used16, availEvent16 } = queue;
  const { eventIdx } = queue.spec;
  return (newIdx, oldIdx) => {
    words[AVAIL_IDX] = newIdx;
    Atomics.store(u16, avail16 + 1, newIdx); // publish: the entries before the index; and fence, before the load below
    const wanted = Atomics.load(u16, eventIdx ? availEvent16 : used16);
    if (splitNeedsNotify(eventIdx, wanted, newIdx, oldIdx)) {
      ring(newIdx);
      stats[KICKS]! += 1;
    } else {
      stats[KICKS_SUPPRESSED]! += 1;
    }
  };
}

const publisherScope = { AVAIL_IDX, KICKS, KICKS_SUPPRESSED, splitNeedsNotify };

export function publishSplit(queue: SplitQueue): PublishSplit {
  return specialize(publisher, publisherScope, queue, openDoorbell(queue.spec.doorbell));
}

function filler(queue: SplitQueue, publish: PublishSplit): () => number {
  const { pool, words, stats, cookie, freeRing, scratch, u16, u32, mask, desc32 } = queue;
  const { addrLo, addrHi } = pool;
  const { hdrSize } = queue.spec;
  const hdrOff = pool.headroom - hdrSize;
  const length = pool.dataRoom + hdrSize;
  const ring16 = queue.avail16 + 2;
  return () => {
    const want = words[FREE_COUNT]!;
    if (want === 0) return 0;
    const got = pool.getBulk(scratch, want);
    if (got < want) stats[NOMBUF]! += want - got;
    if (got === 0) return 0;
    const head = words[FREE_HEAD]!;
    const avail = words[AVAIL_IDX]!;
    for (let i = 0; i < got; i++) {
      const m = scratch[i]!;
      const id = freeRing[(head + i) & mask]!;
      cookie[id] = m;
      const d = desc32 + id * DESC_WORDS;
      u32[d] = addrLo[m]! + hdrOff;
      u32[d + 1] = addrHi[m]!;
      u32[d + 2] = length;
      u32[d + 3] = DESC_F_WRITE;
      // with a device that works in order the ids repeat: not storing them keeps the line clean in both caches
      const slot = ring16 + ((avail + i) & mask);
      if (u16[slot] !== id) u16[slot] = id;
    }
    words[FREE_COUNT] = want - got;
    words[FREE_HEAD] = (head + got) & mask;
    publish((avail + got) & 0xffff, avail);
    return got;
  };
}

const fillerScope = { AVAIL_IDX, FREE_COUNT, FREE_HEAD, NOMBUF, DESC_WORDS, DESC_F_WRITE };

/** A function that gives the device a buffer for each free descriptor, as many as the pool has, and returns how many. */
export function fillSplit(queue: SplitQueue): () => number {
  return specialize(filler, fillerScope, queue, publishSplit(queue));
}
