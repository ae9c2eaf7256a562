/**
 * `virtio_recv_mergeable_pkts`: split ring, used in any order, and a packet may fill several buffers: `num_buffers` in
 * the first one's header says how many (virtio 1.2 section 5.1.6.4).
 */
import { ETHER_HDR_LEN, NUM_BUFFERS_OFF } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { MAX_BURST, maxSegments } from '../burst.js';
import {
  BROKEN,
  BROKEN_ID,
  BROKEN_INDEX,
  BROKEN_STALLED,
  BROKEN_TWICE,
  FREE_COUNT,
  FREE_HEAD,
  MAX_STALLED_POLLS,
  STALLED,
  STARTED,
  USED_IDX,
  type QueueSpec,
  type RxPath,
} from '../queue.js';
import { dropPacket, finishRx } from './finish.js';
import { segmentsFor } from './segments.js';
import { fillSplit, splitQueue, type SplitQueue } from '../split.js';

function rxSplitMergeable(queue: SplitQueue, fill: () => number): RxPath {
  const { spec, pool, words, stats, cookie, freeRing, u16, u32, mask, used16, usedRing32 } = queue;
  const { dataOff, dataLen, pktLen, olFlags, headroom, dataRoom, stride } = pool;
  const { hdrSize, nbDesc } = spec;
  const finish = finishRx(spec, pool, stats);
  const { append, end } = segmentsFor(spec, pool, stats);
  const buffers = pool.u16;
  const numBuffersOff = pool.base + headroom - hdrSize + NUM_BUFFERS_OFF;
  const segmentLimit = maxSegments(spec, dataRoom);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    const used = words[USED_IDX]!;
    const visible = (Atomics.load(u16, used16 + 1) - used) & 0xffff; // observe: entries up to the index are written
    let free = words[FREE_COUNT]!;
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
    const head = words[FREE_HEAD]!;
    let nb = 0;
    let i = 0;
    while (i < count) {
      const entry = usedRing32 + 2 * ((used + i) & mask);
      const id = u32[entry]!;
      const length = u32[entry + 1]! - hdrSize;
      const m = id <= mask ? cookie[id]! : NIL;
      if (m === NIL) {
        words[BROKEN] = id <= mask ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      const segments = buffers[(numBuffersOff + m * stride) >> 1]!; // 0 counts as 1, as in DPDK and QEMU
      if (segments > 1 && segments <= segmentLimit && i + segments > visible) {
        // not all buffers are used yet: leave it to the next poll
        if (i === 0 && ++words[STALLED]! > MAX_STALLED_POLLS) words[BROKEN] = BROKEN_STALLED;
        break;
      }
      cookie[id] = NIL;
      freeRing[(head + free++) & mask] = id;
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
        const whole = gather(m, segments, sound, (used + i) & 0xffff, free);
        i += segments - 1;
        free += segments - 1;
        if (words[BROKEN] !== 0) break;
        if (!whole) continue;
      }
      pkts[nb++] = m;
    }
    if (i > 0) words[STALLED] = 0;
    words[FREE_COUNT] = free;
    words[USED_IDX] = (used + i) & 0xffff;

    if (words[BROKEN] === 0) fill();
    return finish(pkts, nb);
  }

  /**
   * Chains the other buffers of a packet, all of them visible, to its first one `m`. Drops the whole packet when a buffer has
   * an invalid length or the first one is not `sound`. @returns false when it was dropped.
   */
  function gather(m: number, segments: number, sound: boolean, used: number, free: number): boolean {
    const head = words[FREE_HEAD]!;
    let last = m;
    for (let k = 0; k < segments - 1; k++) {
      const entry = usedRing32 + 2 * ((used + k) & mask);
      const id = u32[entry]!;
      const segment = id <= mask ? cookie[id]! : NIL;
      if (segment === NIL) {
        words[BROKEN] = id <= mask ? BROKEN_TWICE : BROKEN_ID;
        return end(m, false);
      }
      cookie[id] = NIL;
      freeRing[(head + free + k) & mask] = id;
      if (!append(m, last, segment, u32[entry + 1]!)) sound = false;
      last = segment;
    }
    return end(m, sound);
  }

  return { spec, recv, fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, FREE_COUNT, FREE_HEAD, STALLED, BROKEN_INDEX, BROKEN_ID, BROKEN_TWICE, BROKEN_STALLED,
  MAX_STALLED_POLLS, MAX_BURST, NUM_BUFFERS_OFF, NIL, ETHER_HDR_LEN, maxSegments, dropPacket, finishRx, segmentsFor,
};

/** Opens the path for the calling thread. */
export function openRxSplitMergeable(spec: QueueSpec, pool: Mempool): RxPath {
  const queue = splitQueue(spec, pool);
  return specialize(rxSplitMergeable, scope, queue, fillSplit(queue));
}
