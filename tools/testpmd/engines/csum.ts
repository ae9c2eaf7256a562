/**
 * csum: makes every checksum of IPv4, UDP and TCP new, in software, or asks the Tx port for it (`csum set ... hw`), and has
 * long TCP packets cut (`tso set`). Headers are looked for behind up to two VLAN tags, and in the first segment.
 *
 * Left as they are: SCTP's checksum, what is inside of tunnels, fragments (but for IPv4's header), and packets whose IP
 * header speaks of more bytes than there are.
 */
import { checksumOf, fold, packetSum, pseudoSum4, pseudoSum6, rawSum } from '../../../paths/checksum.js';
import { bigEndian16 } from '../../../paths/bytes.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import {
  RTE_MBUF_F_RX_L4_CKSUM_BAD,
  RTE_MBUF_F_RX_L4_CKSUM_MASK,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
} from '../../../paths/mbuf.js';
import type { Mempool } from '../../../paths/mempool.js';
import {
  ETHER_TYPE_IPV4,
  IPPROTO_TCP,
  PacketHeaders,
  parseHeaders,
  TCP_CHECKSUM_OFF,
  UDP_CHECKSUM_OFF,
} from '../../../paths/packet-headers.js';
import { requestFor, segmentSize } from './csum-request.js';
import type { Engine, ForwardStream } from './stream.js';
import type { TxSettings } from './tx-settings.js';

const IPV4_CHECKSUM_OFF = 10;
const IPV6_LEN = 40;

export class Csum implements Engine {
  private readonly headers = new PacketHeaders();
  private readonly macs: readonly number[] | undefined;

  /** @param badL4 element `index` counts packets whose L4 checksum the Rx port has found wrong */
  constructor(
    private readonly tx: TxSettings,
    ownMac: readonly number[],
    peerMac: readonly number[],
    private readonly badL4: Float64Array,
    private readonly index: number,
  ) {
    this.macs = tx.macSwap ? [...peerMac, ...ownMac] : undefined;
  }

  run(stream: ForwardStream): void {
    const n = stream.receive();
    if (n === 0) return;
    const { pkts, pool } = stream;
    for (let i = 0; i < n; i++) this.process(pool, pkts[i]!);
    stream.prepareAndTransmit(n);
  }

  private process(pool: Mempool, m: number): void {
    const { headers } = this;
    const received = pool.olFlags[m]!;
    pool.olFlags[m] = 0;
    if ((received & RTE_MBUF_F_RX_L4_CKSUM_MASK) === RTE_MBUF_F_RX_L4_CKSUM_BAD) this.badL4[this.index]! += 1;
    this.writeMacs(pool, m);
    parseHeaders(pool, m, headers);
    if (headers.l3Len === 0) return;
    const l3 = pool.dataStart(m) + headers.l2Len;
    if (headers.etherType === ETHER_TYPE_IPV4) writeIpv4Checksum(pool.u8, l3, headers.l3Len);
    if (headers.l4Len > 0) this.processL4(pool, m, l3, (received & RTE_MBUF_F_RX_LRO) !== 0);
  }

  private processL4(pool: Mempool, m: number, l3: number, lro: boolean): void {
    const { headers, tx } = this;
    const { u8 } = pool;
    const { l2Len, l3Len, l4Len, protocol } = headers;
    const v4 = headers.etherType === ETHER_TYPE_IPV4;
    const length = v4 ? bigEndian16(u8, l3 + 2) - l3Len : bigEndian16(u8, l3 + 4) + IPV6_LEN - l3Len;
    const l4Offset = l2Len + l3Len;
    const end = l4Offset + length;
    if (length < l4Len || end > pool.pktLen[m]!) return;
    const l4 = l3 + l3Len;
    // there is none, which UDP allows
    if (protocol !== IPPROTO_TCP && bigEndian16(u8, l4 + UDP_CHECKSUM_OFF) === 0) return;
    const segment = protocol === IPPROTO_TCP ? segmentSize(tx, lro ? pool.tsoSegsz[m]! : 0, length - l4Len) : 0;
    // devices sum up what there is to the end of the packet, padding included
    const request = end === pool.pktLen[m] ? requestFor(tx, protocol, segment) : 0;
    if (request === 0) {
      const pseudo = v4 ? pseudoSum4(u8, l3, protocol, length) : pseudoSum6(u8, l3, protocol, length);
      writeL4Checksum(pool, m, l4Offset, end, protocol, pseudo);
      return;
    }
    pool.l2Len[m] = l2Len;
    pool.l3Len[m] = l3Len;
    pool.l4Len[m] = l4Len;
    pool.tsoSegsz[m] = segment;
    pool.olFlags[m] = request | (v4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6);
  }

  /** "mac-swap" is what DPDK calls it; it sends to the peer. */
  private writeMacs(pool: Mempool, m: number): void {
    const { macs } = this;
    if (macs === undefined || pool.dataLen[m]! < ETHER_HDR_LEN) return;
    const at = pool.dataStart(m);
    for (let i = 0; i < 12; i++) pool.u8[at + i] = macs[i]!;
  }
}

function put16(u8: Uint8Array, at: number, value: number): void {
  u8[at] = value >> 8;
  u8[at + 1] = value & 0xff;
}

function writeIpv4Checksum(u8: Uint8Array, l3: number, l3Len: number): void {
  put16(u8, l3 + IPV4_CHECKSUM_OFF, 0);
  put16(u8, l3 + IPV4_CHECKSUM_OFF, ~fold(rawSum(u8, l3, l3 + l3Len)) & 0xffff);
}

/** @param l4 offset of the L4 header in the packet, and `end` of what follows it; the header is in the first segment */
function writeL4Checksum(pool: Mempool, m: number, l4: number, end: number, protocol: number, pseudo: number): void {
  const { u8 } = pool;
  const at = pool.dataStart(m) + l4 + (protocol === IPPROTO_TCP ? TCP_CHECKSUM_OFF : UDP_CHECKSUM_OFF);
  put16(u8, at, 0);
  // what is behind `end` is taken off again: ones' complement has a negative of every number
  const padding = pool.pktLen[m]! > end ? shifted(packetSum(pool, m, end), (end - l4) & 1) : 0;
  put16(u8, at, checksumOf(fold(packetSum(pool, m, l4) + pseudo + (~padding & 0xffff))));
}

/** A folded sum as it counts from an odd offset on. */
const shifted = (sum: number, odd: number) => (odd === 0 ? sum : ((sum & 0xff) << 8) | (sum >> 8));
