/** `virtio_recv_pkts_packed`: packed ring, one buffer per packet, in order or not. */
import { DESC_WORDS, ETHER_HDR_LEN } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { MAX_BURST } from '../burst.js';
import { countUsedPacked, fillPacked, packedQueue, type CountUsed, type PackedQueue } from '../packed.js';
import {
  BROKEN,
  BROKEN_ID,
  BROKEN_TWICE,
  FREE_COUNT,
  FREE_HEAD,
  STARTED,
  USED_IDX,
  USED_WRAP,
  type QueueSpec,
  type RxPath,
} from '../queue.js';
import { dropPacket, finishRx } from './finish.js';

function rxPacked(queue: PackedQueue, fill: () => number, countUsed: CountUsed): RxPath {
  const { spec, pool, words, stats, cookie, freeRing, i32, size, desc32 } = queue;
  const { dataOff, dataLen, pktLen, olFlags, headroom, dataRoom } = pool;
  const { hdrSize, nbDesc } = spec;
  const finish = finishRx(spec, pool, stats);

  function recv(pkts: Uint32Array, n: number): number {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return 0;
    let idx = words[USED_IDX]!;
    let wrap = words[USED_WRAP]!;
    let free = words[FREE_COUNT]!;
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
    for (let i = 0; i < count; i++) {
      const d = desc32 + idx * DESC_WORDS;
      const id = i32[d + 3]! & 0xffff;
      const length = i32[d + 2]! - hdrSize; // from 2^31 on it is negative: a runt
      const m = id < size ? cookie[id]! : NIL;
      if (m === NIL) {
        words[BROKEN] = id < size ? BROKEN_TWICE : BROKEN_ID;
        break;
      }
      cookie[id] = NIL;
      freeRing[tail] = id;
      if (++tail === size) tail = 0;
      free++;
      if (++idx === size) {
        idx = 0;
        wrap ^= 1;
      }
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
    words[USED_IDX] = idx;
    words[USED_WRAP] = wrap;

    if (words[BROKEN] === 0) fill();
    return finish(pkts, nb);
  }

  return { spec, recv, fill };
}

// prettier-ignore
const scope = {
  STARTED, BROKEN, USED_IDX, USED_WRAP, FREE_COUNT, FREE_HEAD, BROKEN_ID, BROKEN_TWICE, MAX_BURST, NIL, ETHER_HDR_LEN,
  DESC_WORDS, dropPacket, finishRx,
};

/** Opens the path for the calling thread. */
export function openRxPacked(spec: QueueSpec, pool: Mempool): RxPath {
  const queue = packedQueue(spec, pool);
  return specialize(rxPacked, scope, queue, fillPacked(queue), countUsedPacked(queue));
}
