/** Finds the headers of a packet: Ethernet, VLAN tags, IP, TCP or UDP (the part of rte_net_get_ptype that virtio needs). */
import { bigEndian16 } from './bytes.js';
import { ETHER_HDR_LEN } from './layout.js';
import type { Mempool } from './mempool.js';

export const ETHER_TYPE_IPV4 = 0x0800;
export const ETHER_TYPE_ARP = 0x0806;
export const ETHER_TYPE_IPV6 = 0x86dd;
export const ETHER_TYPE_VLAN = 0x8100;
export const ETHER_TYPE_QINQ = 0x88a8;
const VLAN_TAG_LEN = 4;

export const IPPROTO_TCP = 6;
export const IPPROTO_UDP = 17;
const IPPROTO_HOPOPTS = 0;
const IPPROTO_ROUTING = 43;
const IPPROTO_FRAGMENT = 44;
const IPPROTO_DSTOPTS = 60;

const IPV4_MIN_LEN = 20;
const IPV6_LEN = 40;
/** MAX_EXT_HDRS of DPDK's rte_net.c: at most so many extension headers are parsed. */
const MAX_EXTENSIONS = 5;
const TCP_MIN_LEN = 20;
const UDP_LEN = 8;

/** Result of parseHeaders, reused for each packet. Lengths in bytes; 0 from the first incomplete header on. */
export class PacketHeaders {
  /** Ethernet with its VLAN tags. */
  l2Len = 0;
  /** The EtherType behind the tags. */
  etherType = 0;
  /** IPv4 with its options, IPv6 with its extension headers. */
  l3Len = 0;
  /** IPPROTO_* of the payload; -1 when unknown. For a fragment: that of the whole packet. */
  protocol = -1;
  /** A fragment of an IP packet: it has no L4 checksum of its own, and only the first one has an L4 header. */
  fragment = false;
  /** TCP with its options, or UDP; 0 for other protocols and for fragments. */
  l4Len = 0;
}

/** Finds the headers of packet `m` in its first segment. Reads nothing beyond that segment. */
export function parseHeaders(pool: Mempool, m: number, out: PacketHeaders): void {
  const { u8 } = pool;
  const start = pool.dataStart(m);
  const end = start + pool.dataLen[m]!;
  out.l2Len = 0;
  out.etherType = 0;
  out.l3Len = 0;
  out.protocol = -1;
  out.fragment = false;
  out.l4Len = 0;
  if (end - start < ETHER_HDR_LEN) return;
  let l3 = start + ETHER_HDR_LEN;
  let type = bigEndian16(u8, l3 - 2);
  for (let tags = 0; tags < 2 && (type === ETHER_TYPE_VLAN || type === ETHER_TYPE_QINQ); tags++) {
    if (l3 + VLAN_TAG_LEN > end) return;
    l3 += VLAN_TAG_LEN;
    type = bigEndian16(u8, l3 - 2);
  }
  out.l2Len = l3 - start;
  out.etherType = type;
  if (type === ETHER_TYPE_IPV4) parseIpv4(u8, l3, end, out);
  else if (type === ETHER_TYPE_IPV6) parseIpv6(u8, l3, end, out);
  if (out.l3Len > 0 && !out.fragment) parseL4(u8, l3 + out.l3Len, end, out);
}

function parseIpv4(u8: Uint8Array, l3: number, end: number, out: PacketHeaders): void {
  if (l3 + IPV4_MIN_LEN > end) return;
  const length = (u8[l3]! & 0xf) * 4;
  if (u8[l3]! >> 4 !== 4 || length < IPV4_MIN_LEN || l3 + length > end) return;
  out.l3Len = length;
  out.protocol = u8[l3 + 9]!;
  out.fragment = (bigEndian16(u8, l3 + 6) & 0x3fff) !== 0; // "more fragments", or a fragment offset
}

function parseIpv6(u8: Uint8Array, l3: number, end: number, out: PacketHeaders): void {
  if (l3 + IPV6_LEN > end || u8[l3]! >> 4 !== 6) return;
  let protocol = u8[l3 + 6]!;
  let at = l3 + IPV6_LEN;
  for (let extensions = 0; extensions < MAX_EXTENSIONS; extensions++) {
    let length: number;
    if (protocol === IPPROTO_FRAGMENT) length = 8;
    else if (protocol === IPPROTO_HOPOPTS || protocol === IPPROTO_ROUTING || protocol === IPPROTO_DSTOPTS) {
      if (at + 2 > end) return;
      length = (u8[at + 1]! + 1) * 8;
    } else break;
    if (at + length > end) return;
    const place = protocol === IPPROTO_FRAGMENT ? bigEndian16(u8, at + 2) : 0;
    if ((place & 0xfff9) !== 0) out.fragment = true; // a fragment offset, or "more fragments"
    protocol = u8[at]!;
    at += length;
    if (place >> 3 !== 0) break; // not the first fragment: no header follows
  }
  out.l3Len = at - l3;
  out.protocol = protocol;
}

function parseL4(u8: Uint8Array, l4: number, end: number, out: PacketHeaders): void {
  if (out.protocol === IPPROTO_UDP) {
    if (l4 + UDP_LEN <= end) out.l4Len = UDP_LEN;
  } else if (out.protocol === IPPROTO_TCP && l4 + TCP_MIN_LEN <= end) {
    const length = (u8[l4 + 12]! >> 4) * 4;
    if (length >= TCP_MIN_LEN && l4 + length <= end) out.l4Len = length;
  }
}

/** Byte offset of the checksum in the TCP or UDP header. */
export const TCP_CHECKSUM_OFF = 16;
export const UDP_CHECKSUM_OFF = 6;
