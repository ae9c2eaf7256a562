/**
 * `virtio_recv_mergeable_pkts_packed`: packed ring, in order or not, and a packet may fill several buffers:
 * `num_buffers` in the first one's header says how many (virtio 1.2 section 5.1.6.4).
 */
import { DESC_WORDS, ETHER_HDR_LEN, NUM_BUFFERS_OFF } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { MAX_BURST, maxSegments } from '../burst.js';
import { countUsedPacked, fillPacked, packedQueue, type CountUsed, type PackedQueue } from '../packed.js';
import {
  BROKEN,
  BROKEN_ID,
  BROKEN_STALLED,
  BROKEN_TWICE,
  FREE_COUNT,
  FREE_HEAD,
  MAX_STALLED_POLLS,
  STALLED,
  STARTED,
  USED_IDX,
  USED_WRAP,
  type QueueSpec,
  type RxPath,
} from '../queue.js';
import { dropPacket, finishRx } from './finish.js';
import { segmentsFor } from './segments.js';

function rxPackedMergeable(queue: PackedQueue, fill: () => number, countUsed: CountUsed): RxPath {
  const { spec, pool, words, stats, cookie, freeRing, i32, size, desc32 } = queue;
  const { dataOff, dataLen, pktLen, olFlags, headroom, dataRoom, stride } = pool;
  const { hdrSize, nbDesc } = spec;
  const finish = finishRx(spec, pool, stats);
  const { append, end } = segmentsFor(spec, pool, stats);
  const buffers = pool.u16;
  const numBuffersOff = pool.base + headroom - hdrSize + NUM_BUFFERS_OFF;
  const segmentLimit = maxSegments(spec, dataRoom);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    let idx = words[USED_IDX]!;
    let wrap = words[USED_WRAP]!;
    const free = words[FREE_COUNT]!;
    const outstanding = nbDesc - free;
    if (n > MAX_BURST) n = MAX_BURST;
    if (n > outstanding) n = outstanding;
    const count = n > 0 ? countUsed(idx, wrap, n) : 0;
    if (count === 0) {
      if (free !== 0) fill(); // the pool was empty when they became free
      return 0;
    }
    let tail = words[FREE_HEAD]! + free;
    if (tail >= size) tail -= size;
    let nb = 0;
    let i = 0; // number of buffers taken
    while (i < count) {
      const d = desc32 + idx * DESC_WORDS;
      const id = i32[d + 3]! & 0xffff;
      const length = i32[d + 2]! - hdrSize; // from 2^31 on it is negative: a runt
      const m = id < size ? cookie[id]! : NIL;
      if (m === NIL) {
        words[BROKEN] = id < size ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      const segments = buffers[(numBuffersOff + m * stride) >> 1]!; // 0 counts as 1, as in DPDK and QEMU
      if (segments > 1 && segments <= segmentLimit && i + segments > count) {
        // the rest may be beyond this burst, or not used yet: then leave the packet to the next poll
        const there = i + segments > outstanding ? 0 : countUsed(idx, wrap, segments);
        if (there < segments) {
          if (i === 0 && ++words[STALLED]! > MAX_STALLED_POLLS) words[BROKEN] = BROKEN_STALLED;
          break;
        }
      }
      cookie[id] = NIL;
      freeRing[tail] = id;
      if (++tail === size) tail = 0;
      if (++idx === size) {
        idx = 0;
        wrap ^= 1;
      }
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
        const rest = segments - 1;
        const whole = gather(m, rest, sound, idx, tail);
        i += rest;
        idx += rest;
        if (idx >= size) {
          idx -= size;
          wrap ^= 1;
        }
        tail += rest;
        if (tail >= size) tail -= size;
        if (words[BROKEN] !== 0) break;
        if (!whole) continue;
      }
      pkts[nb++] = m;
    }
    if (i > 0) words[STALLED] = 0;
    words[FREE_COUNT] = free + i;
    words[USED_IDX] = idx;
    words[USED_WRAP] = wrap;

    if (words[BROKEN] === 0) fill();
    return finish(pkts, nb);
  }

  /**
   * Chains the other `rest` buffers of a packet, all of them used, to its first one `m`. Drops the whole packet when a buffer
   * has an invalid length or the first one is not `sound`. @returns false when it was dropped.
   */
  function gather(m: number, rest: number, sound: boolean, idx: number, tail: number): boolean {
    let last = m;
    for (let k = 0; k < rest; k++) {
      const d = desc32 + idx * DESC_WORDS;
      const id = i32[d + 3]! & 0xffff;
      const length = i32[d + 2]!; // from 2^31 on it is negative
      const segment = id < size ? cookie[id]! : NIL;
      if (segment === NIL) {
        words[BROKEN] = id < size ? BROKEN_TWICE : BROKEN_ID;
        return end(m, false);
      }
      cookie[id] = NIL;
      freeRing[tail] = id;
      if (++tail === size) tail = 0;
      if (++idx === size) idx = 0;
      if (!append(m, last, segment, length)) sound = false;
      last = segment;
    }
    return end(m, sound);
  }

  return { spec, recv, fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, USED_WRAP, FREE_COUNT, FREE_HEAD, STALLED, BROKEN_ID, BROKEN_TWICE, BROKEN_STALLED,
  MAX_STALLED_POLLS, MAX_BURST, NUM_BUFFERS_OFF, NIL, ETHER_HDR_LEN, DESC_WORDS, maxSegments, dropPacket, finishRx,
  segmentsFor,
};

/** Opens the path for the calling thread. */
export function openRxPackedMergeable(spec: QueueSpec, pool: Mempool): RxPath {
  const queue = packedQueue(spec, pool);
  return specialize(rxPackedMergeable, scope, queue, fillPacked(queue), countUsedPacked(queue));
}
