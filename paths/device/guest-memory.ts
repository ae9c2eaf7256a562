/**
 * The memory that a front-end shares with us, and the translation of its two kinds of addresses: guest addresses, in
 * descriptors, and user addresses, for the rings. Every address comes from the peer: memory is accessed only after the
 * whole range is known to lie inside the slices.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { hex } from '../../native/hex.js';
import { peerViews } from '../../native/peer-memory.js';
import { addressOfViews, type Views } from '../../native/region.js';
import { DESC_F_WRITE } from '../layout.js';
import { copierOf, type Copier } from './copy.js';
import type { GuestSlice } from './queue.js';

/** More than the slices of 512 GiB in 64 memory slots. */
export const MAX_SLICES = 1024;

/** A position in some views. */
export interface Place {
  readonly views: Views;
  /** Byte offset. */
  readonly offset: number;
}

/** The functions that copy between a mempool and the slices, by slice; missing for slices not used so far. */
interface PoolCopiers {
  readonly pool: Views;
  readonly direction: number;
  readonly copiers: Copier[];
}

export class GuestMemory {
  /** Ascending by guest address. */
  readonly slices: readonly GuestSlice[];
  /** By slice: its views, undefined until `touch`. */
  readonly views: (Views | undefined)[];
  /** Slice of the last successful `resolve`; index into `views`. */
  hit = -1;

  // of the slice `hit`: nearly all buffers of a guest lie in one slice
  private start = 0;
  private size = 0;
  private base = 0;

  private readonly copies: PoolCopiers[] = [];

  /** @throws VirtioPmdError EPEER when slices overlap or lie outside their views. */
  constructor(slices: readonly GuestSlice[]) {
    if (slices.length > MAX_SLICES) {
      throw refuse(`the memory table has ${slices.length} parts; at most ${MAX_SLICES} are supported`);
    }
    this.slices = [...slices].sort((a, b) => a.guestAddr - b.guestAddr);
    this.views = this.slices.map(() => undefined);
    let end = 0;
    for (const slice of this.slices) {
      // strictly below 2^53: an address that a number cannot hold exactly is then never inside a slice
      if (!isRange(slice.guestAddr, slice.size) || !isRange(slice.userAddr, slice.size)) {
        throw refuse(`memory region ${describe(slice)} has no size, or does not end below 2^53`);
      }
      if (slice.guestAddr < end) throw refuse(`memory region ${describe(slice)} overlaps the one before it`);
      // so the result of `resolve` is an offset in the views, below 2^31
      if (slice.offset < 0 || slice.offset + slice.size > slice.viewBytes || slice.viewBytes >= 2 ** 31) {
        throw refuse(`memory region ${describe(slice)} is longer than the memory mapped for it`);
      }
      end = slice.guestAddr + slice.size;
    }
  }

  /**
   * Byte offset in `views[hit]` of the `length` bytes at guest address `high * 2^32 + low`; -1 when they do not lie inside
   * one slice that has views (`Chain` handles such buffers).
   */
  resolve(low: number, high: number, length: number): number {
    const at = high * 4294967296 + low - this.start;
    if (at >= 0 && at + length <= this.size) return (this.base + at) | 0;
    return this.resolveElsewhere(low, high, length);
  }

  private resolveElsewhere(low: number, high: number, length: number): number {
    const address = high * 4294967296 + low;
    const slice = this.sliceOf(address);
    if (slice < 0 || this.views[slice] === undefined || address + length > this.endOf(slice)) return -1;
    this.select(slice);
    return (this.base + (address - this.start)) | 0;
  }

  /** The slice that contains the byte at guest address `address`, or -1. */
  sliceOf(address: number): number {
    const slices = this.slices;
    let low = 0;
    let high = slices.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (slices[middle]!.guestAddr <= address) low = middle + 1;
      else high = middle;
    }
    return low > 0 && address < this.endOf(low - 1) ? low - 1 : -1;
  }

  /** The first guest address after a slice. */
  endOf(slice: number): number {
    return this.slices[slice]!.guestAddr + this.slices[slice]!.size;
  }

  /** Whether all of a range of guest addresses lies in slices. It may cross from one slice to an adjacent one. */
  contains(low: number, high: number, length: number): boolean {
    const address = high * 4294967296 + low;
    for (let at = address; at < address + length;) {
      const slice = this.sliceOf(at);
      if (slice < 0) return false;
      at = this.endOf(slice);
    }
    return true;
  }

  /**
   * Copies `length` bytes at a guest address, which may cross from one slice to an adjacent one, to the beginning of `out`.
   * For rare and short ranges: copies byte by byte. All slices of it must have views.
   * @returns false, with undefined contents of `out`, when part of the range is in no slice.
   */
  copyOut(low: number, high: number, length: number, out: Uint8Array): boolean {
    let address = high * 4294967296 + low;
    for (let done = 0; done < length;) {
      const slice = this.sliceOf(address);
      if (slice < 0) return false;
      const { u8 } = this.views[slice]!;
      const piece = Math.min(length - done, this.endOf(slice) - address);
      const { guestAddr, offset } = this.slices[slice]!;
      const from = offset + (address - guestAddr);
      for (let i = 0; i < piece; i++) out[done + i] = u8[from + i]!;
      done += piece;
      address += piece;
    }
    return true;
  }

  /**
   * Finds a part of a ring, and makes small views for it alone. It may cross slices that are adjacent in our memory too:
   * pieces of one region.
   * @param userAddr address in the front-end's process.
   * @param what for the error: "descriptor table of ring 0".
   * @throws VirtioPmdError EPEER when it is misaligned or does not lie in one region.
   */
  ring(userAddr: number, length: number, alignment: number, what: string): Place {
    const first = this.sliceAt(userAddr);
    if (first !== undefined) {
      const address = first.address + first.offset + (userAddr - first.userAddr);
      if (userAddr % alignment !== 0 || address % alignment !== 0) {
        throw refuse(`the ${what} at ${hex(userAddr)} must be aligned to ${alignment} bytes`);
      }
      if (this.isContiguous(first, userAddr + length)) {
        const views = peerViews(address, length);
        return { views, offset: address - addressOfViews(views) };
      }
    }
    const table = this.slices.map((slice) => `${hex(slice.userAddr)}+${hex(slice.size)}`).join(', ');
    throw refuse(
      `the ${what} needs ${length} bytes at ${hex(userAddr)}, which no memory region contains (${table || 'there are none'})`,
    );
  }

  private sliceAt(userAddr: number): GuestSlice | undefined {
    return this.slices.find((slice) => userAddr >= slice.userAddr && userAddr < slice.userAddr + slice.size);
  }

  /** Whether the user addresses from `slice` up to `end` are mapped contiguously. */
  private isContiguous(slice: GuestSlice, end: number): boolean {
    for (;;) {
      const border = slice.userAddr + slice.size;
      if (border >= end) return true;
      const next = this.sliceAt(border);
      const expected = slice.address + slice.offset + slice.size;
      if (next === undefined || next.address + next.offset !== expected) return false;
      slice = next;
    }
  }

  /**
   * The functions that copy between the mempool with these views and each slice, by index of the slice.
   * @param direction DESC_F_WRITE: to the guest; 0: from the guest.
   */
  copiers(pool: Views, direction: number): readonly Copier[] {
    const known = this.copies.find((one) => one.pool === pool && one.direction === direction);
    if (known !== undefined) return known.copiers;
    const fresh = { pool, direction, copiers: [] };
    this.copies.push(fresh);
    for (let i = 0; i < this.slices.length; i++) this.addCopier(fresh, i);
    return fresh.copiers;
  }

  private addCopier({ pool, direction, copiers }: PoolCopiers, slice: number): void {
    const views = this.views[slice];
    if (views === undefined) return;
    copiers[slice] = direction === DESC_F_WRITE ? copierOf(views, pool) : copierOf(pool, views);
  }

  /**
   * Makes the views of a slice, and the functions that copy to and from it. Takes milliseconds for a large one, once.
   * @returns false when that is not possible now.
   */
  touch(slice: number): boolean {
    this.views[slice] = this.slices[slice]!.views;
    if (this.views[slice] === undefined) return false;
    for (const one of this.copies) this.addCopier(one, slice);
    return true;
  }

  /** Makes a slice with views the one that `resolve` tries first. */
  private select(slice: number): void {
    const { guestAddr, size, offset } = this.slices[slice]!;
    this.hit = slice;
    this.start = guestAddr;
    this.size = size;
    this.base = offset;
  }
}

function isRange(address: number, size: number): boolean {
  return Number.isInteger(address) && address >= 0 && size > 0 && address + size < Number.MAX_SAFE_INTEGER;
}
const describe = (slice: GuestSlice) => `${hex(slice.guestAddr)}+${hex(slice.size)}`;
const refuse = (sentence: string) => new VirtioPmdError('EPEER', sentence);
