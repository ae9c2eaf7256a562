/** icmpecho: answers ARP requests and ICMP echo requests, drops the rest. */
import { bigEndian16, swapBytes } from '../../../paths/bytes.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { ETHER_TYPE_ARP, ETHER_TYPE_IPV4 } from '../../../paths/packet-headers.js';
import { etherTypeOffset } from './rewrite.js';
import type { Engine, ForwardStream } from './stream.js';

const ARP_LENGTH = 28;
const ARP_REQUEST = 1;
const ARP_REPLY = 2;
const PROTOCOL_ICMP = 1;
const ECHO_REQUEST = 8;

export class IcmpEcho implements Engine {
  constructor(private readonly ownMac: readonly number[]) {}

  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n === 0) return;
    const { pkts, pool } = stream;
    let replies = 0;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      const at = pool.dataStart(m);
      if (toReply(pool.u8, at, at + pool.dataLen[m]!, this.ownMac)) {
        pool.olFlags[m] = 0;
        pkts[replies++] = m;
      } else pool.free(m);
    }
    if (replies > 0) stream.transmit(replies);
  }
}

/** Turns the request in the bytes from `at` to `end` into its reply. @returns false when it is not such a request. */
function toReply(u8: Uint8Array, at: number, end: number, ownMac: readonly number[]): boolean {
  if (end - at < ETHER_HDR_LEN) return false;
  const type = etherTypeOffset(u8, at, end);
  const etherType = bigEndian16(u8, type);
  if (etherType === ETHER_TYPE_ARP) return toArpReply(u8, at, type + 2, end, ownMac);
  return etherType === ETHER_TYPE_IPV4 && toEchoReply(u8, at, type + 2, end);
}

/** RFC 826: hardware type 0, protocol type 2, lengths 4 and 5, operation 6, sender 8 and 14, target 18 and 24. */
function toArpReply(u8: Uint8Array, at: number, arp: number, end: number, ownMac: readonly number[]): boolean {
  if (arp + ARP_LENGTH > end) return false;
  const ethernetIpv4 = bigEndian16(u8, arp) === 1 && bigEndian16(u8, arp + 2) === ETHER_TYPE_IPV4;
  if (!ethernetIpv4 || u8[arp + 4] !== 6 || u8[arp + 5] !== 4 || bigEndian16(u8, arp + 6) !== ARP_REQUEST) return false;
  u8[arp + 7] = ARP_REPLY;
  swapBytes(u8, arp + 8, arp + 18, 10); // MAC and IPv4 address together
  for (let i = 0; i < 6; i++) {
    u8[at + i] = u8[at + 6 + i]!;
    u8[at + 6 + i] = ownMac[i]!;
    u8[arp + 8 + i] = ownMac[i]!;
  }
  return true;
}

/** RFC 792: type 0, code 1, checksum 2. */
function toEchoReply(u8: Uint8Array, at: number, ip: number, end: number): boolean {
  if (ip + 20 > end || u8[ip]! >> 4 !== 4 || u8[ip + 9] !== PROTOCOL_ICMP) return false;
  if (bigEndian16(u8, ip + 6) & 0x1fff) return false; // a later fragment
  const icmp = ip + (u8[ip]! & 0xf) * 4;
  if (icmp < ip + 20 || icmp + 8 > end || u8[icmp] !== ECHO_REQUEST || u8[icmp + 1] !== 0) return false;
  if (u8[ip + 16]! >> 4 === 0xe) return false; // to a multicast group: there is no source address for the reply
  swapBytes(u8, at, at + 6, 6);
  swapBytes(u8, ip + 12, ip + 16, 4);
  u8[icmp] = 0;
  // RFC 1624: the word 0x0800 became 0
  let sum = (~bigEndian16(u8, icmp + 2) & 0xffff) + (~(ECHO_REQUEST << 8) & 0xffff);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  u8[icmp + 2] = sum >> 8;
  u8[icmp + 3] = sum & 0xff;
  return true;
}
