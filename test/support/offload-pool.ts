/**
 * Packets in a mempool whose every other byte is noise: in front of the data, behind it, in the mbufs beside it. What comes
 * of a packet must not depend on the noise, and the noise must still be there afterwards.
 */
import { NIL, type Mempool } from '../../paths/mempool.js';
import { noiseBytes } from './offload-packets.js';

/** Noise for all of the mempool's memory. */
export function scramble(pool: Mempool, seed: number): void {
  const { u8, base, stride, count } = pool;
  const end = base + stride * count;
  for (let at = base; at < end; at += 65536) u8.set(noiseBytes(seed + at, Math.min(65536, end - at)), at);
}

/** A copy of all of the mempool's memory; `at` of the pool's views is `at - pool.base` here. */
export function memoryOf(pool: Mempool): Uint8Array {
  return pool.u8.slice(pool.base, pool.base + pool.stride * pool.count);
}

/** The bytes at which the memory is not what it should be: their offsets in the pool's views, the first ten. */
export function differences(pool: Mempool, expected: Uint8Array): number[] {
  const found = pool.u8.subarray(pool.base, pool.base + expected.length);
  if (Buffer.compare(found, expected) === 0) return [];
  const places: number[] = [];
  for (let i = 0; i < expected.length && places.length < 10; i++) {
    if (found[i] !== expected[i]) places.push(pool.base + i);
  }
  return places;
}

/** `bytes` in pieces: `cuts` are the lengths of the first ones, cut to what is left and to what fits; the last has the rest. */
export function pieces(bytes: Uint8Array, cuts: readonly number[], most: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (const cut of cuts) {
    if (at >= bytes.length) break;
    parts.push(bytes.subarray(at, Math.min(at + cut, at + most, bytes.length)));
    at += parts.at(-1)!.length;
  }
  for (; at < bytes.length || parts.length === 0; at += most) parts.push(bytes.subarray(at, at + most));
  return parts;
}

/** A packet of these segments, `headroom` bytes free in front of the first one. Touches no byte but the packet's. */
export function place(pool: Mempool, parts: readonly Uint8Array[], headroom = pool.headroom): number {
  let first = NIL;
  let last = NIL;
  for (const part of parts) {
    const m = pool.get();
    if (m === NIL) throw new Error('the mempool is too small for the test');
    pool.dataOff[m] = first === NIL ? headroom : pool.headroom;
    pool.dataLen[m] = part.length;
    pool.olFlags[m] = 0;
    pool.next[m] = NIL;
    pool.nbSegs[m] = 1;
    pool.u8.set(part, pool.dataStart(m));
    if (first === NIL) first = m;
    else pool.next[last] = m;
    last = m;
  }
  pool.nbSegs[first] = parts.length;
  pool.pktLen[first] = parts.reduce((sum, part) => sum + part.length, 0);
  return first;
}

/** Where byte `at` of packet `m` is in the pool's views. */
export function locate(pool: Mempool, m: number, at: number): number {
  let segment = m;
  for (; at >= pool.dataLen[segment]!; segment = pool.next[segment]!) at -= pool.dataLen[segment]!;
  return pool.dataStart(segment) + at;
}
