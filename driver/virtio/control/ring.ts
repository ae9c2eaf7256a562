/**
 * The driver's side of a control virtqueue: one chain of descriptors at a time, split (virtio 1.2 section 2.7) or packed
 * (2.8). Descriptors are taken in ring order: IN_ORDER requires that, and it is always allowed. What the device writes is
 * read once, and accepted only when it fits the chain in flight.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import { viewsOf, type Mapping, type Views } from '../../../native/region.js';
import {
  AVAIL_F_NO_INTERRUPT,
  DESC_F_AVAIL,
  DESC_F_AVAIL_USED,
  DESC_F_NEXT,
  DESC_F_USED,
  DESC_F_WRITE,
  DESC_WORDS,
  EVENT_F_DISABLE,
  packedLayout,
  splitLayout,
  type RingLayout,
} from '../../../paths/layout.js';

/** One descriptor: memory that the device reads or, `writable`, writes. */
export interface ControlPiece {
  readonly address: bigint;
  readonly length: number;
  readonly writable: boolean;
}

export interface ControlRing {
  /** Initializes ring and indices. Only while the device does not use the ring. */
  reset(): void;
  /** Makes a chain available to the device. The previous one must have been used. */
  publish(chain: readonly ControlPiece[]): void;
  /** Whether the device has used the chain. @throws VirtioPmdError EPEER when it used something else */
  isUsed(): boolean;
  /** The driver's position in the format of NOTIFICATION_DATA (section 2.9). */
  readonly position: number;
  /** Where the device must start: see ringBase in paths/guest/queue.ts. */
  readonly base: number;
}

export interface ControlRingOptions {
  readonly mapping: Mapping;
  /** Offset of the ring in the mapping, a multiple of 4096. */
  readonly ringOff: number;
  readonly size: number;
  /** EVENT_IDX was negotiated. */
  readonly eventIdx: boolean;
}

function broken(what: string): VirtioPmdError {
  return new VirtioPmdError('EPEER', `the device broke the rules of its control queue: ${what}; reset it`);
}

export class SplitControlRing implements ControlRing {
  private readonly views: Views;
  private readonly layout: RingLayout;
  private readonly desc32: number;
  /** avail->flags, idx, ring[size] */
  private readonly avail16: number;
  /** used->flags, idx */
  private readonly used16: number;
  private readonly usedRing32: number;
  private next = 0;
  private head = 0;
  private availIdx = 0;
  private usedIdx = 0;

  constructor(private readonly options: ControlRingOptions) {
    const { mapping, ringOff, size } = options;
    this.views = viewsOf(mapping);
    this.layout = splitLayout(size);
    this.desc32 = (ringOff + this.layout.desc) >> 2;
    this.avail16 = (ringOff + this.layout.driver) >> 1;
    this.used16 = (ringOff + this.layout.device) >> 1;
    this.usedRing32 = (ringOff + this.layout.device + 4) >> 2;
  }

  get position(): number {
    return this.availIdx;
  }

  get base(): number {
    return this.usedIdx;
  }

  reset(): void {
    const { ringOff, eventIdx } = this.options;
    const { u8, u16 } = this.views;
    u8.fill(0, ringOff, ringOff + this.layout.byteLength);
    this.next = this.head = this.availIdx = this.usedIdx = 0;
    if (!eventIdx) u16[this.avail16] = AVAIL_F_NO_INTERRUPT; // we poll
  }

  publish(chain: readonly ControlPiece[]): void {
    const { size } = this.options;
    const { u16, u32 } = this.views;
    this.head = this.next;
    chain.forEach(({ address, length, writable }, i) => {
      const at = this.desc32 + this.next * DESC_WORDS;
      this.next = (this.next + 1) % size;
      const link = i < chain.length - 1 ? DESC_F_NEXT | (this.next << 16) : 0;
      u32[at] = Number(address & 0xffffffffn);
      u32[at + 1] = Number(address >> 32n);
      u32[at + 2] = length;
      u32[at + 3] = link | (writable ? DESC_F_WRITE : 0);
    });
    u16[this.avail16 + 2 + (this.availIdx % size)] = this.head;
    this.availIdx = (this.availIdx + 1) & 0xffff;
    Atomics.store(u16, this.avail16 + 1, this.availIdx); // publish
  }

  isUsed(): boolean {
    const { u16, u32 } = this.views;
    const ahead = (Atomics.load(u16, this.used16 + 1) - this.usedIdx) & 0xffff; // observe
    if (ahead === 0) return false;
    if (ahead > 1) throw broken(`it moved the used index by ${ahead}, with one command under way`);
    const id = u32[this.usedRing32 + 2 * (this.usedIdx % this.options.size)]!;
    if (id !== this.head) throw broken(`it used descriptor ${id}, where ${this.head} was made available`);
    this.usedIdx = (this.usedIdx + 1) & 0xffff;
    return true;
  }
}

export class PackedControlRing implements ControlRing {
  private readonly views: Views;
  private readonly layout: RingLayout;
  private readonly desc32: number;
  private next = 0;
  private wrap = 1;
  private head = 0;
  private headWrap = 1;

  constructor(private readonly options: ControlRingOptions) {
    const { mapping, ringOff, size } = options;
    this.views = viewsOf(mapping);
    this.layout = packedLayout(size);
    this.desc32 = (ringOff + this.layout.desc) >> 2;
  }

  get position(): number {
    return this.next | (this.wrap << 15);
  }

  get base(): number {
    return (this.position | (this.position << 16)) >>> 0;
  }

  reset(): void {
    const { ringOff } = this.options;
    const { u8, u16 } = this.views;
    u8.fill(0, ringOff, ringOff + this.layout.byteLength);
    this.next = this.head = 0;
    this.wrap = this.headWrap = 1;
    u16[((ringOff + this.layout.driver) >> 1) + 1] = EVENT_F_DISABLE; // we poll
  }

  publish(chain: readonly ControlPiece[]): void {
    const { size } = this.options;
    const { u32, i32 } = this.views;
    this.head = this.next;
    this.headWrap = this.wrap;
    let first = 0;
    chain.forEach(({ address, length, writable }, i) => {
      const at = this.desc32 + this.next * DESC_WORDS;
      const wrapBit = this.wrap === 1 ? DESC_F_AVAIL : DESC_F_USED;
      const flags = wrapBit | (writable ? DESC_F_WRITE : 0) | (i < chain.length - 1 ? DESC_F_NEXT : 0);
      const word3 = this.head | (flags << 16);
      u32[at] = Number(address & 0xffffffffn);
      u32[at + 1] = Number(address >> 32n);
      u32[at + 2] = length;
      if (i === 0) first = word3;
      else u32[at + 3] = word3;
      if (++this.next === size) {
        this.next = 0;
        this.wrap ^= 1;
      }
    });
    Atomics.store(i32, this.desc32 + this.head * DESC_WORDS + 3, first); // publish: the first descriptor makes the whole chain available
  }

  isUsed(): boolean {
    const word3 = Atomics.load(this.views.i32, this.desc32 + this.head * DESC_WORDS + 3); // observe
    const expected = this.headWrap === 1 ? DESC_F_AVAIL_USED : 0;
    if (((word3 >>> 16) & DESC_F_AVAIL_USED) !== expected) return false;
    const id = word3 & 0xffff;
    if (id !== this.head) throw broken(`it used buffer ${id}, where ${this.head} was made available`);
    return true;
  }
}
