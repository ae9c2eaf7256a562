/** Modes that change packets in place: mac, macswap, 5tswap. They access only the first segment. */
import { bigEndian16, swapBytes } from '../../../paths/bytes.js';
import type { Mempool } from '../../../paths/mempool.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import {
  ETHER_TYPE_IPV4,
  ETHER_TYPE_IPV6,
  ETHER_TYPE_QINQ,
  ETHER_TYPE_VLAN,
  IPPROTO_TCP,
  IPPROTO_UDP,
} from '../../../paths/packet-headers.js';
import type { Engine, ForwardStream } from './stream.js';
import { Tagging, type TxSettings } from './tx-settings.js';

/** io: packets go on unchanged. */
export class Io implements Engine {
  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n > 0) stream.transmit(n);
  }
}

/** mac: source is the Tx port, destination its peer. */
export class Mac implements Engine {
  /** Destination and source, as three 16-bit words each. */
  private readonly words = new Uint16Array(6);
  private readonly tagging: Tagging;

  constructor(ownMac: readonly number[], peerMac: readonly number[], tx: TxSettings) {
    this.tagging = new Tagging(tx);
    new Uint8Array(this.words.buffer).set([...peerMac, ...ownMac]);
  }

  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n === 0) return;
    const { pkts, pool } = stream;
    for (let i = 0; i < n; i++) this.rewrite(pool, pkts[i]!);
    this.tagging.send(stream, n);
  }

  private rewrite(pool: Mempool, m: number): void {
    this.tagging.mark(pool, m);
    if (pool.dataLen[m]! < ETHER_HDR_LEN) return;
    const { words } = this;
    const { u16 } = pool;
    const at = pool.dataStart(m);
    if (at & 1) {
      this.rewriteOdd(pool.u8, at);
      return;
    }
    const w = at >> 1;
    u16[w] = words[0]!;
    u16[w + 1] = words[1]!;
    u16[w + 2] = words[2]!;
    u16[w + 3] = words[3]!;
    u16[w + 4] = words[4]!;
    u16[w + 5] = words[5]!;
  }

  private rewriteOdd(u8: Uint8Array, at: number): void {
    for (let i = 0; i < 12; i++) u8[at + i] = this.words[i >> 1]! >> ((i & 1) * 8);
  }
}

/** Offset of the EtherType behind up to two VLAN tags, for a packet whose first segment is the bytes from `at` to `end`. */
export function etherTypeOffset(u8: Uint8Array, at: number, end: number): number {
  let type = at + 12;
  for (let tags = 0; tags < 2 && type + 6 <= end; tags++) {
    const value = bigEndian16(u8, type);
    if (value !== ETHER_TYPE_VLAN && value !== ETHER_TYPE_QINQ) break;
    type += 4;
  }
  return type;
}

/** macswap: swaps the MAC addresses. */
export class MacSwap implements Engine {
  private readonly tagging: Tagging;

  constructor(tx: TxSettings) {
    this.tagging = new Tagging(tx);
  }

  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n === 0) return;
    const { pkts, pool } = stream;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      this.tagging.mark(pool, m);
      const at = pool.dataStart(m);
      if (pool.dataLen[m]! >= ETHER_HDR_LEN) swapBytes(pool.u8, at, at + 6, 6);
    }
    this.tagging.send(stream, n);
  }
}

/** 5tswap: swaps MAC addresses, IPv4 or IPv6 addresses, and TCP or UDP ports. Checksums stay valid. */
export class FiveTupleSwap implements Engine {
  private readonly tagging: Tagging;

  constructor(tx: TxSettings) {
    this.tagging = new Tagging(tx);
  }

  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n === 0) return;
    const { pkts, pool } = stream;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      this.tagging.mark(pool, m);
      const at = pool.dataStart(m);
      swapFiveTuple(pool.u8, at, at + pool.dataLen[m]!);
    }
    this.tagging.send(stream, n);
  }
}

/** Swaps the fields that lie between `at` and `end`. */
function swapFiveTuple(u8: Uint8Array, at: number, end: number): void {
  if (end - at < ETHER_HDR_LEN) return;
  swapBytes(u8, at, at + 6, 6);
  const type = etherTypeOffset(u8, at, end);
  const l3 = type + 2;
  const etherType = bigEndian16(u8, type);
  let l4 = 0;
  let protocol = 0;
  if (etherType === ETHER_TYPE_IPV4 && l3 + 20 <= end) {
    swapBytes(u8, l3 + 12, l3 + 16, 4);
    protocol = u8[l3 + 9]!;
    // a later fragment has no ports
    l4 = (bigEndian16(u8, l3 + 6) & 0x1fff) === 0 ? l3 + (u8[l3]! & 0xf) * 4 : end;
  } else if (etherType === ETHER_TYPE_IPV6 && l3 + 40 <= end) {
    swapBytes(u8, l3 + 8, l3 + 24, 16);
    protocol = u8[l3 + 6]!;
    l4 = l3 + 40;
  } else return;
  if ((protocol === IPPROTO_TCP || protocol === IPPROTO_UDP) && l4 + 4 <= end) swapBytes(u8, l4, l4 + 2, 2);
}
