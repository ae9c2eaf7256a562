/**
 * The memory table of a device as numbers in a SharedArrayBuffer, from which each thread that polls a ring makes its own
 * `GuestMemory`. The regions are mapped once, by the thread that handles the messages.
 */
import { GRANULE, granuleViews } from '../../native/peer-memory.js';
import type { Views } from '../../native/region.js';
import { MAX_SLICES } from './guest-memory.js';
import type { GuestSlice } from './queue.js';

/** A part of a region within one granule of our address space; its typed arrays are made when they are first used. */
export class PeerSlice implements GuestSlice {
  readonly viewBytes = GRANULE;

  constructor(
    readonly guestAddr: number,
    readonly userAddr: number,
    readonly size: number,
    readonly address: number,
    readonly offset: number,
  ) {}

  get views(): Views | undefined {
    return granuleViews(this.address);
  }
}

// Int32 words
const GENERATION = 0;
const COUNT = 1;
const NUMBERS_AT = 8;
const NUMBERS = 5;

/** One thread's view of a memory table. The control plane writes it while no thread is in a burst (docs/decisions/0005). */
export class MemoryState {
  private readonly words: Int32Array;
  private readonly numbers: Float64Array;

  /** @param shared that of another thread; default: a new one. */
  constructor(readonly shared = new SharedArrayBuffer(NUMBERS_AT + MAX_SLICES * NUMBERS * 8)) {
    this.words = new Int32Array(shared, 0, 2);
    this.numbers = new Float64Array(shared, NUMBERS_AT);
  }

  /** Counts the tables. */
  get generation(): number {
    return Atomics.load(this.words, GENERATION);
  }

  get slices(): GuestSlice[] {
    return Array.from({ length: this.words[COUNT]! }, (_, i) => {
      const [guestAddr, userAddr, size, address, offset] = this.numbers.subarray(i * NUMBERS, (i + 1) * NUMBERS);
      return new PeerSlice(guestAddr!, userAddr!, size! | 0, address!, offset! | 0); // see RingState.description
    });
  }

  set slices(slices: readonly GuestSlice[]) {
    slices.forEach(({ guestAddr, userAddr, size, address, offset }, i) =>
      this.numbers.set([guestAddr, userAddr, size, address, offset], i * NUMBERS),
    );
    this.words[COUNT] = slices.length;
    Atomics.add(this.words, GENERATION, 1); // publish
  }
}
