/**
 * `virtio_recv_pkts_inorder`: split ring, used in the order made available, mergeable or not.
 *
 * Descriptor, avail entry and used entry of a buffer have the same index, its running number modulo the ring's size. So
 * there are no ids to keep, and avail entries are written once.
 */
import { DESC_F_WRITE, DESC_WORDS, ETHER_HDR_LEN, NUM_BUFFERS_OFF } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { NOMBUF } from '../../stats.js';
import { MAX_BURST, maxSegments } from '../burst.js';
import {
  AVAIL_IDX,
  BROKEN,
  BROKEN_INDEX,
  BROKEN_ORDER,
  BROKEN_STALLED,
  FREE_COUNT,
  MAX_STALLED_POLLS,
  STALLED,
  STARTED,
  USED_IDX,
  type QueueSpec,
  type RxPath,
} from '../queue.js';
import { dropPacket, finishRx } from './finish.js';
import { segmentsFor } from './segments.js';
import { publishSplit, splitQueue, type PublishSplit, type SplitQueue } from '../split.js';

function rxSplitInorder(queue: SplitQueue, publish: PublishSplit): RxPath {
  const { spec, pool, words, stats, cookie, scratch, u16, u32, mask, desc32, used16, usedRing32 } = queue;
  const { addrLo, addrHi, dataOff, dataLen, pktLen, olFlags, headroom, dataRoom, stride } = pool;
  const { hdrSize, nbDesc, mergeable } = spec;
  const finish = finishRx(spec, pool, stats);
  const { append, end } = segmentsFor(spec, pool, stats);
  const buffers = pool.u16;
  const numBuffersOff = pool.base + headroom - hdrSize + NUM_BUFFERS_OFF;
  const segmentLimit = maxSegments(spec, dataRoom);
  const ring16 = queue.avail16 + 2;

  function fill(): number {
    const want = words[FREE_COUNT]!;
    if (want === 0) return 0;
    const got = pool.getBulk(scratch, want);
    if (got < want) stats[NOMBUF]! += want - got;
    if (got === 0) return 0;
    const hdrOff = pool.headroom - hdrSize;
    const length = pool.dataRoom + hdrSize;
    const avail = words[AVAIL_IDX]!;
    for (let i = 0; i < got; i++) {
      const m = scratch[i]!;
      const slot = (avail + i) & mask;
      cookie[slot] = m;
      const d = desc32 + slot * DESC_WORDS;
      u32[d] = addrLo[m]! + hdrOff;
      u32[d + 1] = addrHi[m]!;
      u32[d + 2] = length;
      u32[d + 3] = DESC_F_WRITE;
      if (u16[ring16 + slot] !== slot) u16[ring16 + slot] = slot;
    }
    words[FREE_COUNT] = want - got;
    publish((avail + got) & 0xffff, avail);
    return got;
  }

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    const used = words[USED_IDX]!;
    const visible = (Atomics.load(u16, used16 + 1) - used) & 0xffff; // observe: entries up to the index are written
    const free = words[FREE_COUNT]!;
    if (visible === 0) {
      if (free !== 0) fill(); // the pool was empty when they became free
      return 0;
    }
    if (visible > nbDesc - free) {
      words[BROKEN] = BROKEN_INDEX;
      return 0;
    }
    if (n > MAX_BURST) n = MAX_BURST;
    let count = visible < n ? visible : n;
    if (count > 4) count -= (used + count) & 3; // see split.ts
    let nb = 0;
    let i = 0;
    while (i < count) {
      const slot = (used + i) & mask;
      const m = cookie[slot]!;
      if (u32[usedRing32 + 2 * slot] !== slot) {
        words[BROKEN] = BROKEN_ORDER;
        break;
      }
      const length = u32[usedRing32 + 2 * slot + 1]! - hdrSize;
      let segments = 1;
      if (mergeable) {
        segments = buffers[(numBuffersOff + m * stride) >> 1]!; // 0 counts as 1, as in DPDK and QEMU
        if (segments > 1 && segments <= segmentLimit && i + segments > visible) {
          // not all buffers are used yet: leave it to the next poll
          if (i === 0 && ++words[STALLED]! > MAX_STALLED_POLLS) words[BROKEN] = BROKEN_STALLED;
          break;
        }
      }
      cookie[slot] = NIL;
      i++;
      const sound = length >= ETHER_HDR_LEN && length <= dataRoom;
      if (segments > segmentLimit || (!sound && segments <= 1)) {
        dropPacket(pool, stats, m, length);
        continue;
      }
      dataOff[m] = headroom;
      dataLen[m] = length;
      pktLen[m] = length;
      olFlags[m] = 0;
      if (segments > 1) {
        const whole = gather(m, segments, sound, used + i);
        i += segments - 1;
        if (words[BROKEN] !== 0) break;
        if (!whole) continue;
      }
      pkts[nb++] = m;
    }
    if (i > 0) words[STALLED] = 0;
    words[FREE_COUNT] = free + i;
    words[USED_IDX] = (used + i) & 0xffff;

    if (words[BROKEN] === 0) fill();
    return finish(pkts, nb);
  }

  /** As `gather` in split-mergeable.ts, with ring slots instead of ids. */
  function gather(m: number, segments: number, sound: boolean, used: number): boolean {
    let last = m;
    for (let k = 0; k < segments - 1; k++) {
      const slot = (used + k) & mask;
      if (u32[usedRing32 + 2 * slot] !== slot) {
        words[BROKEN] = BROKEN_ORDER;
        return end(m, false);
      }
      const segment = cookie[slot]!;
      cookie[slot] = NIL;
      if (!append(m, last, segment, u32[usedRing32 + 2 * slot + 1]!)) sound = false;
      last = segment;
    }
    return end(m, sound);
  }

  return { spec, recv, fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, AVAIL_IDX, FREE_COUNT, STALLED, BROKEN_INDEX, BROKEN_ORDER, BROKEN_STALLED,
  MAX_STALLED_POLLS, MAX_BURST, NUM_BUFFERS_OFF, NIL, ETHER_HDR_LEN, DESC_WORDS, DESC_F_WRITE, NOMBUF, maxSegments,
  dropPacket, finishRx, segmentsFor,
};

/** Opens the path for the calling thread. */
export function openRxSplitInorder(spec: QueueSpec, pool: Mempool): RxPath {
  const queue = splitQueue(spec, pool);
  return specialize(rxSplitInorder, scope, queue, publishSplit(queue));
}
