/** txonly: sends UDP packets as fast as the queue takes them. */
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { IP_SOURCE, packetTemplate, sumWithout, writeAddress, type PacketFields } from '../packets.js';
import type { Engine, ForwardStream } from './stream.js';

/** What packets to make; plain data. */
export interface PacketPlan {
  /** Bytes of each segment. */
  readonly segments: readonly number[];
  readonly ip: PacketFields['ip'];
  readonly udp: PacketFields['udp'];
  /** Vary the source address, so that receivers which spread packets over queues by hash do so. */
  readonly multiFlow: boolean;
  /** flowgen: how many destination addresses. */
  readonly flows: number;
}

const TEMPLATE_WORDS = 16;

export class TxOnly implements Engine {
  private readonly segments: Int32Array;
  private readonly length: number;
  private readonly template: Uint8Array;
  private readonly words: Int32Array;
  private readonly wordCount: number;
  private readonly sum: number;
  private readonly sourceBase: number;
  private readonly multiFlow: boolean;
  private readonly scratch: Int32Array;
  private flow = 0;

  constructor(plan: PacketPlan, burst: number, ownMac: readonly number[], peerMac: readonly number[], lcoreId: number) {
    this.segments = Int32Array.from(plan.segments);
    this.length = plan.segments.reduce((sum, bytes) => sum + bytes, 0);
    const { ip, udp } = plan;
    this.template = packetTemplate({ length: this.length, sourceMac: ownMac, destinationMac: peerMac, ip, udp });
    this.words = new Int32Array(this.template.buffer);
    // never beyond the first segment: an mbuf holds at least 64 bytes
    this.wordCount = Math.min(TEMPLATE_WORDS, Math.ceil(this.segments[0]! / 4));
    this.sum = sumWithout(this.template, IP_SOURCE);
    // counted up from the destination, as DPDK does: a source equal to it would be dropped as a forgery
    this.sourceBase = ip.destination + lcoreId;
    this.multiFlow = plan.multiFlow;
    this.scratch = new Int32Array(burst * plan.segments.length);
  }

  run(stream: ForwardStream): void {
    const { pool, pkts } = stream;
    const perPacket = this.segments.length;
    const got = pool.getBulk(this.scratch, stream.burst * perPacket);
    const n = Math.floor(got / perPacket);
    for (let i = n * perPacket; i < got; i++) pool.put(this.scratch[i]!);
    for (let i = 0; i < n; i++) pkts[i] = this.build(pool, i * perPacket);
    if (n > 0) stream.transmit(n);
  }

  /** Makes a packet of the mbufs from `scratch[from]` on. */
  private build(pool: Mempool, from: number): number {
    const { segments, scratch } = this;
    const { dataLen, dataOff, next, headroom } = pool;
    const first = scratch[from]!;
    const last = segments.length - 1;
    for (let s = 0; s <= last; s++) {
      const m = scratch[from + s]!;
      dataOff[m] = headroom;
      dataLen[m] = segments[s]!;
      next[m] = s < last ? scratch[from + s + 1]! : NIL;
    }
    pool.pktLen[first] = this.length;
    pool.nbSegs[first] = segments.length;
    pool.olFlags[first] = 0;
    if (segments[0]! >= IP_SOURCE + 16) this.writeHeaders(pool, first);
    else this.scatterHeaders(pool, first);
    return first;
  }

  private writeHeaders(pool: Mempool, m: number): void {
    const { words, wordCount } = this;
    const at = pool.dataStart(m);
    if (at & 3) {
      this.scatterHeaders(pool, m);
      return;
    }
    const { i32 } = pool;
    const word = at >> 2;
    for (let w = 0; w < wordCount; w++) i32[word + w] = words[w]!;
    if (!this.multiFlow) return;
    const address = (this.sourceBase | (this.flow << 8)) >>> 0;
    this.flow = (this.flow + 1) & 0xff;
    writeAddress(pool.u8, at, IP_SOURCE, address, this.sum);
  }

  /** Headers that do not fit in the first segment: byte by byte along the chain. */
  private scatterHeaders(pool: Mempool, m: number): void {
    const { template } = this;
    const length = Math.min(template.length, this.length);
    for (let i = 0; i < length;) {
      const at = pool.dataStart(m);
      const n = Math.min(pool.dataLen[m]!, length - i);
      for (let j = 0; j < n; j++) pool.u8[at + j] = template[i + j]!;
      i += n;
      m = pool.next[m]!;
    }
  }
}
