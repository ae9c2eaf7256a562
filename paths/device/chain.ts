/**
 * The buffers of one descriptor chain (or of several, for a packet that takes several Rx buffers), as pieces of slices of
 * guest memory that are safe to access.
 *
 * The guest can rewrite a descriptor at any moment. So each word is read once, into a local variable, and the checked value
 * is used. A walk takes at most MAX_PIECES steps, empty buffers included; along a packed list at most as many as the ring has
 * descriptors. `work` counts them.
 */
import { DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE, DESC_WORDS } from '../layout.js';
import type { GuestMemory } from './guest-memory.js';

/**
 * Pieces that a packet may have, and descriptors, empty ones included, that a chain may have; longer chains are refused
 * (virtio 1.2 section 2.7.4.1 lets a device have a limit).
 */
export const MAX_PIECES = 1024;

// The unit of work is one descriptor read: 3 to 4 ns, AMD EPYC.
/**
 * `work` after which a burst ends early, so that one guest's odd chains do not starve the others: some 30 us. The simplest
 * packets are not counted: MAX_BURST limits them.
 */
export const WORK_PER_BURST = 8192;
/** Limit of `work` for reading the descriptors of one packet's Rx buffers. Beyond it the buffers are returned unused. */
export const WORK_PER_PACKET = 2048;
/** Cost of a chain besides its descriptors. */
const CHAIN_WALKED = 12;
/** Cost of an indirect table's entry that has to be copied out first. */
const TABLE_ENTRY_COPIED = 8;
/** Cost of copying one piece, or of one more mbuf. */
const PIECE_COPIED = 6;
/** Copying 64 bytes costs one unit. */
const BYTES_SHIFT = 6;

/**
 * A burst that has made so many bytes of views, for slices used for the first time, makes no more: V8 collects garbage for
 * them, 4 to 5 ms for 1 GiB (AMD EPYC, Node 20).
 */
const TOUCHED_PER_BURST = 2 ** 28;

/** Results of a walk. Later: the table's slice has no views yet and this burst may not make any, or the list is very long. */
export const CHAIN_LATER = -1;
/** Good: the pieces are in the chain. Bad: this buffer is not usable, but the ring is. */
export const CHAIN_GOOD = 0;
export const CHAIN_BAD = 1;
/** The ring is broken. The codes are those of `brokenReason`. */
export const CHAIN_TOO_LONG = 2;
const CHAIN_NEXT = 3;
const CHAIN_INDIRECT_REFUSED = 4;
const CHAIN_INDIRECT_NEXT = 5;
const CHAIN_INDIRECT_NESTED = 6;
const CHAIN_INDIRECT_LENGTH = 7;
const CHAIN_INDIRECT_ADDRESS = 8;
/** Codes of the same list for errors that the rings themselves find. */
export const AVAIL_JUMPED = 9;
export const HEAD_RANGE = 10;

const reasons: readonly string[] = [
  '',
  '',
  'a descriptor chain is a loop, or longer than the ring',
  'the next field of a descriptor points outside the table',
  'an indirect descriptor was used although INDIRECT_DESC was not negotiated',
  'a descriptor has both INDIRECT and NEXT',
  'an indirect table holds an indirect descriptor',
  'the length of an indirect table is 0, no multiple of 16, or more than the ring has descriptors',
  'an indirect table lies outside the memory regions',
  'the avail index moved by more than the ring has descriptors',
  'an avail ring entry is no descriptor of the table',
];

export function brokenReason(code: number): string {
  return reasons[code] || `code ${code}`;
}

export class Chain {
  /** By piece: its slice (index into `GuestMemory.views`), byte offset in the slice's views, bytes (never 0). */
  readonly slice = new Uint16Array(MAX_PIECES);
  readonly offset = new Int32Array(MAX_PIECES);
  readonly length = new Int32Array(MAX_PIECES);
  /** Pieces. */
  count = 0;
  /** Bytes of all pieces. */
  bytes = 0;
  /** Cost of the burst's chains so far, in units of one descriptor read. */
  work = 0;
  /** Bytes of views that were made in this burst. */
  private touched = 0;
  /** Packed: ring descriptors of the last chain walked, and the buffer id in its last one. */
  descriptors = 0;
  id = 0;
  /** Packed: a list too long to be used, whose end is not reached yet: its first descriptor, or -1, and descriptors read. */
  private longHead = -1;
  private longCount = 0;

  /** One entry of an indirect table that is not aligned, or not in one piece. */
  private readonly entry = new Uint32Array(DESC_WORDS);
  private readonly entryBytes = new Uint8Array(this.entry.buffer);
  /** Descriptors that a chain may have. */
  private readonly limit: number;

  /**
   * @param size descriptors in the ring.
   * @param direction DESC_F_WRITE: all buffers must be writable by us; 0: none.
   */
  constructor(
    private readonly memory: GuestMemory,
    private readonly size: number,
    private readonly direction: number,
    private readonly indirect: boolean,
  ) {
    this.limit = Math.min(size, MAX_PIECES);
  }

  clear(): void {
    this.count = 0;
    this.bytes = 0;
  }

  /** Begins a burst. */
  begin(): void {
    this.work = 0;
    this.touched = 0;
  }

  /**
   * Makes views for all pieces, so that they can be copied.
   * @returns false when that has to wait for the next burst.
   */
  ready(): boolean {
    const { views } = this.memory;
    for (let i = 0; i < this.count; i++) {
      if (views[this.slice[i]!] !== undefined) continue;
      if (!this.mayTouch || !this.touch(this.slice[i]!)) return false;
    }
    return true;
  }

  /** False when the burst may make no more views. */
  private get mayTouch(): boolean {
    return this.touched < TOUCHED_PER_BURST;
  }

  /** True when a walk, or `ready`, has to continue in the next burst. */
  get isLater(): boolean {
    return !this.mayTouch || this.longHead >= 0;
  }

  /** Makes the views of a slice. @returns false when that is not possible in this burst. */
  private touch(slice: number): boolean {
    const done = this.memory.touch(slice);
    this.touched += done ? this.memory.slices[slice]!.viewBytes : TOUCHED_PER_BURST;
    return done;
  }

  /** The same for a table, which lies in two slices at most. */
  private touchRange(address: number, length: number): boolean {
    const { memory } = this;
    for (let at = address; at < address + length;) {
      const slice = memory.sliceOf(at);
      if (memory.views[slice] === undefined && !this.touch(slice)) return false;
      at = memory.endOf(slice);
    }
    return true;
  }

  /** Adds to `work` the cost of copying `bytes` bytes between the pieces of the chain and `segments` mbufs. */
  countCopy(bytes: number, segments: number): void {
    this.work += (this.count + segments) * PIECE_COPIED + (bytes >>> BYTES_SHIFT);
  }

  /** Result for a chain beyond the limit: a loop when the limit is the ring's size; else only too long for us. */
  private get beyondLimit(): number {
    return this.limit === this.size ? CHAIN_TOO_LONG : CHAIN_BAD;
  }

  /** Adds the split chain that begins at descriptor `head`; `desc[at]` is the table's first word. @returns CHAIN_* */
  walkSplit(desc: Uint32Array, at: number, head: number): number {
    const { size, direction, limit } = this;
    this.work += CHAIN_WALKED;
    let id = head;
    for (let n = 0; n < limit; n++) {
      const word = at + id * DESC_WORDS;
      const low = desc[word]!;
      const high = desc[word + 1]!;
      const length = desc[word + 2]!;
      const flags = desc[word + 3]!; // and next, in the upper half
      this.work++;
      if (flags & DESC_F_INDIRECT) {
        if (flags & DESC_F_NEXT) return this.indirect ? CHAIN_INDIRECT_NEXT : CHAIN_INDIRECT_REFUSED;
        return this.walkTable(low, high, length, limit - n, false);
      }
      if ((flags & DESC_F_WRITE) !== direction || !this.add(low, high, length)) return CHAIN_BAD;
      if (!(flags & DESC_F_NEXT)) return CHAIN_GOOD;
      id = flags >>> 16;
      if (id >= size) return CHAIN_NEXT;
    }
    return this.beyondLimit;
  }

  /**
   * Adds the packed list that begins at ring position `head`. A bad list is walked to its end too, to find where the next
   * list begins. That may take several bursts: a ring of 32768 takes 0.1 ms.
   * @returns CHAIN_*; for good and bad ones `descriptors` and `id` are set.
   */
  walkPacked(desc: Uint32Array, at: number, head: number): number {
    const { size, direction, limit } = this;
    this.work += CHAIN_WALKED;
    let result = CHAIN_GOOD;
    let n = 0;
    if (head === this.longHead) {
      this.longHead = -1;
      n = this.longCount;
      result = CHAIN_BAD;
    }
    let position = head + n < size ? head + n : head + n - size;
    for (; n < size; n++) {
      const word = at + position * DESC_WORDS;
      const low = desc[word]!;
      const high = desc[word + 1]!;
      const length = desc[word + 2]!;
      const tail = desc[word + 3]!; // id, and flags in the upper half
      const flags = tail >>> 16;
      this.work++;
      if (flags & DESC_F_INDIRECT) {
        if (flags & DESC_F_NEXT) return this.indirect ? CHAIN_INDIRECT_NEXT : CHAIN_INDIRECT_REFUSED;
        const table = this.walkTable(low, high, length, Math.max(limit - n, 0), true);
        if (table > CHAIN_BAD || table === CHAIN_LATER) return table;
        if (table === CHAIN_BAD) result = CHAIN_BAD;
      } else if (result === CHAIN_GOOD) {
        const usable = n < limit && (flags & DESC_F_WRITE) === direction && this.add(low, high, length);
        if (!usable) result = CHAIN_BAD;
      } else if (n > limit && this.work >= WORK_PER_BURST) {
        this.longHead = head;
        this.longCount = n;
        return CHAIN_LATER;
      }
      if (!(flags & DESC_F_NEXT)) {
        this.descriptors = n + 1;
        this.id = tail & 0xffff;
        return result;
      }
      if (++position === size) position = 0;
    }
    return CHAIN_TOO_LONG;
  }

  /**
   * Adds the buffers of an indirect table. The WRITE flag of the descriptor that refers to it is ignored (section 2.7.5.3.2).
   * @param room descriptors that the chain may still have.
   * @param sequential packed: all entries in order; otherwise from entry 0 along `next`.
   */
  private walkTable(low: number, high: number, length: number, room: number, sequential: boolean): number {
    if (!this.indirect) return CHAIN_INDIRECT_REFUSED;
    const entries = length >>> 4;
    if (entries === 0 || (length & 15) !== 0 || entries > this.size) return CHAIN_INDIRECT_LENGTH;

    const { memory, direction } = this;
    let desc: Uint32Array = this.entry;
    let at = 0;
    let place = memory.resolve(low, high, length);
    if (place < 0) {
      if (!memory.contains(low, high, length)) return CHAIN_INDIRECT_ADDRESS;
      if (!this.mayTouch || !this.touchRange(high * 4294967296 + low, length)) return CHAIN_LATER;
      place = memory.resolve(low, high, length);
    }
    const inPlace = place >= 0 && (place & 3) === 0;
    if (inPlace) {
      desc = memory.views[memory.hit]!.u32;
      at = place >>> 2;
    }
    // DPDK's driver leaves WRITE set in the tables of packed Tx rings, and rte_vhost never checks it in tables. Reading a
    // device-writable buffer does no harm; writing into a device-readable one would.
    const checked = sequential && direction === 0 ? 0 : DESC_F_WRITE;

    let entry = 0;
    for (let n = 0; n < room; n++) {
      let word = at + entry * DESC_WORDS;
      if (!inPlace) {
        this.work += TABLE_ENTRY_COPIED;
        if (!memory.copyOut(low + entry * DESC_SIZE, high, DESC_SIZE, this.entryBytes)) return CHAIN_INDIRECT_ADDRESS;
        word = 0;
      }
      const bufferLow = desc[word]!;
      const bufferHigh = desc[word + 1]!;
      const bufferLength = desc[word + 2]!;
      const tail = desc[word + 3]!;
      const flags = sequential ? tail >>> 16 : tail;
      this.work++;
      if (flags & DESC_F_INDIRECT) return CHAIN_INDIRECT_NESTED;
      if (((flags ^ direction) & checked) !== 0 || !this.add(bufferLow, bufferHigh, bufferLength)) return CHAIN_BAD;
      if (sequential) {
        if (++entry === entries) return CHAIN_GOOD;
      } else {
        if (!(flags & DESC_F_NEXT)) return CHAIN_GOOD;
        entry = tail >>> 16;
        if (entry >= entries) return CHAIN_NEXT;
      }
    }
    return this.beyondLimit;
  }

  /** Adds one buffer, which may be empty. @returns false when part of it is outside the slices. */
  private add(low: number, high: number, length: number): boolean {
    if (length === 0) return true; // its address does not matter
    const offset = this.memory.resolve(low, high, length);
    if (offset < 0) return this.addAcross(high * 4294967296 + low, length);
    return this.push(this.memory.hit, offset, length);
  }

  private push(slice: number, offset: number, length: number): boolean {
    const i = this.count;
    if (i === MAX_PIECES) return false;
    this.slice[i] = slice;
    this.offset[i] = offset;
    this.length[i] = length;
    this.count = i + 1;
    this.bytes += length;
    return true;
  }

  /** Adds a buffer in a slice without views, or one that continues in the next slice, which must be adjacent. */
  private addAcross(address: number, length: number): boolean {
    const memory = this.memory;
    while (length > 0) {
      const slice = memory.sliceOf(address);
      if (slice < 0) return false;
      this.work++;
      const piece = Math.min(length, memory.endOf(slice) - address);
      const { guestAddr, offset } = memory.slices[slice]!;
      if (!this.push(slice, offset + (address - guestAddr), piece)) return false;
      address += piece;
      length -= piece;
    }
    return true;
  }
}
