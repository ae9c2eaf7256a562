/**
 * The Internet checksum (RFC 1071) over packets in mbufs. A sum adds big-endian 16-bit words. Folded to 16 bits and
 * complemented, it is a checksum.
 */
import { NIL, type Mempool } from './mempool.js';

/** Adds the bytes from `from` up to `to` to a sum. An odd last byte is padded with a zero. At most 64 KiB at once. */
export function rawSum(u8: Uint8Array, from: number, to: number, sum = 0): number {
  const even = to - ((to - from) & 1);
  for (let i = from; i < even; i += 2) sum += (u8[i]! << 8) | u8[i + 1]!;
  return even === to ? sum : sum + (u8[even]! << 8);
}

/** Folds a sum to 16 bits, with the carries added. */
export function fold(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

/** The sum of a packet's bytes from `from` on, over all segments, folded. */
export function packetSum(pool: Mempool, m: number, from: number): number {
  const { dataLen, next } = pool;
  let sum = 0;
  let skip = from;
  let odd = false; // an odd number of bytes has been added: the next one is the lower half of a word
  for (let segment = m; segment !== NIL; segment = next[segment]!) {
    const length = dataLen[segment]! - skip;
    if (length <= 0) {
      skip = -length;
      continue;
    }
    const start = pool.dataStart(segment) + skip;
    const part = segmentSum(pool, start, start + length);
    sum += odd ? swapped(part) : part;
    if (length & 1) odd = !odd;
    skip = 0;
  }
  return fold(sum);
}

const swapped = (sum: number) => ((sum & 0xff) << 8) | (sum >> 8);

/**
 * The folded sum of the bytes from `from` up to `to`. Where alignment allows it adds words in host order, which takes half
 * the time: the sum of swapped words is the swapped sum (RFC 1071 section 2 B).
 */
function segmentSum({ u8, u16 }: Mempool, from: number, to: number): number {
  if (from & 1) return fold(rawSum(u8, from, to));
  let sum = to & 1 ? u8[to - 1]! : 0;
  const end = to >> 1;
  for (let i = from >> 1; i < end; i++) sum += u16[i]!;
  return swapped(fold(sum));
}

/** The sum of IPv4's pseudo header. @param l3 offset of the IP header. @param length bytes of L4 header and payload. */
export function pseudoSum4(u8: Uint8Array, l3: number, protocol: number, length: number): number {
  return rawSum(u8, l3 + 12, l3 + 20, protocol + length);
}

/** The same for IPv6 (RFC 8200 section 8.1). A length above 65535 takes two words, and the sum is the same. */
export function pseudoSum6(u8: Uint8Array, l3: number, protocol: number, length: number): number {
  return rawSum(u8, l3 + 8, l3 + 40, protocol + fold(length));
}

/**
 * The checksum of a folded sum. 0 becomes 0xffff, which is equal in one's complement arithmetic: in UDP 0 means "no
 * checksum".
 */
export function checksumOf(sum: number): number {
  return sum === 0xffff ? 0xffff : ~sum & 0xffff;
}
