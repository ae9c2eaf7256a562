/**
 * The traffic of the wake-up benchmark: one packet at a time to a guest that has been idle for a while, and the time until it
 * is back.
 *
 * The time includes: copying the packet into the guest's ring, signalling its eventfd if it asks for that, the guest's work
 * until the packet is in its Tx ring, and copying it out of there. This side polls all the time.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import { fold, rawSum } from '../../../paths/checksum.js';
import { resetMbuf } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { checkTime, START_MS, type Guest } from '../common/generator-process.js';

export interface WakeUpOptions {
  readonly count: number;
  /** Milliseconds between two packets, at random between minimum and maximum. */
  readonly minGapMs: number;
  readonly maxGapMs: number;
  /** Milliseconds, from an arbitrary start. */
  readonly clock: () => number;
  /** A random number from 0 to less than 1. */
  readonly random: () => number;
  /** Called now and then, while no packet is in flight. */
  readonly rest: () => void;
}

/** Nanoseconds. */
export interface Figures {
  readonly count: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface WakeUpResult {
  readonly sent: number;
  readonly received: number;
  readonly latency: Figures;
  /** Packets during whose round trip this side was stalled: their real times are unknown. */
  readonly tainted: Figures;
}

/** Bytes of a packet: Ethernet, IPv4, UDP, and 18 bytes of payload. */
export const PACKET_BYTES = 60;
/** Destination address, within ROUTE. */
const DESTINATION = [10, 1, 0, 1];
/** The route for a router with one port. It includes the destinations of testpmd's flowgen. */
export const ROUTE = '10.0.0.0/8';
const BURST = 32;
/** A turn takes one or two microseconds. A longer one means that another process or the garbage collector had the CPU. */
const STALL_MS = 0.05;
/** After this long a packet is lost. */
const PATIENCE_MS = 1000;
/** The measurement ends after so many lost packets in a row. */
const HOPELESS = 5;
/** An IPv4 packet with all fields that a router checks. */
export function packet(): Uint8Array {
  const bytes = new Uint8Array(PACKET_BYTES);
  const l3 = 14;
  bytes.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x08, 0x00]);
  bytes.set([0x45, 0, 0, PACKET_BYTES - l3, 0, 0, 0, 0, 64, 17, 0, 0, 10, 2, 0, 1, ...DESTINATION], l3);
  bytes.set([0, 9, 0, 9, 0, PACKET_BYTES - l3 - 20], l3 + 20);
  const checksum = ~fold(rawSum(bytes, l3, l3 + 20));
  bytes[l3 + 10] = checksum >> 8;
  bytes[l3 + 11] = checksum;
  return bytes;
}

/** The value that at least the fraction `q` of all does not exceed; `sorted` is ascending. 0 without values. */
export function quantile(sorted: Float64Array, q: number): number {
  return sorted[Math.max(1, Math.ceil(q * sorted.length)) - 1] ?? 0;
}

/** @param values milliseconds, in any order. */
export function figures(values: Float64Array): Figures {
  const sorted = values.map((ms) => Math.round(ms * 1e6)).sort();
  const of = (q: number) => quantile(sorted, q);
  return { count: sorted.length, p50: of(0.5), p99: of(0.99), p999: of(0.999), max: of(1) };
}

export class WakeUps {
  private readonly out = new Uint32Array(1);
  private readonly back = new Uint32Array(BURST);
  /** Whether this side was stalled during the last round trip. */
  private stalled = false;

  constructor(
    private readonly guest: Guest,
    private readonly pool: Mempool,
    private readonly options: WakeUpOptions,
  ) {
    const m = pool.get();
    if (m === NIL) throw new VirtioPmdError('EMEMORY', `mempool ${pool.spec.name} is empty`);
    resetMbuf(pool, m);
    pool.dataLen[m] = pool.pktLen[m] = PACKET_BYTES;
    pool.u8.set(packet(), pool.dataStart(m));
    this.out[0] = m;
  }

  /** Waits until packets come back, then makes round trips without a gap for `ms` milliseconds, to warm up both sides. */
  warmUp(ms: number): void {
    const { clock, rest } = this.options;
    const deadline = clock() + START_MS;
    do {
      rest();
      checkTime(clock() < deadline);
    } while (this.roundTrip() === undefined);
    for (const end = clock() + ms; clock() < end; rest()) this.roundTrip();
  }

  measure(): WakeUpResult {
    const { count, minGapMs, maxGapMs, random } = this.options;
    const latency = new Float64Array(count);
    const tainted = new Float64Array(count);
    let [clean, disturbed, lostInARow] = [0, 0, 0];
    for (let i = 0; i < count; i++) {
      this.idle(minGapMs + (maxGapMs - minGapMs) * random());
      const ms = this.roundTrip();
      lostInARow = ms === undefined ? lostInARow + 1 : 0;
      checkTime(lostInARow < HOPELESS);
      if (ms === undefined) continue;
      if (this.stalled) tainted[disturbed++] = ms;
      else latency[clean++] = ms;
    }
    return {
      ...{ sent: count, received: clean + disturbed },
      latency: figures(latency.subarray(0, clean)),
      tainted: figures(tainted.subarray(0, disturbed)),
    };
  }

  /** Polls for `ms` milliseconds, and drops late packets. */
  private idle(ms: number): void {
    const { clock, rest } = this.options;
    rest();
    for (const end = clock() + ms; clock() < end;) this.take();
  }

  /** @returns milliseconds; undefined for a packet that was lost, or that the guest had no room for. */
  private roundTrip(): number | undefined {
    const { guest, pool, out } = this;
    const { clock } = this.options;
    this.stalled = false;
    const begun = clock();
    if (guest.enqueueBurst(0, pool, out, 1) === 0) return undefined;
    for (let last = clock(); ;) {
      const n = this.take();
      const now = clock();
      if (now - last >= STALL_MS) this.stalled = true;
      if (n > 0) return now - begun;
      if (now - begun >= PATIENCE_MS) return undefined;
      last = now;
    }
  }

  private take(): number {
    const { pool, back } = this;
    const n = this.guest.dequeueBurst(1, pool, back, BURST);
    if (n > 0) pool.freeBulk(back, 0, n);
    return n;
  }
}
