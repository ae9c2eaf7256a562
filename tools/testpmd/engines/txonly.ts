/** txonly: sends UDP packets as fast as the queue takes them. */
import { specialize } from '../../../paths/specialize.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { IP_SOURCE, packetTemplate, sumWithout, writeAddress, type PacketFields } from './packets.js';
import type { Engine, ForwardStream } from './stream.js';
import { Tagging, type TxSettings } from './tx-settings.js';

/** The packets to generate; plain data. */
export interface PacketPlan {
  /** Bytes of each segment. */
  readonly segments: readonly number[];
  readonly ip: PacketFields['ip'];
  readonly udp: PacketFields['udp'];
  /** Vary the source address, so that receivers spread packets over queues by hash. */
  readonly multiFlow: boolean;
  /** flowgen: number of destination addresses. */
  readonly flows: number;
}

const TEMPLATE_WORDS = 16;

/** Makes single-segment packets from the first `n` of `mbufs`. */
type Builder = (mbufs: Int32Array, n: number, pkts: Uint32Array) => void;

/**
 * The usual packets: one segment, the same headers in all. An mbuf that comes back from the ring has these already, and then
 * nothing is stored: a store would take the cache line from the CPU that reads the packet (see tx/header.ts).
 */
function singles(pool: Mempool, words: Int32Array, length: number): Builder {
  const { i32, base, stride, headroom, dataLen, dataOff, pktLen, next, nbSegs, olFlags } = pool;
  // separate constants are compiled into the instructions: 54 -> 34 ns for a packet from pool to pool; the loop took 20 ns
  const [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = words as unknown as number[];
  // prettier-ignore
  const differs = (at: number) =>
    (i32[at + 0]! ^ w0!) | (i32[at + 1]! ^ w1!) | (i32[at + 2]! ^ w2!) | (i32[at + 3]! ^ w3!) |
    (i32[at + 4]! ^ w4!) | (i32[at + 5]! ^ w5!) | (i32[at + 6]! ^ w6!) | (i32[at + 7]! ^ w7!) |
    (i32[at + 8]! ^ w8!) | (i32[at + 9]! ^ w9!) | (i32[at + 10]! ^ w10!) | (i32[at + 11]! ^ w11!) |
    (i32[at + 12]! ^ w12!) | (i32[at + 13]! ^ w13!) | (i32[at + 14]! ^ w14!) | (i32[at + 15]! ^ w15!);
  return (mbufs, n, pkts) => {
    for (let i = 0; i < n; i++) {
      const m = mbufs[i]!;
      dataOff[m] = headroom;
      dataLen[m] = length;
      pktLen[m] = length;
      next[m] = NIL;
      nbSegs[m] = 1;
      olFlags[m] = 0;
      const at = (base + Math.imul(m, stride) + headroom) >> 2;
      if (differs(at) !== 0) for (let w = 0; w < TEMPLATE_WORDS; w++) i32[at + w] = words[w]!;
      pkts[i] = m;
    }
  };
}

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
  private builder: Builder | undefined;
  private readonly tagging: Tagging;
  private flow = 0;

  constructor(
    plan: PacketPlan,
    burst: number,
    ownMac: readonly number[],
    peerMac: readonly number[],
    lcoreId: number,
    tx: TxSettings,
  ) {
    this.tagging = new Tagging(tx);
    this.segments = Int32Array.from(plan.segments);
    this.length = plan.segments.reduce((sum, bytes) => sum + bytes, 0);
    const { ip, udp } = plan;
    this.template = packetTemplate({ length: this.length, sourceMac: ownMac, destinationMac: peerMac, ip, udp });
    this.words = new Int32Array(this.template.buffer);
    // always within the first segment: an mbuf holds at least 64 bytes
    this.wordCount = Math.min(TEMPLATE_WORDS, Math.ceil(this.segments[0]! / 4));
    this.sum = sumWithout(this.template, IP_SOURCE);
    // source addresses count up from the destination, as in DPDK: a source equal to the destination would be dropped
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
    if (this.isUsual(pool)) this.singles(pool)(this.scratch, n, pkts);
    else for (let i = 0; i < n; i++) pkts[i] = this.build(pool, i * perPacket);
    if (n > 0) this.tagging.send(stream, n);
  }

  private isUsual({ headroom }: Mempool): boolean {
    const same = this.segments.length === 1 && !this.multiFlow && !this.tagging.on;
    return same && this.length >= TEMPLATE_WORDS * 4 && (headroom & 3) === 0;
  }

  /** An engine has one stream, which has one pool. */
  private singles(pool: Mempool): Builder {
    this.builder ??= specialize(singles, { NIL, TEMPLATE_WORDS }, pool, this.words, this.length);
    return this.builder;
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
    this.tagging.mark(pool, first);
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

  /** Writes headers that do not fit in the first segment, byte by byte along the chain. */
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
