/** Selects a guest's Rx queue for a packet: all packets of a flow get the same one, so that they stay in order. */
import { ETHER_HDR_LEN } from '../../paths/layout.js';
import {
  ETHER_TYPE_IPV4,
  ETHER_TYPE_IPV6,
  ETHER_TYPE_VLAN,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from '../../paths/packet-headers.js';

/** Offset of the EtherType in a frame without a tag. */
const TYPE_OFFSET = 12;
const IPV4_FRAGMENT = 0x3fff; // offset, and "more fragments"

const u16 = (u8: Uint8Array, at: number) => (u8[at]! << 8) | u8[at + 1]!;

/** Mixes `bytes` bytes, a multiple of 2, into `hash`. */
function mix(hash: number, u8: Uint8Array, at: number, bytes: number): number {
  for (let i = 0; i < bytes; i += 2) hash = Math.imul(hash ^ u16(u8, at + i), 0x9e3779b1) ^ (hash >>> 15);
  return hash;
}

/**
 * A hash of addresses and, for TCP and UDP, ports; of MAC addresses for other protocols than IP, and of IP addresses alone
 * for fragments. There may be one VLAN tag.
 * @param at offset of the frame. @param length bytes of the frame in this segment; the others are ignored.
 * @returns a number from 0 to 2^32 - 1.
 */
export function flowHash(u8: Uint8Array, at: number, length: number): number {
  const tagged = length >= ETHER_HDR_LEN + 4 && u16(u8, at + TYPE_OFFSET) === ETHER_TYPE_VLAN;
  const type = u16(u8, at + TYPE_OFFSET + (tagged ? 4 : 0));
  const ip = at + ETHER_HDR_LEN + (tagged ? 4 : 0);
  const left = at + length - ip;
  let hash: number;
  let ports = -1;
  if (type === ETHER_TYPE_IPV4 && left >= 20) {
    hash = mix(type, u8, ip + 12, 8);
    const protocol = u8[ip + 9]!;
    const isWhole = (u16(u8, ip + 6) & IPV4_FRAGMENT) === 0;
    if ((protocol === IPPROTO_TCP || protocol === IPPROTO_UDP) && isWhole) ports = ip + (u8[ip]! & 15) * 4;
  } else if (type === ETHER_TYPE_IPV6 && left >= 40) {
    hash = mix(type, u8, ip + 8, 32);
    const next = u8[ip + 6]!;
    if (next === IPPROTO_TCP || next === IPPROTO_UDP) ports = ip + 40;
  } else {
    hash = mix(type, u8, at, 12);
  }
  if (ports >= 0 && ports + 4 <= at + length) hash = mix(hash, u8, ports, 4);
  hash ^= hash >>> 16;
  return Math.imul(hash, 0x85ebca6b) >>> 0;
}
