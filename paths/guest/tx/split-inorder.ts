/**
 * `virtio_xmit_pkts_inorder`: split ring, completed in the order made available.
 *
 * Descriptors are taken and come back in ring order. So `FREE_HEAD` is the next one to take, and its distance to the oldest
 * one with the device is the number of outstanding descriptors. Clean-up needs only the used index. Packets whose header
 * cannot be pushed take a chain; never an indirect table, as in DPDK.
 */
import { DESC_F_NEXT, DESC_WORDS } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { DROP_TX } from '../../stats.js';
import { accountFor } from '../burst.js';
import {
  AVAIL_IDX,
  BROKEN,
  BROKEN_INDEX,
  BROKEN_ORDER,
  FREE_COUNT,
  FREE_HEAD,
  STARTED,
  USED_IDX,
  type QueueSpec,
  type TxPath,
} from '../queue.js';
import { publishSplit, splitQueue, type PublishSplit, type SplitQueue } from '../split.js';
import { pushHeaderFor, TxZone, writeSegment } from './header.js';
import { prepareFor } from './offload.js';

function txSplitInorder(queue: SplitQueue, zone: TxZone, publish: PublishSplit): TxPath {
  const { spec, pool, words, stats, cookie, chain, scratch, u16, u32, mask, desc32, used16 } = queue;
  const { addrLo, addrHi, dataOff, dataLen, nbSegs, next } = pool;
  const { hdrSize, anyLayout, freeThresh, nbDesc } = spec;
  const account = accountFor(stats, pool);
  const pushHeader = pushHeaderFor(spec, pool);
  const ring16 = queue.avail16 + 2;

  function xmit(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    if (words[FREE_COUNT]! < n + freeThresh) cleanup(); // lazily: see split.ts
    const oldAvail = words[AVAIL_IDX]!;
    let free = words[FREE_COUNT]!;
    let head = words[FREE_HEAD]!;
    let avail = oldAvail;
    let i = 0;
    for (; i < n; i++) {
      if (free === 0 && (free = makeRoom(free, head)) === 0) break;
      const m = pkts[i]! | 0;
      const off = dataOff[m]! - hdrSize;
      let needed = 1;
      if (nbSegs[m] === 1 && anyLayout && off >= 0 && (off & 1) === 0) {
        pushHeader(m, off);
        const d = desc32 + head * DESC_WORDS;
        u32[d] = addrLo[m]! + off;
        u32[d + 1] = addrHi[m]!;
        u32[d + 2] = dataLen[m]! + hdrSize;
        u32[d + 3] = 0;
      } else {
        needed = nbSegs[m]! + 1;
        if (needed > free && (free = makeRoom(free, head)) < needed) {
          if (needed <= nbDesc || i > 0) break;
          return dropImpossible(m);
        }
        putChain(m, head, needed);
      }
      chain[head] = needed;
      cookie[head] = m;
      const slot = ring16 + (avail & mask);
      if (u16[slot] !== head) u16[slot] = head;
      avail = (avail + 1) & 0xffff;
      head = (head + needed) & mask;
      free -= needed;
    }
    if (i === 0) return 0;
    words[FREE_COUNT] = free;
    words[FREE_HEAD] = head;
    account(pkts, i);
    publish(avail, oldAvail);
    return i;
  }

  /** Writes a descriptor for the header and one per segment, in ring order (2.7.5.3.1: next is x + 1, and 0 in the last). */
  function putChain(m: number, head: number, needed: number): void {
    let d = desc32 + head * DESC_WORDS;
    zone.writeHeader(u32, d, head, m);
    let segment = m;
    for (let k = 1; k < needed; k++) {
      const following = (head + k) & mask;
      u32[d + 3] = DESC_F_NEXT | (following << 16);
      d = desc32 + following * DESC_WORDS;
      writeSegment(u32, d, pool, segment);
      segment = next[segment]!;
    }
    u32[d + 3] = 0;
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
    const count = (Atomics.load(u16, used16 + 1) - used) & 0xffff; // observe
    if (count === 0 || words[BROKEN] !== 0) return free;
    const outstanding = nbDesc - free;
    if (count > outstanding) {
      words[BROKEN] = BROKEN_INDEX;
      return free;
    }
    let oldest = (words[FREE_HEAD]! - outstanding) & mask;
    let done = 0;
    let i = 0;
    for (; i < count; i++) {
      const m = cookie[oldest]!;
      if (m === NIL) {
        words[BROKEN] = BROKEN_ORDER; // more completions than packets: a chain counts once
        break;
      }
      cookie[oldest] = NIL;
      free += chain[oldest]!;
      oldest = (oldest + chain[oldest]!) & mask;
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
  STARTED, BROKEN, USED_IDX, AVAIL_IDX, FREE_COUNT, FREE_HEAD, BROKEN_INDEX, BROKEN_ORDER, NIL, DESC_WORDS, DESC_F_NEXT,
  DROP_TX, accountFor, prepareFor, pushHeaderFor, writeSegment,
};

/** Opens the path for the calling thread. */
export function openTxSplitInorder(spec: QueueSpec, pool: Mempool): TxPath {
  const queue = splitQueue(spec, pool);
  return specialize(txSplitInorder, scope, queue, new TxZone(spec, pool), publishSplit(queue));
}
