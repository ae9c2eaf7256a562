/**
 * What threads share of a ring on the device's side, in a SharedArrayBuffer: the description by which a thread opens it,
 * whether bursts may touch it, our position, its descriptors, its counters. The control plane writes the description while
 * no thread is in a burst (docs/decisions/0005); the thread that polls the ring writes position and counters.
 */
import { STATS_COUNT } from '../stats.js';

// ---- Int32 words ---------------------------------------------------------------------------------------------------

/** Not 0 while bursts may touch the ring. Written by the control plane, read at the start of every burst. */
export const STARTED = 0;
/** Counts the starts. A thread that has opened an earlier one opens the ring again. */
export const GENERATION = 1;
/** Split: buffers consumed, modulo 2^16. Packed: bits 0-14 the next descriptor, bit 15 its wrap counter. */
export const POSITION = 2;
/** 0, or the number of bytes of the sentence that says why the ring is broken. Only a new start clears it. */
export const BROKEN = 3;
/** The eventfd that signals the guest, or -1 when it polls. */
export const CALL_FD = 4;
/** The eventfd with which the guest signals us, or -1 when it has none. */
export const KICK_FD = 5;
const STATE_WORDS = 32;

const DESCRIPTION_AT = STATE_WORDS * 4;
const DESCRIPTION_LENGTH = 8;
const STATS_AT = DESCRIPTION_AT + DESCRIPTION_LENGTH * 8;
const REASON_AT = STATS_AT + STATS_COUNT * 8;
const REASON_BYTES = 512;

const RING_STATE_BYTES = REASON_AT + REASON_BYTES;

/** How a ring is laid out and used: all that a thread needs to open it, besides the memory. */
export interface RingDescription {
  /** Virtqueue index: even ones receive on the guest's side (we enqueue), odd ones transmit (we dequeue). */
  readonly index: number;
  readonly packed: boolean;
  /** Descriptors. */
  readonly size: number;
  /** Bytes of the net header. */
  readonly hdrSize: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** Addresses in the front-end's process of descriptor table, avail ring (driver event), used ring (device event). */
  readonly descAddr: number;
  readonly driverAddr: number;
  readonly deviceAddr: number;
}

const flagNames = ['packed', 'mergeable', 'inOrder', 'indirect', 'eventIdx'] as const;

/** One thread's view of a ring's shared state. */
export class RingState {
  readonly words: Int32Array;
  /** Counters since the ring was first named, at the indices of paths/stats.ts. */
  readonly stats: Float64Array;
  private readonly numbers: Float64Array;
  private readonly reason: Uint8Array;

  /** @param shared that of another thread; default: a new one. */
  constructor(readonly shared = new SharedArrayBuffer(RING_STATE_BYTES)) {
    this.words = new Int32Array(shared, 0, STATE_WORDS);
    this.numbers = new Float64Array(shared, DESCRIPTION_AT, DESCRIPTION_LENGTH);
    this.stats = new Float64Array(shared, STATS_AT, STATS_COUNT);
    this.reason = new Uint8Array(shared, REASON_AT, REASON_BYTES);
  }

  /** The state as before the first start. The starts are counted on: a thread may have opened an earlier one. */
  clear(): void {
    const generation = this.words[GENERATION]!;
    this.words.fill(0);
    this.words[GENERATION] = generation;
    this.words[CALL_FD] = this.words[KICK_FD] = -1;
    this.stats.fill(0);
  }

  get description(): RingDescription {
    const { numbers } = this;
    const flag = (name: (typeof flagNames)[number]) => (numbers[3]! & (1 << flagNames.indexOf(name))) !== 0;
    // whole numbers again: as doubles they cost every burst some 100 ns (AMD EPYC, Node 20)
    return {
      index: numbers[0]! | 0,
      packed: flag('packed'),
      size: numbers[1]! | 0,
      hdrSize: numbers[2]! | 0,
      mergeable: flag('mergeable'),
      inOrder: flag('inOrder'),
      indirect: flag('indirect'),
      eventIdx: flag('eventIdx'),
      descAddr: numbers[4]!,
      driverAddr: numbers[5]!,
      deviceAddr: numbers[6]!,
    };
  }

  set description(of: RingDescription) {
    const flags = flagNames.reduce((bits, name, i) => bits | (of[name] ? 1 << i : 0), 0);
    this.numbers.set([of.index, of.size, of.hdrSize, flags, of.descAddr, of.driverAddr, of.deviceAddr]);
  }

  /** Undefined, or a sentence that says why the ring is broken. */
  get broken(): string | undefined {
    const length = Atomics.load(this.words, BROKEN);
    // a TextDecoder refuses shared memory, hence the copy
    return length === 0 ? undefined : new TextDecoder().decode(this.reason.slice(0, length));
  }

  /** Marks the ring as broken. @param why a sentence; the first one stays. */
  fail(why: string): void {
    if (this.words[BROKEN] !== 0) return;
    const bytes = new TextEncoder().encode(why).subarray(0, REASON_BYTES);
    this.reason.set(bytes);
    Atomics.store(this.words, BROKEN, bytes.length);
  }

  /** Where the device continues, in the format of SET_VRING_BASE: see `VringSpec.base`. */
  base(packed: boolean): number {
    const position = this.words[POSITION]!;
    return packed ? (position | (position << 16)) >>> 0 : position;
  }
}
