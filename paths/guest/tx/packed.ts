/**
 * `virtio_xmit_pkts_packed`: packed ring, completed in any order or, with IN_ORDER, in the order made available.
 *
 * The buffer id of a packet is a free id; with IN_ORDER it is the number of the packet's first descriptor, so that one
 * used descriptor can stand for all packets up to its own (virtio 1.2 section 2.8.7).
 */
import { DESC_F_AVAIL, DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_USED, DESC_WORDS } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { DROP_TX } from '../../stats.js';
import { accountFor } from '../burst.js';
import { packedQueue, publishPacked, WRAP_BITS, type PackedQueue, type PublishPacked } from '../packed.js';
import {
  AVAIL_IDX,
  AVAIL_WRAP,
  BROKEN,
  BROKEN_ID,
  BROKEN_ORDER,
  BROKEN_TWICE,
  FREE_COUNT,
  FREE_HEAD,
  FREE_TAIL,
  MAX_TX_INDIRECT,
  STARTED,
  USED_IDX,
  USED_WRAP,
  type QueueSpec,
  type TxPath,
} from '../queue.js';
import { pushHeaderFor, TxZone, writeSegment } from './header.js';
import { prepareFor } from './offload.js';

function txPacked(queue: PackedQueue, zone: TxZone, publish: PublishPacked): TxPath {
  const { spec, pool, words, stats, cookie, chain, freeRing, scratch, u32, i32, size, desc32 } = queue;
  const { addrLo, addrHi, dataOff, dataLen, nbSegs, next } = pool;
  const { hdrSize, anyLayout, indirect, inOrder, freeThresh, nbDesc } = spec;
  const account = accountFor(stats, pool);
  const pushHeader = pushHeaderFor(spec, pool);

  function xmit(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    if (words[FREE_COUNT]! < n + freeThresh) cleanup(); // lazily: see split.ts
    const first = words[AVAIL_IDX]!;
    let idx = first;
    let wrap = words[AVAIL_WRAP]!;
    let flags = (wrap === 0 ? DESC_F_USED : DESC_F_AVAIL) << 16;
    let free = words[FREE_COUNT]!;
    let added = 0;
    let head = words[FREE_HEAD]!;
    let firstWord3 = 0;
    let i = 0;
    for (; i < n; i++) {
      if (free === 0 && (free = makeRoom(free, head)) === 0) break; // first: it may change freeRing[head]
      const m = pkts[i]! | 0;
      const off = dataOff[m]! - hdrSize;
      const id = inOrder ? idx : freeRing[head]!;
      let word3: number;
      let needed = 1;
      if (nbSegs[m] === 1 && anyLayout && off >= 0 && (off & 1) === 0) {
        pushHeader(m, off);
        const d = desc32 + idx * DESC_WORDS;
        u32[d] = addrLo[m]! + off;
        u32[d + 1] = addrHi[m]!;
        u32[d + 2] = dataLen[m]! + hdrSize;
        word3 = flags | id;
      } else if (indirect && nbSegs[m]! < MAX_TX_INDIRECT) {
        zone.writeTable(u32, desc32 + idx * DESC_WORDS, id, m);
        word3 = flags | (DESC_F_INDIRECT << 16) | id;
      } else {
        needed = nbSegs[m]! + 1;
        if (needed > free && (free = makeRoom(free, head)) < needed) {
          if (needed <= nbDesc || i > 0) break;
          return dropImpossible(m);
        }
        putChain(m, idx, wrap, id, needed);
        word3 = flags | (DESC_F_NEXT << 16) | id;
      }
      cookie[id] = m;
      chain[id] = needed;
      // publish writes the first descriptor of the burst last; the device reads no other before that one
      if (i === 0) firstWord3 = word3;
      else u32[desc32 + idx * DESC_WORDS + 3] = word3;
      free -= needed;
      added += needed;
      if (!inOrder && ++head === size) head = 0;
      idx += needed;
      if (idx >= size) {
        idx -= size;
        wrap ^= 1;
        flags = (wrap === 0 ? DESC_F_USED : DESC_F_AVAIL) << 16;
      }
    }
    if (i === 0) return 0;
    words[FREE_COUNT] = free;
    words[FREE_HEAD] = head;
    account(pkts, i);
    publish(first, firstWord3 | 0, idx, wrap, added);
    return i;
  }

  /** Writes a descriptor for the header and one per segment. The caller writes word 3 of the first one. */
  function putChain(m: number, idx: number, wrap: number, id: number, needed: number): void {
    zone.writeHeader(u32, desc32 + idx * DESC_WORDS, id, m);
    let segment = m;
    for (let k = 1; k < needed; k++) {
      if (++idx === size) {
        idx = 0;
        wrap ^= 1;
      }
      const d = desc32 + idx * DESC_WORDS;
      writeSegment(u32, d, pool, segment);
      const flags = (wrap === 0 ? DESC_F_USED : DESC_F_AVAIL) | (k < needed - 1 ? DESC_F_NEXT : 0);
      u32[d + 3] = (flags << 16) | id;
      segment = next[segment]!;
    }
  }

  /** Drops a packet that can never fit: it would block the queue for ever. */
  function dropImpossible(m: number): number {
    stats[DROP_TX]! += 1;
    pool.free(m);
    return 1;
  }

  /** Cleans up in the middle of a burst, for a packet with too little room. @returns free descriptors. */
  function makeRoom(free: number, head: number): number {
    words[FREE_COUNT] = free;
    words[FREE_HEAD] = head;
    return cleanup();
  }

  function cleanup(): number {
    if (words[BROKEN] === 0) {
      if (inOrder) cleanupInorder();
      else cleanupAny();
    }
    return words[FREE_COUNT]!;
  }

  function cleanupAny(): void {
    let idx = words[USED_IDX]!;
    let wrap = words[USED_WRAP]!;
    let free = words[FREE_COUNT]!;
    let tail = words[FREE_TAIL]!;
    let done = 0;
    while (free < nbDesc) {
      const word3 = i32[desc32 + idx * DESC_WORDS + 3]!; // flags and id in one load need no ordering
      if ((word3 & WRAP_BITS) !== (wrap === 0 ? 0 : WRAP_BITS)) break;
      const id = word3 & 0xffff;
      const m = id < size ? cookie[id]! : NIL;
      if (m === NIL) {
        words[BROKEN] = id < size ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      cookie[id] = NIL;
      freeRing[tail] = id;
      if (++tail === size) tail = 0;
      free += chain[id]!;
      idx += chain[id]!;
      if (idx >= size) {
        idx -= size;
        wrap ^= 1;
      }
      if (next[m] === NIL) scratch[done++] = m;
      else pool.free(m);
    }
    pool.putBulk(scratch, done);
    words[USED_IDX] = idx;
    words[USED_WRAP] = wrap;
    words[FREE_COUNT] = free;
    words[FREE_TAIL] = tail;
  }

  /** A used descriptor completes all packets up to its id: ids are the indices of the packets' first descriptors. */
  function cleanupInorder(): void {
    let idx = words[USED_IDX]!;
    let wrap = words[USED_WRAP]!;
    let free = words[FREE_COUNT]!;
    let done = 0;
    while (free < nbDesc) {
      const word3 = i32[desc32 + idx * DESC_WORDS + 3]!;
      if ((word3 & WRAP_BITS) !== (wrap === 0 ? 0 : WRAP_BITS)) break;
      const last = word3 & 0xffff;
      if (last >= size || cookie[last] === NIL) {
        words[BROKEN] = last < size ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      // terminates: `last` is outstanding, and so is every packet up to it
      for (let current = NIL; current !== last;) {
        current = idx;
        const m = cookie[current]!;
        if (m === NIL) {
          words[BROKEN] = BROKEN_ORDER;
          break;
        }
        cookie[current] = NIL;
        free += chain[current]!;
        idx += chain[current]!;
        if (idx >= size) {
          idx -= size;
          wrap ^= 1;
        }
        if (next[m] === NIL) scratch[done++] = m;
        else pool.free(m);
      }
      if (words[BROKEN] !== 0) break;
    }
    pool.putBulk(scratch, done);
    words[USED_IDX] = idx;
    words[USED_WRAP] = wrap;
    words[FREE_COUNT] = free;
  }

  return { spec, prepare: prepareFor(spec, pool), xmit, cleanup };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, USED_WRAP, AVAIL_IDX, AVAIL_WRAP, FREE_COUNT, FREE_HEAD, FREE_TAIL, BROKEN_ID, BROKEN_TWICE,
  BROKEN_ORDER, NIL, DESC_WORDS, DESC_F_NEXT, DESC_F_INDIRECT, DESC_F_AVAIL, DESC_F_USED, WRAP_BITS, MAX_TX_INDIRECT,
  DROP_TX, accountFor, prepareFor, pushHeaderFor, writeSegment,
};

/** Opens the path for the calling thread. */
export function openTxPacked(spec: QueueSpec, pool: Mempool): TxPath {
  const queue = packedQueue(spec, pool);
  return specialize(txPacked, scope, queue, new TxZone(spec, pool), publishPacked(queue));
}
