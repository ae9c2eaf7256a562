/**
 * Tx offloads: the device completes checksums and cuts packets into TCP segments (virtio 1.2 section 5.1.6.2). `prepare`
 * makes the packet as the device needs it; the net header requests the offload.
 */
import { bigEndian16 } from '../../bytes.js';
import { fold, pseudoSum4, pseudoSum6 } from '../../checksum.js';
import { ETHER_HDR_LEN, NET_HDR_F_NEEDS_CSUM, NET_HDR_GSO_TCPV4, NET_HDR_GSO_TCPV6 } from '../../layout.js';
import {
  RTE_MBUF_F_TX_HEADER_MASK,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
  RTE_MBUF_F_TX_L4_MASK,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
  RTE_MBUF_F_TX_VLAN,
} from '../../mbuf.js';
import type { Mempool } from '../../mempool.js';
import { IPPROTO_TCP, IPPROTO_UDP, TCP_CHECKSUM_OFF, UDP_CHECKSUM_OFF } from '../../packet-headers.js';
import { insertVlan } from '../../vlan.js';
import type { OffloadSpec } from '../queue.js';

const IPV4_MIN_LEN = 20;
const IPV6_LEN = 40;
const TCP_MIN_LEN = 20;
/** The remaining value of RTE_MBUF_F_TX_L4_MASK: a CRC, which no virtio device computes. */
const SCTP_CKSUM = 2 << 28;

/** Whether the flags of `m` request an offload that goes into the net header. */
export function asksForOffload(pool: Mempool, m: number): boolean {
  return (pool.olFlags[m]! & RTE_MBUF_F_TX_HEADER_MASK) !== 0;
}

/** Writes the net header of `m`, which requests an offload, as 16-bit words from index `half` on. */
export function writeOffloadHeader(u16: Uint16Array, half: number, spec: OffloadSpec, pool: Mempool, m: number): void {
  const { l2Len, l3Len, l4Len, tsoSegsz } = pool;
  const flags = pool.olFlags[m]!;
  const segment = spec.txTso === true && (flags & RTE_MBUF_F_TX_TCP_SEG) !== 0;
  const headers = l2Len[m]! + l3Len[m]!;
  const gsoType = !segment ? 0 : (flags & RTE_MBUF_F_TX_IPV6) !== 0 ? NET_HDR_GSO_TCPV6 : NET_HDR_GSO_TCPV4;
  u16[half] = NET_HDR_F_NEEDS_CSUM | (gsoType << 8);
  u16[half + 1] = segment ? headers + l4Len[m]! : 0;
  u16[half + 2] = segment ? tsoSegsz[m]! : 0;
  u16[half + 3] = headers;
  u16[half + 4] = checksumOffset(flags);
  for (let i = 5; i < spec.hdrSize >> 1; i++) u16[half + i] = 0;
}

/** Byte offset of the checksum in the L4 header. */
function checksumOffset(flags: number): number {
  if ((flags & RTE_MBUF_F_TX_TCP_SEG) !== 0) return TCP_CHECKSUM_OFF;
  return (flags & RTE_MBUF_F_TX_L4_MASK) === RTE_MBUF_F_TX_UDP_CKSUM ? UDP_CHECKSUM_OFF : TCP_CHECKSUM_OFF;
}

/**
 * rte_eth_tx_prepare: inserts VLAN tags, writes the checksums of pseudo headers where checksums are to be completed.
 * @returns how many of the first packets can be sent; the next one asks for an offload that was not negotiated, or its header
 * lengths are invalid.
 */
export type Prepare = (pkts: Uint32Array, n: number) => number;

export function prepareFor(spec: OffloadSpec, pool: Mempool): Prepare {
  const { olFlags } = pool;
  return (pkts, n) => {
    for (let i = 0; i < n; i++) {
      const flags = olFlags[pkts[i]!]!;
      if ((flags & (RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_TX_HEADER_MASK)) === 0) continue;
      if (!preparePacket(spec, pool, pkts[i]!)) return i;
    }
    return n;
  };
}

function preparePacket(spec: OffloadSpec, pool: Mempool, m: number): boolean {
  if ((pool.olFlags[m]! & RTE_MBUF_F_TX_VLAN) !== 0 && !insertVlan(pool, m)) return false;
  return !asksForOffload(pool, m) || writePseudoChecksum(spec, pool, m);
}

/**
 * Writes the sum of the pseudo header into the checksum field, as virtio requires, with the length of the whole packet even
 * when it is to be segmented (section 5.1.6.2.1, "csum").
 */
function writePseudoChecksum(spec: OffloadSpec, pool: Mempool, m: number): boolean {
  const { u8, dataLen, pktLen, l2Len, l3Len, l4Len, tsoSegsz } = pool;
  const flags = pool.olFlags[m]!;
  if (!spec.txOffload) return false;
  const v6 = (flags & RTE_MBUF_F_TX_IPV6) !== 0;
  if (v6 === ((flags & RTE_MBUF_F_TX_IPV4) !== 0)) return false;
  const segment = (flags & RTE_MBUF_F_TX_TCP_SEG) !== 0;
  if (!segment && (flags & RTE_MBUF_F_TX_L4_MASK) === SCTP_CKSUM) return false;
  const l2 = l2Len[m]!;
  const l3 = l3Len[m]!;
  const offset = l2 + l3 + checksumOffset(flags);
  if (l2 < ETHER_HDR_LEN || l3 < (v6 ? IPV6_LEN : IPV4_MIN_LEN) || offset + 2 > dataLen[m]!) return false;
  if (segment) {
    const l4 = l4Len[m]!;
    if (!spec.txTso || tsoSegsz[m] === 0 || l4 < TCP_MIN_LEN || l2 + l3 + l4 > dataLen[m]!) return false;
  }
  const ip = pool.dataStart(m) + l2;
  const length = v6 ? bigEndian16(u8, ip + 4) + IPV6_LEN - l3 : bigEndian16(u8, ip + 2) - l3;
  if (length < 0 || l2 + l3 + length > pktLen[m]!) return false;
  const protocol = checksumOffset(flags) === UDP_CHECKSUM_OFF ? IPPROTO_UDP : IPPROTO_TCP;
  const sum = fold(v6 ? pseudoSum6(u8, ip, protocol, length) : pseudoSum4(u8, ip, protocol, length));
  const at = pool.dataStart(m) + offset;
  u8[at] = sum >> 8;
  u8[at + 1] = sum & 0xff;
  return true;
}
