/**
 * The mempool of the debug mode. It records for every mbuf whether the program has it, and throws when one is freed twice,
 * used after it was freed or sent, or does not exist. docs/api.md says what it finds and what it costs.
 *
 * It records where mbufs pass to and from the program: get, put, and the bursts of checked-paths.ts. Between free list and
 * ring nothing is checked: the paths themselves are unchanged, and use the plain pool, `unchecked`.
 */
import { VirtioPmdError } from '../native/errors.js';
import { Mempool, NIL, type MempoolSpec } from './mempool.js';

/** The last operation on an mbuf. */
const deeds = ['getBulk', 'get', 'recv', 'put', 'putBulk', 'free', 'freeBulk', 'xmit'] as const;
export type Deed = (typeof deeds)[number];

// Int32 words of `MempoolSpec.debug`: the first is not 0 when the Eal is closed; from MBUFS on, one for each mbuf
const CLOSED = 0;
const MBUFS = 16;
/** Bits of an mbuf's word: the program has it; the last operation, by number; the lcore that did it. 0: never handed out. */
const HELD = 1;
const DEED_SHIFT = 1;
const LCORE_SHIFT = 8;
const KNOWN = 1 << 24;

/** Freed mbufs are filled with this byte. */
const POISON = 0x6b;
const POISON_LENGTH = 0xdeadbeef;

export function debugBytes(count: number): number {
  return (MBUFS + count) * 4;
}

/** From now on every use of the pool throws. */
export function closeChecked(debug: SharedArrayBuffer): void {
  Atomics.store(new Int32Array(debug), CLOSED, 1);
}

/** Opens a mempool for an lcore: with checks in debug mode. */
export function openMempool(spec: MempoolSpec, lcoreId: number): Mempool {
  return spec.debug === undefined ? new Mempool(spec, lcoreId) : new CheckedMempool(spec, spec.debug, lcoreId);
}

function refuse(why: string): VirtioPmdError {
  return new VirtioPmdError('ESTATE', `debug: ${why}`);
}

export class CheckedMempool extends Mempool {
  override readonly get: () => number;
  override readonly getBulk: (out: Int32Array, n: number) => number;
  override readonly put: (m: number) => void;
  override readonly putBulk: (mbufs: Int32Array, n: number) => void;

  private readonly plain: Mempool;
  private readonly words: Int32Array;

  constructor(
    spec: MempoolSpec,
    debug: SharedArrayBuffer,
    private readonly lcoreId: number,
  ) {
    super(spec, lcoreId);
    this.plain = new Mempool(spec, lcoreId);
    this.words = new Int32Array(debug);
    const { plain } = this;

    this.get = () => {
      this.checkOpen('get');
      const m = plain.get();
      if (m !== NIL) this.take(m, 'get');
      return m;
    };
    this.getBulk = (out, n) => {
      this.checkOpen('getBulk');
      this.checkArray('getBulk', out, n);
      const got = plain.getBulk(out, n);
      for (let i = 0; i < got; i++) this.take(out[i]!, 'getBulk');
      return got;
    };
    this.put = (m) => {
      this.release(m, 'put');
    };
    this.putBulk = (mbufs, n) => {
      this.checkArray('putBulk', mbufs, n);
      for (let i = 0; i < n; i++) this.release(mbufs[i]!, 'putBulk');
    };
  }

  override get unchecked(): Mempool {
    return this.plain;
  }

  override bufOff(m: number): number {
    this.mustHold(m, 'bufOff');
    return super.bufOff(m);
  }

  override dataStart(m: number): number {
    this.mustHold(m, 'dataStart');
    return super.dataStart(m);
  }

  override free(m: number): void {
    for (const segment of this.segments(m, 'free')) this.release(segment, 'free');
  }

  override freeBulk(pkts: Uint32Array, from: number, n: number): void {
    this.checkArray('freeBulk', pkts, from + n);
    super.freeBulk(pkts, from, n);
  }

  // ---- for checked-paths.ts --------------------------------------------------------------------------------------------

  checkOpen(deed: string): void {
    if (this.words[CLOSED] !== 0) throw refuse(`${deed} on mempool ${this.spec.name}, whose Eal is closed`);
  }

  /** @throws VirtioPmdError ECONFIG when `array` has fewer than `n` entries */
  checkArray(deed: string, array: unknown, n: number): void {
    const { length } = array as { length?: number };
    if (!ArrayBuffer.isView(array) || length === undefined) {
      throw new VirtioPmdError('ECONFIG', `debug: ${deed}: expected a typed array of mbufs, found ${typeof array}`);
    }
    if (Number.isInteger(n) && n >= 0 && n <= length) return;
    throw new VirtioPmdError('ECONFIG', `debug: ${deed}: ${n} mbufs of an array of ${length}`);
  }

  /** Records that the program has `m` from now on. */
  take(m: number, deed: Deed): void {
    this.mustBeMbuf(m, deed);
    const before = Atomics.exchange(this.words, MBUFS + m, this.word(deed) | HELD);
    if ((before & HELD) === 0) return;
    throw refuse(
      `${deed} has handed out mbuf ${m} of ${this.spec.name}, which the program has since ${this.told(before)}: it was freed by other means than this mempool's functions`,
    );
  }

  /**
   * Records that the program does not have `m` any more.
   * @returns the previous record, for `giveBack`. @throws VirtioPmdError ESTATE when the program did not have it
   */
  give(m: number, deed: Deed): number {
    this.mustBeMbuf(m, deed);
    for (;;) {
      const before = Atomics.load(this.words, MBUFS + m);
      if ((before & HELD) === 0) throw this.notHeld(m, deed, before);
      if (Atomics.compareExchange(this.words, MBUFS + m, before, this.word(deed)) === before) return before;
    }
  }

  /** Undoes `give`: the program still has `m`. */
  giveBack(m: number, before: number): void {
    Atomics.store(this.words, MBUFS + m, before);
  }

  /** @throws VirtioPmdError ECONFIG when `m` is not an mbuf of this pool, ESTATE when the program does not have it */
  mustHold(m: number, deed: string): void {
    this.checkOpen(deed);
    this.mustBeMbuf(m, deed);
    const word = Atomics.load(this.words, MBUFS + m);
    if ((word & HELD) === 0) throw this.notHeld(m, deed, word);
  }

  /**
   * The segments of packet `m`, all of which the program has (rte_mbuf_sanity_check).
   * @throws VirtioPmdError ESTATE, ECONFIG
   */
  segments(m: number, deed: string): number[] {
    const found: number[] = [];
    for (let segment = m; segment !== NIL; segment = this.next[segment]!) {
      this.mustHold(segment, deed);
      found.push(segment);
      if (found.length > this.count)
        throw refuse(`${deed}: the segments of mbuf ${m} of ${this.spec.name} run in a circle`);
    }
    return found;
  }

  /** Checks what Tx paths rely on: segment count, lengths, room in each mbuf. @throws VirtioPmdError ECONFIG */
  checkPacket(m: number, segments: readonly number[], deed: string): void {
    const { dataLen, dataOff, nbSegs, pktLen, headroom, dataRoom } = this;
    const wrong = (why: string) =>
      new VirtioPmdError('ECONFIG', `debug: ${deed}: packet ${m} of ${this.spec.name} ${why}`);
    if (nbSegs[m] !== segments.length) {
      throw wrong(`has ${segments.length} segments, and nbSegs is ${nbSegs[m]!}`);
    }
    let length = 0;
    for (const segment of segments) {
      length += dataLen[segment]!;
      const end = dataOff[segment]! + dataLen[segment]!;
      if (end <= headroom + dataRoom) continue;
      throw wrong(`ends at byte ${end} of its mbuf ${segment}, which has ${headroom + dataRoom}`);
    }
    if (length !== pktLen[m]) throw wrong(`has ${length} bytes in its segments, and pktLen is ${pktLen[m]!}`);
  }

  /** Describes the mbufs that the program has: a line per operation and lcore; an empty array when there are none. */
  heldMbufs(): string[] {
    const groups = new Map<string, number[]>();
    for (let m = 0; m < this.count; m++) {
      const word = this.words[MBUFS + m]!;
      if ((word & HELD) === 0) continue;
      const how = this.told(word);
      const group = groups.get(how) ?? [];
      groups.set(how, group);
      group.push(m);
    }
    return [...groups].map(([how, mbufs]) => {
      const some = mbufs.slice(0, 8).join(', ');
      return `${mbufs.length} had by ${how}: ${some}${mbufs.length > 8 ? ', ...' : ''}`;
    });
  }

  /** Records that the program has none: its mbufs were taken back by other means (see driver/eal/lost-mbufs.ts). */
  forgetHeld(): void {
    for (let m = 0; m < this.count; m++) Atomics.and(this.words, MBUFS + m, ~HELD);
  }

  // ----------------------------------------------------------------------------------------------------------------------

  private release(m: number, deed: Deed): void {
    this.checkOpen(deed);
    this.give(m, deed);
    const start = this.base + m * this.stride;
    this.u8.fill(POISON, start, start + this.headroom + this.dataRoom);
    this.pktLen[m] = POISON_LENGTH;
    this.dataLen[m] = 0;
    // a free mbuf is always single-segment
    this.next[m] = NIL;
    this.nbSegs[m] = 1;
    this.plain.put(m);
  }

  private word(deed: Deed): number {
    return KNOWN | (deeds.indexOf(deed) << DEED_SHIFT) | (this.lcoreId << LCORE_SHIFT);
  }

  private told(word: number): string {
    const deed = deeds[(word >> DEED_SHIFT) & 0x3f]!;
    return `${deed} on lcore ${(word >> LCORE_SHIFT) & 0xff}`;
  }

  private mustBeMbuf(m: number, deed: string): void {
    if (Number.isInteger(m) && m >= 0 && m < this.count) return;
    const shown = typeof m === 'number' && m > 0x7fffffff ? `${m} (${m | 0})` : String(m);
    throw new VirtioPmdError(
      'ECONFIG',
      `debug: ${deed}(${shown}): mempool ${this.spec.name} has mbufs 0 to ${this.count - 1}`,
    );
  }

  private notHeld(m: number, deed: string, word: number): VirtioPmdError {
    const { name } = this.spec;
    if ((word & KNOWN) === 0) {
      return refuse(`${deed}(${m}): nobody has got mbuf ${m} out of ${name} yet: is it of another mempool?`);
    }
    return refuse(`${deed}(${m}): mbuf ${m} of ${name} was given away before, by ${this.told(word)}`);
  }
}
