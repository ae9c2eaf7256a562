/** The packets of txonly and flowgen: Ethernet, IPv4 without options, UDP without checksum, zeros. */
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { ETHER_TYPE_IPV4, IPPROTO_UDP } from '../../../paths/packet-headers.js';

export const ETH_IP_UDP_LENGTH = 42;
/** Offsets in the packet. */
const IP_CHECKSUM = 24;
export const IP_SOURCE = 26;
export const IP_DESTINATION = 30;

const IP_LENGTH = 20;
const TTL = 64;

export interface PacketFields {
  /** Bytes of the packet, without CRC; at least ETH_IP_UDP_LENGTH. */
  readonly length: number;
  readonly sourceMac: readonly number[];
  readonly destinationMac: readonly number[];
  readonly ip: { readonly source: number; readonly destination: number };
  readonly udp: { readonly source: number; readonly destination: number };
}

/** The first 64 bytes of the packet, with zeros after a shorter one; all further bytes are 0. */
export function packetTemplate({ length, sourceMac, destinationMac, ip, udp }: PacketFields): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  bytes.set(destinationMac, 0);
  bytes.set(sourceMac, 6);
  view.setUint16(12, ETHER_TYPE_IPV4);
  view.setUint8(14, 0x45);
  view.setUint16(16, length - ETHER_HDR_LEN);
  view.setUint8(22, TTL);
  view.setUint8(23, IPPROTO_UDP);
  view.setUint32(IP_SOURCE, ip.source);
  view.setUint32(IP_DESTINATION, ip.destination);
  view.setUint16(IP_CHECKSUM, ipChecksum(bytes, ETHER_HDR_LEN));
  view.setUint16(34, udp.source);
  view.setUint16(36, udp.destination);
  view.setUint16(38, length - ETHER_HDR_LEN - IP_LENGTH);
  return bytes;
}

/** IPv4 header checksum (RFC 791) of the 20 bytes at `at`, whose checksum field must be 0. */
export function ipChecksum(bytes: Uint8Array, at: number): number {
  let sum = 0;
  for (let i = 0; i < IP_LENGTH; i += 2) sum += (bytes[at + i]! << 8) | bytes[at + i + 1]!;
  return headerChecksum(sum);
}

/** The checksum of an IPv4 header from its sum, which has at most 20 bits: the complement of the folded sum. */
function headerChecksum(sum: number): number {
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~((sum & 0xffff) + (sum >>> 16)) & 0xffff;
}

/** Writes an IPv4 address at `field` of the packet at `at`, and the new header checksum. */
export function writeAddress(u8: Uint8Array, at: number, field: number, address: number, sumOfRest: number): void {
  u8[at + field] = address >>> 24;
  u8[at + field + 1] = (address >>> 16) & 0xff;
  u8[at + field + 2] = (address >>> 8) & 0xff;
  u8[at + field + 3] = address & 0xff;
  const checksum = headerChecksum(sumOfRest + (address >>> 16) + (address & 0xffff));
  u8[at + IP_CHECKSUM] = checksum >> 8;
  u8[at + IP_CHECKSUM + 1] = checksum & 0xff;
}

/** The ones' complement sum of a template's IPv4 header without its checksum and without the address at `field`. */
export function sumWithout(template: Uint8Array, field: number): number {
  const header = template.slice(0, ETH_IP_UDP_LENGTH);
  header.fill(0, IP_CHECKSUM, IP_CHECKSUM + 2);
  header.fill(0, field, field + 4);
  return ~ipChecksum(header, ETHER_HDR_LEN) & 0xffff;
}
