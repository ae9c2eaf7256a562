/**
 * Routes one packet in place: the checks of RFC 1812 section 5.2.2, the lookup, TTL, checksum and MAC addresses. L4 checksums
 * do not depend on any of these, so offload flags stay unchanged.
 */
import { bigEndian16 } from '../../paths/bytes.js';
import { fold, rawSum } from '../../paths/checksum.js';
import { ETHER_HDR_LEN } from '../../paths/layout.js';
import type { Mempool } from '../../paths/mempool.js';
import {
  ETHER_TYPE_ARP,
  ETHER_TYPE_IPV4,
  ETHER_TYPE_IPV6,
  ETHER_TYPE_QINQ,
  ETHER_TYPE_VLAN,
} from '../../paths/packet-headers.js';
import {
  DROP_ARP,
  DROP_LOCAL,
  DROP_MALFORMED,
  DROP_OTHER,
  DROP_TTL,
  DROP_VLAN,
  FORWARD_COUNTER_WORDS,
  FORWARDED_IPV4,
  FORWARDED_IPV6,
  NO_ROUTE,
} from './forward-counters.js';
import type { Lpm4 } from './lpm4.js';
import type { Lpm6 } from './lpm6.js';

const IPV4_MIN_LEN = 20;
const IPV6_LEN = 40;
/** 16-bit words of the two MAC addresses of a packet. */
const MAC_WORDS = 6;

export interface ForwardPort {
  /** Source MAC address of packets that leave the port. */
  readonly mac: Uint8Array;
  /** Destination MAC address of packets that leave the port. */
  readonly destination: Uint8Array;
}

/** Returns the port to send `m` on, and changes `m` for it; or -1 with `m` unchanged and counted: the caller must free it. */
export type Forward = (m: number, inPort: number) => number;

/**
 * @param ports every enabled port by its id; routes to other ports are ignored. Packets come only from these ports.
 * @param counters see forward-counters.ts, with a block for each of `ports` in their order
 */
export function openForwarder(
  pool: Mempool,
  { lpm4, lpm6 }: { readonly lpm4: Lpm4; readonly lpm6: Lpm6 },
  ports: ReadonlyMap<number, ForwardPort>,
  counters: Float64Array,
): Forward {
  const { u8, u16, dataLen, pktLen } = pool;
  const ids = Math.max(...ports.keys()) + 1;
  /** By port id: index of its counters, or -1 for ports that are not enabled; the first 12 bytes of packets that leave it. */
  const blocks = new Int32Array(ids).fill(-1);
  const macs = new Uint16Array(ids * MAC_WORDS);
  [...ports].forEach(([id, { mac, destination }], slot) => {
    blocks[id] = slot * FORWARD_COUNTER_WORDS;
    new Uint8Array(macs.buffer).set([...destination, ...mac], id * MAC_WORDS * 2);
  });

  function forward(m: number, inPort: number): number {
    const block = blocks[inPort]!;
    const at = pool.dataStart(m);
    const length = dataLen[m]!;
    if (length < ETHER_HDR_LEN) return drop(block + DROP_MALFORMED);
    const l3 = at + ETHER_HDR_LEN;
    const type = bigEndian16(u8, l3 - 2);
    const here = length - ETHER_HDR_LEN;
    const whole = pktLen[m]! - ETHER_HDR_LEN;
    let out: number;
    if (type === ETHER_TYPE_IPV4) out = forwardIpv4(l3, here, whole, block);
    else if (type === ETHER_TYPE_IPV6) out = forwardIpv6(l3, here, whole, block);
    else return drop(block + dropOf(type));
    if (out === DROPPED) return DROPPED;
    if (out === MISSED) {
      counters[block + NO_ROUTE]!++;
      out = inPort;
    }
    writeMacs(at, out);
    return out;
  }

  /** Returns the port of the route; MISSED; or DROPPED, and counts it. @param here bytes in the first segment */
  function forwardIpv4(l3: number, here: number, whole: number, block: number): number {
    if (here < IPV4_MIN_LEN) return drop(block + DROP_MALFORMED);
    const first = u8[l3]!;
    const headerLen = (first & 0xf) * 4;
    const total = bigEndian16(u8, l3 + 2);
    // version 4 and a header of at least 20 bytes
    if (first >> 4 !== 4 || headerLen < IPV4_MIN_LEN || headerLen > here || total < headerLen || total > whole) {
      return drop(block + DROP_MALFORMED);
    }
    if (fold(rawSum(u8, l3, l3 + headerLen)) !== 0xffff) return drop(block + DROP_MALFORMED);
    const address = (bigEndian16(u8, l3 + 16) << 16) | bigEndian16(u8, l3 + 18);
    if (isLocalIpv4(address)) return drop(block + DROP_LOCAL);
    const ttl = u8[l3 + 8]!;
    if (ttl <= 1) return drop(block + DROP_TTL);
    u8[l3 + 8] = ttl - 1;
    // RFC 1624, equation 3: HC' = ~(~HC + ~m + m'), where ~m + m' is the complement of the 0x0100 that the word loses
    const sum = 0xffff - bigEndian16(u8, l3 + 10) + 0xfeff;
    const checksum = 0xffff - ((sum & 0xffff) + (sum >> 16));
    u8[l3 + 10] = checksum >> 8;
    u8[l3 + 11] = checksum;
    counters[block + FORWARDED_IPV4]!++;
    return enabled(lpm4.lookup(address));
  }

  /** The same for IPv6. A payload length of 0, as in jumbograms, is valid: packets may be longer than their IP length. */
  function forwardIpv6(l3: number, here: number, whole: number, block: number): number {
    if (here < IPV6_LEN || u8[l3]! >> 4 !== 6 || IPV6_LEN + bigEndian16(u8, l3 + 4) > whole) {
      return drop(block + DROP_MALFORMED);
    }
    if (isLocalIpv6(u8[l3 + 24]!, u8[l3 + 25]!)) return drop(block + DROP_LOCAL);
    const hopLimit = u8[l3 + 7]!;
    if (hopLimit <= 1) return drop(block + DROP_TTL);
    u8[l3 + 7] = hopLimit - 1;
    counters[block + FORWARDED_IPV6]!++;
    return enabled(lpm6.lookup(u8, l3 + 24));
  }

  function drop(counter: number): number {
    counters[counter]!++;
    return DROPPED;
  }

  function enabled(port: number): number {
    return port >= 0 && port < ids && blocks[port]! >= 0 ? port : MISSED;
  }

  function writeMacs(at: number, port: number): void {
    const from = port * MAC_WORDS;
    if (at & 1) {
      for (let i = 0; i < MAC_WORDS; i++) {
        const word = macs[from + i]!;
        u8[at + i * 2] = word;
        u8[at + i * 2 + 1] = word >> 8;
      }
      return;
    }
    const to = at >> 1;
    for (let i = 0; i < MAC_WORDS; i++) u16[to + i] = macs[from + i]!;
  }

  return forward;
}

const DROPPED = -1;
const MISSED = -2;

function dropOf(type: number): number {
  if (type === ETHER_TYPE_ARP) return DROP_ARP;
  return type === ETHER_TYPE_VLAN || type === ETHER_TYPE_QINQ ? DROP_VLAN : DROP_OTHER;
}

/**
 * 224.0.0.0/4, 255.255.255.255 and 169.254.0.0/16. Routes to one port do not apply to multicast and broadcast, and link-local
 * packets must not leave the link (RFC 3927 section 2.7, RFC 4291 section 2.5.6).
 */
function isLocalIpv4(address: number): boolean {
  return address >>> 28 === 0xe || address === -1 || address >>> 16 === 0xa9fe;
}

/** ff00::/8 and fe80::/10: these include neighbour discovery, IPv6's ARP. */
function isLocalIpv6(first: number, second: number): boolean {
  return first === 0xff || (first === 0xfe && (second & 0xc0) === 0x80);
}
