/**
 * The traffic of the latency benchmark: sends numbered packets to a guest at a fixed rate, and records the time until each
 * comes back. Only the clock leaves garbage.
 *
 * A packet's time begins when it is due, not when the guest has room for it: so a stalled driver also pays for the packets
 * that pile up meanwhile. Packets for which the generator itself is late are not sent. Packets in flight while it was stalled
 * are counted separately, as their real times are unknown.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import { resetMbuf } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import type { Guest } from '../common/generator-process.js';
import { Histogram } from '../common/histogram.js';

export interface GeneratorOptions {
  /** Bytes of a packet. */
  readonly size: number;
  /** Packets per millisecond; Infinity: as many as the guest takes, without times. */
  readonly perMs: number;
  /** Milliseconds, from an arbitrary start. */
  readonly clock: () => number;
}

const BURST = 32;
/** Offset of the sequence number: after the Ethernet header and two bytes of padding. */
const SEQUENCE = 16;
/** Most packets due at once; when more are due, the generator itself was late. */
const MAX_DUE = 64;
/** Most packets in flight or waiting for room, whose times are kept. A power of two. */
const WINDOW = 1 << 17;
/** A turn takes a few microseconds. A longer one means that another process or the garbage collector had the CPU. */
const STALL_MS = 0.05;

export class Generator {
  /** Nanoseconds. */
  readonly latency = new Histogram();
  /** Times of packets that were in flight while the generator was stalled. */
  readonly tainted = new Histogram();
  /** Packets made so far, which is the number of the next one. */
  made = 0;
  sent = 0;
  received = 0;
  /** Packets not made because too many wait already: the guest does not take them. */
  refused = 0;
  /** Packets not made because the generator was late. */
  skipped = 0;
  stalls = 0;
  longestStall = 0;

  private readonly dueAt = new Float64Array(WINDOW);
  private readonly out = new Uint32Array(BURST);
  private readonly back = new Uint32Array(BURST);
  private last: number;
  /** Packets due up to `last`, with a fraction. */
  private due = 0;
  private stallEnd = -Infinity;
  /** Number of the next packet to send. */
  private sentUpTo = 0;

  constructor(
    private readonly guest: Guest,
    private readonly pool: Mempool,
    private readonly options: GeneratorOptions,
  ) {
    for (let i = 0; i < BURST; i++) {
      const m = pool.get();
      if (m === NIL) throw new VirtioPmdError('EMEMORY', `mempool ${pool.spec.name} has less than ${BURST} mbufs`);
      resetMbuf(pool, m);
      pool.dataLen[m] = pool.pktLen[m] = options.size;
      this.out[i] = m;
    }
    this.last = options.clock();
  }

  /** Clears the records; packets in flight are not affected. */
  restart(): void {
    this.latency.clear();
    this.tainted.clear();
    this.sent = this.received = this.refused = this.skipped = this.stalls = this.longestStall = 0;
  }

  /** Packets that have not come back. */
  get outstanding(): number {
    return this.sent - this.received;
  }

  /** One turn. @param making false: only receive packets in flight. @returns the time. */
  turn(making: boolean): number {
    const n = this.guest.dequeueBurst(1, this.pool, this.back, BURST);
    const now = this.options.clock();
    this.watch(now);
    if (n > 0) this.take(n, now);
    if (making) this.make(now);
    this.send();
    this.last = now;
    return now;
  }

  private watch(now: number): void {
    const gap = now - this.last;
    if (gap < STALL_MS) return;
    this.stalls++;
    this.stallEnd = now;
    if (gap > this.longestStall) this.longestStall = gap;
  }

  private take(n: number, now: number): void {
    const { pool, back, dueAt, latency, tainted, stallEnd } = this;
    this.received += n;
    const timed = this.options.perMs !== Infinity;
    for (let i = 0; i < n && timed; i++) {
      const sequence = pool.i32[(pool.dataStart(back[i]!) + SEQUENCE) >> 2]!;
      const since = dueAt[sequence & (WINDOW - 1)]!;
      (since <= stallEnd ? tainted : latency).record((now - since) * 1e6);
    }
    pool.freeBulk(back, 0, n);
  }

  private make(now: number): void {
    const { perMs } = this.options;
    let count = BURST;
    if (perMs !== Infinity) {
      this.due += (now - this.last) * perMs;
      count = Math.floor(this.due);
      this.due -= count;
      if (count > MAX_DUE) {
        this.skipped += count - MAX_DUE;
        count = MAX_DUE;
      }
    } else if (this.made - this.sentUpTo > 0) count = 0;
    const room = WINDOW / 2 - (this.made - this.sentUpTo);
    if (count > room) {
      this.refused += count - room;
      count = room;
    }
    for (let i = 0; i < count; i++) this.dueAt[this.made++ & (WINDOW - 1)] = now;
  }

  private send(): void {
    const { pool, out } = this;
    while (this.sentUpTo < this.made) {
      const n = Math.min(BURST, this.made - this.sentUpTo);
      for (let i = 0; i < n; i++) pool.i32[(pool.dataStart(out[i]!) + SEQUENCE) >> 2] = this.sentUpTo + i;
      const taken = this.guest.enqueueBurst(0, pool, out, n);
      this.sentUpTo += taken;
      this.sent += taken;
      if (taken < n) return;
    }
  }
}
