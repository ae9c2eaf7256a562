/**
 * Copies whole packets between mbufs and the pieces of a chain, with the net header in front: the general case. The queue
 * classes handle the common case (one descriptor, one mbuf) themselves.
 */
import type { Views } from '../../native/region.js';
import { NUM_BUFFERS_OFF } from '../layout.js';
import { NIL, type Mempool } from '../mempool.js';
import { BYTES, countGroup, PACKETS, SIZE_BINS, sizeBin } from '../stats.js';
import type { Chain } from './chain.js';
import type { Copier } from './copy.js';
import type { GuestMemory } from './guest-memory.js';

/** Longest frame that a guest may send: 65535 bytes of IP after an Ethernet header, rounded up as in virtio 1.2 5.1.6.3.1. */
export const MAX_FRAME = 65550;
/** Packets per call at most, even if the caller asks for more. */
export const MAX_BURST = 256;
/** Writes a net header of `hdrSize` bytes without offloads: zeros, and `num_buffers` where it has that field. */
export function writeHeader(dst: Views, at: number, hdrSize: number, numBuffers: number): void {
  if ((at & 1) === 0) {
    const u16 = dst.u16;
    const first = at >>> 1;
    u16[first] = 0;
    u16[first + 1] = 0;
    u16[first + 2] = 0;
    u16[first + 3] = 0;
    u16[first + 4] = 0;
    if (hdrSize > NUM_BUFFERS_OFF) {
      u16[first + 5] = numBuffers;
      for (let i = 6; i < hdrSize >>> 1; i++) u16[first + i] = 0;
    }
  } else {
    for (let i = 0; i < hdrSize; i++) dst.u8[at + i] = headerByte(i, numBuffers);
  }
}

function headerByte(i: number, numBuffers: number): number {
  return i === NUM_BUFFERS_OFF ? numBuffers & 0xff : i === NUM_BUFFERS_OFF + 1 ? numBuffers >>> 8 : 0;
}

/** Fills the chain with a header and the packet `m`. The chain has room for both. */
export function packetToChain(
  chain: Chain,
  memory: GuestMemory,
  pool: Mempool,
  copiers: readonly Copier[],
  m: number,
  hdrSize: number,
  numBuffers: number,
): void {
  const { slice, offset, length } = chain;
  let piece = 0;
  let at = offset[0]!;
  let room = length[0]!;
  let dst = memory.views[slice[0]!]!;
  if (room >= hdrSize) {
    writeHeader(dst, at, hdrSize, numBuffers);
    at += hdrSize;
    room -= hdrSize;
  } else {
    for (let i = 0; i < hdrSize; i++) {
      while (room === 0) {
        piece++;
        at = offset[piece]!;
        room = length[piece]!;
        dst = memory.views[slice[piece]!]!;
      }
      dst.u8[at++] = headerByte(i, numBuffers);
      room--;
    }
  }

  let copy = copiers[slice[piece]!]!;
  while (m !== NIL) {
    let from = pool.dataStart(m);
    let left = pool.dataLen[m]!;
    while (left > 0) {
      if (room === 0) {
        if (++piece === chain.count) return; // pktLen and the segments disagree: never write past the chain
        at = offset[piece]!;
        room = length[piece]!;
        copy = copiers[slice[piece]!]!;
      }
      const n = left < room ? left : room;
      copy(at, from, n);
      at += n;
      room -= n;
      from += n;
      left -= n;
    }
    m = pool.next[m]!;
  }
}

/**
 * Copies the packet in the chain, without its header, to the mbuf `m` and as many more as it needs.
 * @returns false when the pool has too few: `m` is single-segment again and the others are back in the pool.
 */
export function chainToPacket(
  chain: Chain,
  pool: Mempool,
  copiers: readonly Copier[],
  m: number,
  hdrSize: number,
): boolean {
  const { slice, offset, length } = chain;
  const { dataLen, dataOff, next, headroom, dataRoom } = pool;
  let piece = 0;
  let skip = hdrSize;
  while (skip >= length[piece]!) skip -= length[piece++]!;
  let at = offset[piece]! + skip;
  let left = length[piece]! - skip;

  const total = chain.bytes - hdrSize;
  let remaining = total;
  let segment = m;
  let segments = 1;
  let to = pool.bufOff(segment) + headroom;
  let room = dataRoom;
  let filled = 0;
  for (;;) {
    let n = left < room ? left : room;
    copiers[slice[piece]!]!(to, at, n);
    to += n;
    at += n;
    left -= n;
    room -= n;
    filled += n;
    remaining -= n;
    if (remaining === 0) break;
    if (left === 0) {
      piece++;
      at = offset[piece]!;
      left = length[piece]!;
    }
    if (room === 0) {
      dataOff[segment] = headroom;
      dataLen[segment] = filled;
      n = pool.get();
      if (n === NIL) {
        const rest = next[m]!;
        next[m] = NIL;
        if (rest !== NIL) pool.free(rest);
        return false;
      }
      next[segment] = n;
      next[n] = NIL;
      segment = n;
      segments++;
      to = pool.bufOff(segment) + headroom;
      room = dataRoom;
      filled = 0;
    }
  }
  dataOff[segment] = headroom;
  dataLen[segment] = filled;
  pool.nbSegs[m] = segments;
  pool.pktLen[m] = total;
  pool.olFlags[m] = 0;
  return true;
}

/** Counts one packet of `length` bytes whose destination address begins at byte `at` of `u8`. */
export function countPacket(stats: Float64Array, u8: Uint8Array, at: number, length: number): void {
  stats[PACKETS]!++;
  stats[BYTES]! += length;
  stats[SIZE_BINS + sizeBin(length)]!++;
  if ((u8[at]! & 1) !== 0) countGroup(stats, u8, at);
}
