/**
 * `virtio_recv_pkts`: split ring, one buffer per packet, used in any order. The simplest path: read it first.
 *
 * A buffer is one descriptor: the net header right in front of the packet data, at the end of the mbuf's headroom.
 */
import { ETHER_HDR_LEN } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { MAX_BURST } from '../burst.js';
import {
  BROKEN,
  BROKEN_ID,
  BROKEN_INDEX,
  BROKEN_TWICE,
  FREE_COUNT,
  FREE_HEAD,
  STARTED,
  USED_IDX,
  type QueueSpec,
  type RxPath,
} from '../queue.js';
import { dropPacket, finishRx } from './finish.js';
import { fillSplit, splitQueue, type SplitQueue } from '../split.js';

function rxSplit(queue: SplitQueue, fill: () => number): RxPath {
  const { spec, pool, words, stats, cookie, freeRing, u16, u32, mask, used16, usedRing32 } = queue;
  const { dataOff, dataLen, pktLen, olFlags, headroom, dataRoom } = pool;
  const { hdrSize, nbDesc } = spec;
  const finish = finishRx(spec, pool, stats);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    const used = words[USED_IDX]!;
    let count = (Atomics.load(u16, used16 + 1) - used) & 0xffff; // observe: entries up to the index are written
    let free = words[FREE_COUNT]!;
    if (count === 0) {
      if (free !== 0) fill(); // the pool was empty when they became free
      return 0;
    }
    if (count > nbDesc - free) {
      words[BROKEN] = BROKEN_INDEX;
      return 0;
    }
    if (n > MAX_BURST) n = MAX_BURST;
    if (count > n) count = n;
    // end at a cache line of the used ring, as DPDK does: the next burst then does not share a line with the device's writes
    if (count > 4) count -= (used + count) & 3;

    const head = words[FREE_HEAD]!;
    let nb = 0;
    let i = 0;
    for (; i < count; i++) {
      const entry = usedRing32 + 2 * ((used + i) & mask);
      const id = u32[entry]!;
      const length = u32[entry + 1]! - hdrSize;
      const m = id <= mask ? cookie[id]! : NIL;
      if (m === NIL) {
        words[BROKEN] = id <= mask ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      cookie[id] = NIL;
      freeRing[(head + free++) & mask] = id;
      if (length < ETHER_HDR_LEN || length > dataRoom) {
        dropPacket(pool, stats, m, length);
        continue;
      }
      dataOff[m] = headroom;
      dataLen[m] = length;
      pktLen[m] = length;
      olFlags[m] = 0;
      pkts[nb++] = m;
    }
    words[FREE_COUNT] = free;
    words[USED_IDX] = (used + i) & 0xffff;

    if (words[BROKEN] === 0) fill();
    return finish(pkts, nb);
  }

  return { spec, recv, fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, FREE_COUNT, FREE_HEAD, BROKEN_INDEX, BROKEN_ID, BROKEN_TWICE, MAX_BURST, NIL,
  ETHER_HDR_LEN, dropPacket, finishRx,
};

/** Opens the path for the calling thread. */
export function openRxSplit(spec: QueueSpec, pool: Mempool): RxPath {
  const queue = splitQueue(spec, pool);
  return specialize(rxSplit, scope, queue, fillSplit(queue));
}
