/**
 * A forwarder between two ports, as a program would have it that hands offloads on: what the one device has left undone, or
 * put together, the other one is asked to do. It looks at every packet's checksum on the way.
 */
import type { ExecutionContext } from 'ava';
import type { Port } from '../../../../../../driver/port/port.js';
import {
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_GOOD,
  RTE_MBUF_F_RX_L4_CKSUM_MASK,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
  RTE_MBUF_F_TX_TCP_CKSUM,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
} from '../../../../../../paths/mbuf.js';
import type { Mempool } from '../../../../../../paths/mempool.js';
import { ETHER_TYPE_IPV4, IPPROTO_TCP, PacketHeaders, parseHeaders } from '../../../../../../paths/packet-headers.js';
import type { NetPorts } from './net.js';
import { checksumHolds, get16, onesSum, pseudoHeader } from '../../../../../support/offload-reference.js';
import { sleep } from '../../../../../support/peers.js';

const BURST = 32;

/** What was seen of the packets from one port. */
export class Seen {
  packets = 0;
  /** Bytes. */
  longest = 0;
  /** Most segments of a packet. */
  segments = 0;
  /** Packets by what the device said of them. */
  none = 0;
  good = 0;
  lro = 0;
  readonly segmentSizes = new Set<number>();
  /** Queues that they came on. */
  readonly queues = new Set<number>();
  /** IP versions of packets of several segments. */
  readonly lroVersions = new Set<number>();
}

/** What one packet needs on its way out, from what was said of it on its way in. */
export type Adjust = (pool: Mempool, m: number) => void;

/** From an Rx queue to the Tx queue of the same number. */
interface Way {
  readonly from: Port;
  readonly to: Port;
  readonly queue: number;
  readonly seen: Seen;
  readonly pkts: Uint32Array;
  /** In `pkts`, not sent yet. */
  pending: number;
}

export class Forwarder {
  /** Of the packets from either port. */
  readonly seen: readonly [Seen, Seen];
  /** What was wrong with packets, in words. */
  readonly problems: string[] = [];
  private readonly parsed = new PacketHeaders();
  private readonly ways: readonly Way[];
  private stopped = false;
  private readonly done: Promise<void>;

  private constructor(
    private readonly pool: Mempool,
    [a, b]: readonly Port[],
    private readonly adjust: Adjust | undefined,
  ) {
    this.seen = [new Seen(), new Seen()];
    const ways = (from: Port, to: Port, seen: Seen): Way[] =>
      from.spec().rx.map((_, queue) => ({ from, to, queue, seen, pkts: new Uint32Array(BURST), pending: 0 }));
    this.ways = [...ways(a!, b!, this.seen[0]), ...ways(b!, a!, this.seen[1])];
    this.done = this.run();
    this.done.catch(() => {}); // stop() tells
  }

  /** Forwards between the first two ports, until stopped or until the test ends. */
  static start(t: ExecutionContext, { pool, ports }: NetPorts, adjust?: Adjust): Forwarder {
    const forwarder = new Forwarder(pool, ports, adjust);
    t.teardown(() => forwarder.stop());
    return forwarder;
  }

  /** @throws what went wrong in the loop */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.done;
    this.dropPending();
  }

  /** Frees what waits for room: before ports are configured anew, as it may ask for what will not be there. */
  dropPending(): void {
    for (const way of this.ways) {
      this.pool.freeBulk(way.pkts, 0, way.pending);
      way.pending = 0;
    }
  }

  private async run(): Promise<void> {
    while (!this.stopped) {
      const moved = this.ways.map((way) => this.turn(way)).some(Boolean);
      await (moved ? new Promise(setImmediate) : sleep(1));
    }
  }

  private turn(way: Way): boolean {
    const { pkts, queue, seen } = way;
    const rx = way.from.rx(queue);
    const tx = way.to.tx(queue);
    if (way.pending === 0) {
      const n = rx.recv(pkts, BURST);
      if (n > 0) seen.queues.add(queue);
      for (let i = 0; i < n; i++) {
        this.look(pkts[i]!, seen);
        this.handOn(pkts[i]!);
        this.adjust?.(this.pool, pkts[i]!);
      }
      const ready = tx.prepare(pkts, n);
      if (ready < n) this.problems.push(`packet ${ready} of ${n} cannot be prepared`);
      this.pool.freeBulk(pkts, ready, n - ready);
      way.pending = ready;
    }
    const sent = tx.xmit(pkts, way.pending);
    pkts.copyWithin(0, sent, way.pending);
    way.pending -= sent;
    return sent > 0;
  }

  /** Flags and checksum of a received packet have to agree. */
  private look(m: number, seen: Seen): void {
    const { pool, parsed, problems } = this;
    const { pktLen, nbSegs, olFlags, tsoSegsz } = pool;
    parseHeaders(pool, m, parsed);
    const { l2Len, l3Len, l4Len, protocol } = parsed;
    const said = olFlags[m]! & RTE_MBUF_F_RX_L4_CKSUM_MASK;
    seen.packets++;
    seen.longest = Math.max(seen.longest, pktLen[m]!);
    seen.segments = Math.max(seen.segments, nbSegs[m]!);
    if (said === RTE_MBUF_F_RX_L4_CKSUM_NONE) seen.none++;
    if (said === RTE_MBUF_F_RX_L4_CKSUM_GOOD) seen.good++;
    if (olFlags[m]! & RTE_MBUF_F_RX_LRO) {
      seen.lro++;
      seen.segmentSizes.add(tsoSegsz[m]!);
      seen.lroVersions.add(parsed.etherType === ETHER_TYPE_IPV4 ? 4 : 6);
      if (l4Len === 0 || protocol !== IPPROTO_TCP) problems.push(`a packet of several segments that is not TCP`);
    }
    if (l4Len === 0) return;
    const packet = readPacket(pool, m);
    const l4 = l2Len + l3Len;
    if (said !== RTE_MBUF_F_RX_L4_CKSUM_NONE) {
      if (!checksumHolds(packet, l2Len, l4, protocol)) problems.push(`a wrong checksum in ${packet.length} bytes`);
      return;
    }
    const length = ipEnd(packet, l2Len) - l4;
    const field = get16(packet, l4 + (protocol === IPPROTO_TCP ? 16 : 6));
    const pseudo = onesSum(pseudoHeader(packet, l2Len, protocol, length));
    if (field !== pseudo) problems.push(`a pseudo header's sum of ${field} instead of ${pseudo}`);
  }

  private handOn(m: number): void {
    const { pool, parsed } = this;
    const { olFlags } = pool;
    const flags = olFlags[m]!;
    olFlags[m] = 0;
    const segmented = (flags & RTE_MBUF_F_RX_LRO) !== 0;
    if (!segmented && (flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) !== RTE_MBUF_F_RX_L4_CKSUM_NONE) return;
    const isTcp = parsed.protocol === IPPROTO_TCP;
    pool.l2Len[m] = parsed.l2Len;
    pool.l3Len[m] = parsed.l3Len;
    pool.l4Len[m] = parsed.l4Len;
    olFlags[m] =
      (parsed.etherType === ETHER_TYPE_IPV4 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6) |
      (isTcp ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM) |
      (segmented ? RTE_MBUF_F_TX_TCP_SEG : 0);
  }
}

/** Where the IP packet ends: Ethernet may have padded it. */
function ipEnd(packet: Uint8Array, l3: number): number {
  return packet[l3]! >> 4 === 4 ? l3 + get16(packet, l3 + 2) : l3 + 40 + get16(packet, l3 + 4);
}
