/**
 * What the net header in front of a received packet says (virtio 1.2 section 5.1.6.4): the state of its checksum, and whether
 * it is several TCP segments in one. The header is not trusted: a packet whose header points outside of it, or uses an
 * offload that was not negotiated, is dropped.
 */
import { checksumOf, packetSum } from '../../checksum.js';
import { NIL, type Mempool } from '../../mempool.js';
import { RTE_MBUF_F_RX_L4_CKSUM_GOOD, RTE_MBUF_F_RX_L4_CKSUM_NONE, RTE_MBUF_F_RX_LRO } from '../../mbuf.js';
import { IPPROTO_TCP, PacketHeaders, parseHeaders, TCP_CHECKSUM_OFF, UDP_CHECKSUM_OFF } from '../../packet-headers.js';
import { BYTES, countDrop, DROP_OFFLOAD, groupCounter, PACKETS, SIZE_BINS, sizeBin } from '../../stats.js';
import {
  CSUM_OFFSET_OFF,
  CSUM_START_OFF,
  ETHER_HDR_LEN,
  GSO_SIZE_OFF,
  GSO_TYPE_OFF,
  NET_HDR_F_DATA_VALID,
  NET_HDR_F_NEEDS_CSUM,
  NET_HDR_GSO_NONE,
  NET_HDR_GSO_TCPV4,
  NET_HDR_GSO_TCPV6,
} from '../../layout.js';
import type { OffloadSpec } from '../queue.js';

/** Reads the headers of the first `n` packets of `pkts`. @returns how many are left, in the same order */
export type RxOffload = (pkts: Uint32Array, n: number) => number;

/**
 * What a queue does with packets before they are counted; undefined when no Rx offload was negotiated.
 * @param counted SIMD code has counted the packets already: subtract the dropped ones
 */
export function rxOffloadFor(
  spec: OffloadSpec,
  pool: Mempool,
  stats: Float64Array,
  counted = false,
): RxOffload | undefined {
  if (!spec.rxOffload) return undefined;
  const { u8, base, stride, headroom } = pool;
  const headers = base + headroom - spec.hdrSize;
  const lro = spec.lro === true;
  const parsed = new PacketHeaders();
  return (pkts, n) => {
    let left = 0;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      const header = headers + m * stride;
      if ((u8[header]! | u8[header + GSO_TYPE_OFF]!) === 0 || takeOffloads(pool, m, header, lro, parsed)) {
        pkts[left++] = m;
        continue;
      }
      countDrop(stats, DROP_OFFLOAD);
      if (counted) discount(stats, pool, m);
      pool.free(m);
    }
    return left;
  };
}

/** Subtracts a packet from the counters that SIMD code has updated (native/helper/burst.h). */
function discount(stats: Float64Array, pool: Mempool, m: number): void {
  const length = pool.pktLen[m]!;
  stats[PACKETS]! -= 1;
  stats[BYTES]! -= length;
  stats[SIZE_BINS + sizeBin(length)]! -= 1;
  const group = groupCounter(pool.u8, pool.dataStart(m));
  if (group !== undefined) stats[group]! -= 1;
}

const le16 = (u8: Uint8Array, at: number) => u8[at]! | (u8[at + 1]! << 8);

/** @returns false when the packet is to be dropped */
function takeOffloads(pool: Mempool, m: number, header: number, lro: boolean, parsed: PacketHeaders): boolean {
  const { u8, olFlags, tsoSegsz } = pool;
  const flags = u8[header]!; // read once: the device may still write to it
  const gsoType = u8[header + GSO_TYPE_OFF]!;
  if ((flags & (NET_HDR_F_NEEDS_CSUM | NET_HDR_F_DATA_VALID)) !== 0) {
    parseHeaders(pool, m, parsed);
    const { l2Len, l3Len, l4Len } = parsed;
    const known = l4Len > 0;
    if ((flags & NET_HDR_F_NEEDS_CSUM) !== 0) {
      const start = le16(u8, header + CSUM_START_OFF);
      const offset = le16(u8, header + CSUM_OFFSET_OFF);
      const usual = parsed.protocol === IPPROTO_TCP ? TCP_CHECKSUM_OFF : UDP_CHECKSUM_OFF;
      if (known && start === l2Len + l3Len && offset === usual) olFlags[m]! |= RTE_MBUF_F_RX_L4_CKSUM_NONE;
      else if (!completeChecksum(pool, m, start, offset)) return false;
    } else if (known) olFlags[m]! |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
  }
  if (gsoType === NET_HDR_GSO_NONE) return true;
  const size = le16(u8, header + GSO_SIZE_OFF);
  // ECN and UDP segmentation are never negotiated
  if (!lro || size === 0 || (gsoType !== NET_HDR_GSO_TCPV4 && gsoType !== NET_HDR_GSO_TCPV6)) return false;
  olFlags[m]! |= RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE;
  tsoSegsz[m] = size;
  return true;
}

/**
 * Completes a checksum, whose place has the sum of the pseudo header. @param start where the sum begins. @param offset of the checksum
 * from there. @returns false, with nothing changed, when it is not inside the packet
 */
export function completeChecksum(pool: Mempool, m: number, start: number, offset: number): boolean {
  if (start < ETHER_HDR_LEN || start + offset + 2 > pool.pktLen[m]!) return false;
  const checksum = checksumOf(packetSum(pool, m, start));
  putByte(pool, m, start + offset, checksum >> 8);
  putByte(pool, m, start + offset + 1, checksum & 0xff);
  return true;
}

/** Writes byte `at` of a packet, in whichever segment it is. */
function putByte(pool: Mempool, m: number, at: number, value: number): void {
  for (let segment = m; segment !== NIL; segment = pool.next[segment]!) {
    const length = pool.dataLen[segment]!;
    if (at < length) {
      pool.u8[pool.dataStart(segment) + at] = value;
      return;
    }
    at -= length;
  }
}
