/**
 * `virtio_xmit_pkts`: split ring, completed in any order.
 *
 * A packet takes one descriptor when its header can be pushed in front of the data. If not, it takes one that refers to an
 * indirect table when INDIRECT_DESC was negotiated; else one for the header and one per segment.
 */
import { DESC_F_INDIRECT, DESC_F_NEXT, DESC_WORDS } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { DROP_TX } from '../../stats.js';
import { accountFor } from '../burst.js';
import {
  AVAIL_IDX,
  BROKEN,
  BROKEN_ID,
  BROKEN_INDEX,
  BROKEN_TWICE,
  FREE_COUNT,
  FREE_HEAD,
  MAX_TX_INDIRECT,
  STARTED,
  USED_IDX,
  type QueueSpec,
  type TxPath,
} from '../queue.js';
import { publishSplit, splitQueue, type PublishSplit, type SplitQueue } from '../split.js';
import { pushHeaderFor, TxZone, writeSegment } from './header.js';
import { prepareFor } from './offload.js';

function txSplit(queue: SplitQueue, zone: TxZone, publish: PublishSplit): TxPath {
  const { spec, pool, words, stats, cookie, chain, link, freeRing, scratch } = queue;
  const { u16, u32, mask, desc32, used16, usedRing32 } = queue;
  const { addrLo, addrHi, dataOff, dataLen, nbSegs, next } = pool;
  const { hdrSize, anyLayout, indirect, freeThresh, nbDesc } = spec;
  const account = accountFor(stats, pool);
  const pushHeader = pushHeaderFor(spec, pool);
  const ring16 = queue.avail16 + 2;

  function xmit(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    // lazily: reading the used index in every burst would take its cache line from the device each time
    if (words[FREE_COUNT]! < n + freeThresh) cleanup();

    const oldAvail = words[AVAIL_IDX]!;
    let free = words[FREE_COUNT]!;
    let head = words[FREE_HEAD]!;
    let avail = oldAvail;
    let i = 0;
    for (; i < n; i++) {
      if (free === 0 && (free = makeRoom(free, head)) === 0) break; // first: it may change freeRing[head]
      const m = pkts[i]! | 0;
      const off = dataOff[m]! - hdrSize;
      const id = freeRing[head]!;
      let needed = 1;
      if (nbSegs[m] === 1 && anyLayout && off >= 0 && (off & 1) === 0) {
        pushHeader(m, off);
        const d = desc32 + id * DESC_WORDS;
        u32[d] = addrLo[m]! + off;
        u32[d + 1] = addrHi[m]!;
        u32[d + 2] = dataLen[m]! + hdrSize;
        u32[d + 3] = 0;
      } else if (indirect && nbSegs[m]! < MAX_TX_INDIRECT) {
        const d = desc32 + id * DESC_WORDS;
        zone.writeTable(u32, d, id, m);
        u32[d + 3] = DESC_F_INDIRECT;
      } else {
        needed = nbSegs[m]! + 1;
        if (needed > free && (free = makeRoom(free, head)) < needed) {
          if (needed <= nbDesc || i > 0) break;
          return dropImpossible(m);
        }
        putChain(m, head, needed);
      }
      chain[id] = needed;
      cookie[id] = m;
      head = (head + needed) & mask;
      free -= needed;
      const slot = ring16 + (avail & mask);
      if (u16[slot] !== id) u16[slot] = id; // see `filler` in ../split.ts
      avail = (avail + 1) & 0xffff;
    }
    if (i === 0) return 0;
    words[FREE_COUNT] = free;
    words[FREE_HEAD] = head;
    account(pkts, i);
    publish(avail, oldAvail);
    return i;
  }

  /** Writes a descriptor for the header and one per segment, in the `needed` free ids from `head` on; `link` keeps them. */
  function putChain(m: number, head: number, needed: number): void {
    let id = freeRing[head]!;
    zone.writeHeader(u32, desc32 + id * DESC_WORDS, id, m);
    let segment = m;
    for (let k = 1; k < needed; k++) {
      const following = freeRing[(head + k) & mask]!;
      u32[desc32 + id * DESC_WORDS + 3] = DESC_F_NEXT | (following << 16);
      link[id] = following;
      writeSegment(u32, desc32 + following * DESC_WORDS, pool, segment);
      segment = next[segment]!;
      id = following;
    }
    u32[desc32 + id * DESC_WORDS + 3] = 0;
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
    let free = words[FREE_COUNT]!;
    const used = words[USED_IDX]!;
    const count = (Atomics.load(u16, used16 + 1) - used) & 0xffff; // observe: entries up to the index are written
    if (count === 0 || words[BROKEN] !== 0) return free;
    if (count > nbDesc - free) {
      words[BROKEN] = BROKEN_INDEX;
      return free;
    }
    const head = words[FREE_HEAD]!;
    let done = 0;
    let i = 0;
    for (; i < count; i++) {
      let id = u32[usedRing32 + 2 * ((used + i) & mask)]!; // its length has no meaning on Tx
      const m = id <= mask ? cookie[id]! : NIL;
      if (m === NIL) {
        words[BROKEN] = id <= mask ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      cookie[id] = NIL;
      freeRing[(head + free++) & mask] = id;
      for (let k = chain[id]! - 1; k > 0; k--) {
        id = link[id]!;
        freeRing[(head + free++) & mask] = id;
      }
      if (next[m] === NIL) scratch[done++] = m;
      else pool.free(m);
    }
    pool.putBulk(scratch, done);
    words[USED_IDX] = (used + i) & 0xffff;
    words[FREE_COUNT] = free;
    return free;
  }

  return { spec, prepare: prepareFor(spec, pool), xmit, cleanup };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, AVAIL_IDX, FREE_COUNT, FREE_HEAD, BROKEN_INDEX, BROKEN_ID, BROKEN_TWICE, NIL,
  DESC_WORDS, DESC_F_NEXT, DESC_F_INDIRECT, MAX_TX_INDIRECT, DROP_TX, accountFor, prepareFor, pushHeaderFor, writeSegment,
};

/** Opens the path for the calling thread. */
export function openTxSplit(spec: QueueSpec, pool: Mempool): TxPath {
  const queue = splitQueue(spec, pool);
  return specialize(txSplit, scope, queue, new TxZone(spec, pool), publishSplit(queue));
}
