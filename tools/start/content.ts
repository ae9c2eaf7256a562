/** Packets in which every byte can be checked: an Ethernet header, a sequence number, and bytes derived from it. */
import type { Mempool } from '../../paths/mempool.js';
import { resetMbuf } from '../../paths/mbuf.js';

/** Ethernet header (14 bytes, type 0x88b5: local experiments), then the sequence number (4 bytes). */
const HEADER = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5] as const;
const SEQUENCE = HEADER.length;
const BODY = SEQUENCE + 4;

/** A byte that depends on both numbers, so that a wrong sequence number or shifted bytes are detected. */
const bodyByte = (sequence: number, at: number) =>
  (Math.imul(sequence, 167) + Math.imul(at, 31) + (sequence >> 8)) & 0xff;

/** Makes `m` packet number `sequence`, of `length` bytes (at least 18, at most the data room). */
export function writePacket(pool: Mempool, m: number, length: number, sequence: number): void {
  resetMbuf(pool, m);
  pool.dataLen[m] = length;
  pool.pktLen[m] = length;
  const { u8 } = pool;
  const start = pool.dataStart(m);
  for (let i = 0; i < SEQUENCE; i++) u8[start + i] = HEADER[i]!;
  for (let i = 0; i < 4; i++) u8[start + SEQUENCE + i] = sequence >>> (8 * i);
  for (let i = BODY; i < length; i++) u8[start + i] = bodyByte(sequence, i);
}

/** The sequence number of packet `m`, or -1 when its length is not `length` or any byte differs from writePacket's. */
export function readPacket(pool: Mempool, m: number, length: number): number {
  if (pool.pktLen[m] !== length || pool.dataLen[m] !== length || pool.nbSegs[m] !== 1) return -1;
  const { u8 } = pool;
  const start = pool.dataStart(m);
  for (let i = 0; i < SEQUENCE; i++) if (u8[start + i] !== HEADER[i]) return -1;
  let sequence = 0;
  for (let i = 0; i < 4; i++) sequence |= u8[start + SEQUENCE + i]! << (8 * i);
  for (let i = BODY; i < length; i++) if (u8[start + i] !== bodyByte(sequence, i)) return -1;
  return sequence >>> 0;
}
