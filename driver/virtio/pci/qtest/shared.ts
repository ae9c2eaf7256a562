/**
 * The memory that the control plane and the bridge of one emulated machine share: two mutexes, the state of both sides, and for
 * each function a table of doorbells (from eventfd to register) and one of interrupt vectors (from word of RAM to eventfd).
 */

/** Functions of one machine that may be attached at a time. */
export const MAX_FUNCTIONS = 8;
/** Doorbells of one function: more than 128 queue pairs and a control queue have. */
export const MAX_DOORBELLS = 512;
/** Vectors of one function: a page of words. */
export const MAX_VECTORS = 1024;

export const SOCKET_LOCK = 0;
export const TABLE_LOCK = 1;
/** Word: whether QEMU answers: PRESENT, HUNG_UP or SILENT. */
export const GONE = 2;
/** Word: the state of the bridge, NOT_STARTED to ENDED. */
export const BRIDGE = 3;
/** Word: not 0 when the bridge is to end. The bridge sleeps on this word. */
export const STOP = 4;

export const PRESENT = 0;
export const HUNG_UP = 1;
export const SILENT = 2;

export const NOT_STARTED = 0;
export const STARTING = 1;
export const RUNNING = 2;
export const ENDED = 3;

const HEADER_WORDS = 8;
/** A doorbell: eventfd, address space (0 memory, 1 I/O), address, value. */
const DOORBELL_WORDS = 4;
/** For a function: the numbers of doorbells and vectors, then both tables. */
const FUNCTION_WORDS = 2 + MAX_DOORBELLS * DOORBELL_WORDS + MAX_VECTORS;

/** Bytes of the shared memory. */
export const sharedBytes = (HEADER_WORDS + MAX_FUNCTIONS * FUNCTION_WORDS) * 4;

/** A register that the bridge writes to when an eventfd has been signalled. */
export interface BridgeDoorbell {
  readonly fd: number;
  readonly space: 'memory' | 'io';
  readonly address: number;
  readonly value: number;
}

/** Doorbells and vectors by function slot. Use it under TABLE_LOCK. */
export class BridgeTable {
  constructor(private readonly words: Int32Array) {}

  doorbellCount(slot: number): number {
    return this.words[base(slot)]!;
  }

  vectorCount(slot: number): number {
    return this.words[base(slot) + 1]!;
  }

  doorbellFd(slot: number, i: number): number {
    return this.words[doorbellBase(slot, i)]!;
  }

  doorbell(slot: number, i: number): BridgeDoorbell {
    const at = doorbellBase(slot, i);
    const [fd, space, address, value] = this.words.subarray(at, at + DOORBELL_WORDS);
    return { fd: fd!, space: space === 0 ? 'memory' : 'io', address: address! >>> 0, value: value! };
  }

  /** @returns false when the table is full */
  addDoorbell(slot: number, doorbell: BridgeDoorbell): boolean {
    const count = this.doorbellCount(slot);
    if (count === MAX_DOORBELLS) return false;
    const { fd, space, address, value } = doorbell;
    this.words.set([fd, space === 'memory' ? 0 : 1, address | 0, value], doorbellBase(slot, count));
    this.words[base(slot)] = count + 1;
    return true;
  }

  /** The eventfd of vector `i`, -1 for none. */
  vectorFd(slot: number, i: number): number {
    return this.words[vectorBase(slot) + i]!;
  }

  setVectors(slot: number, fds: readonly number[]): void {
    this.words.set(fds, vectorBase(slot));
    this.words[base(slot) + 1] = fds.length;
  }

  /** Removes all entries of a function. @returns the eventfds of its doorbells */
  clear(slot: number): number[] {
    const fds = Array.from({ length: this.doorbellCount(slot) }, (_, i) => this.doorbellFd(slot, i));
    this.words[base(slot)] = 0;
    this.words[base(slot) + 1] = 0;
    return fds;
  }
}

const base = (slot: number) => HEADER_WORDS + slot * FUNCTION_WORDS;
const doorbellBase = (slot: number, i: number) => base(slot) + 2 + i * DOORBELL_WORDS;
const vectorBase = (slot: number) => base(slot) + 2 + MAX_DOORBELLS * DOORBELL_WORDS;

const FREE = 0;
const HELD = 1;
const WAITED_FOR = 2;

/** A mutex between threads, in one word of shared memory. One thread must not take it twice. */
export class SharedMutex {
  constructor(
    private readonly words: Int32Array,
    private readonly at: number,
  ) {}

  run<T>(body: () => T): T {
    const { words, at } = this;
    if (Atomics.compareExchange(words, at, FREE, HELD) !== FREE) {
      while (Atomics.exchange(words, at, WAITED_FOR) !== FREE) Atomics.wait(words, at, WAITED_FOR);
    }
    try {
      return body();
    } finally {
      if (Atomics.exchange(words, at, FREE) === WAITED_FOR) Atomics.notify(words, at, 1);
    }
  }
}
