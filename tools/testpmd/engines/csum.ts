/**
 * csum: recomputes the checksums of IPv4, UDP and TCP, in software or by the Tx port (`csum set ... hw`), and lets the port
 * segment long TCP packets (`tso set`). Headers must be in the first segment, behind at most two VLAN tags.
 *
 * Left unchanged: SCTP's checksum, the contents of tunnels, fragments (except the IPv4 header), and packets that are shorter
 * than the length in their IP header.
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
    // no checksum, which UDP allows
    if (protocol !== IPPROTO_TCP && bigEndian16(u8, l4 + UDP_CHECKSUM_OFF) === 0) return;
    const segment = protocol === IPPROTO_TCP ? segmentSize(tx, lro ? pool.tsoSegsz[m]! : 0, length - l4Len) : 0;
    // devices compute the sum to the end of the packet, including padding
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

  /** DPDK's name is "mac-swap"; it sets the destination to the peer. */
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

/** @param l4 offset of the L4 header, which is in the first segment. @param end offset of the end of its payload */
function writeL4Checksum(pool: Mempool, m: number, l4: number, end: number, protocol: number, pseudo: number): void {
  const { u8 } = pool;
  const at = pool.dataStart(m) + l4 + (protocol === IPPROTO_TCP ? TCP_CHECKSUM_OFF : UDP_CHECKSUM_OFF);
  put16(u8, at, 0);
  // subtracts the bytes behind `end`: every number has a negative in ones' complement
  const padding = pool.pktLen[m]! > end ? shifted(packetSum(pool, m, end), (end - l4) & 1) : 0;
  put16(u8, at, checksumOf(fold(packetSum(pool, m, l4) + pseudo + (~padding & 0xffff))));
}

/** Converts a folded sum for bytes that begin at an odd offset. */
const shifted = (sum: number, odd: number) => (odd === 0 ? sum : ((sum & 0xff) << 8) | (sum >> 8));
