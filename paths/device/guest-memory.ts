/**
 * The memory that a front-end shared with us, and translation of its two kinds of addresses: guest addresses, which
 * descriptors hold, and user addresses, which say where the rings are. Every address comes from the peer: nothing is
 * touched before the whole range is known to lie inside the regions.
 */
import { VirtioPmdError } from '../../native/errors.js';
import type { Views } from '../../native/region.js';
import type { GuestRegion } from './queue.js';

/** VHOST_MEMORY_BASELINE_NREGIONS: more regions than a memory table message holds. */
export const MAX_REGIONS = 8;

/** A place inside the views of one region. */
export interface Place {
  readonly views: Views;
  /** Byte offset. */
  readonly offset: number;
}

export class GuestMemory {
  /** Ascending by guest address. */
  readonly regions: readonly GuestRegion[];
  /** By region: its views. */
  readonly views: readonly Views[];
  /** Region of the last successful `resolve`; index into `views`. */
  hit = 0;

  // of the region `hit`: nearly all buffers of a guest lie in one
  private start = 0;
  private size = 0;
  private base = 0;

  /** @throws VirtioPmdError EPEER when the table makes no sense. */
  constructor(regions: readonly GuestRegion[]) {
    if (regions.length > MAX_REGIONS) {
      throw refuse(`the memory table has ${regions.length} regions; at most ${MAX_REGIONS} are supported`);
    }
    this.regions = [...regions].sort((a, b) => a.guestAddr - b.guestAddr);
    this.views = this.regions.map((region) => region.views);
    let end = 0;
    for (const region of this.regions) {
      // strictly below 2^53: an address that a number cannot hold exactly is then never inside a region
      if (!isRange(region.guestAddr, region.size) || !isRange(region.userAddr, region.size)) {
        throw refuse(`memory region ${describe(region)} has no size, or does not end below 2^53`);
      }
      if (region.guestAddr < end) throw refuse(`memory region ${describe(region)} overlaps the one before it`);
      if (region.offset + region.size > region.views.u8.length) {
        throw refuse(`memory region ${describe(region)} is longer than the memory mapped for it`);
      }
      end = region.guestAddr + region.size;
    }
    if (this.regions.length > 0) this.select(0);
  }

  /**
   * Where the `length` bytes at guest address `high * 2^32 + low` are: the byte offset in `views[hit]`, or -1 when they
   * do not lie inside one region (see `split` for ranges that cross from one to the next).
   */
  resolve(low: number, high: number, length: number): number {
    const at = high * 4294967296 + low - this.start;
    if (at >= 0 && at + length <= this.size) return (this.base + at) | 0;
    return this.resolveElsewhere(low, high, length);
  }

  private resolveElsewhere(low: number, high: number, length: number): number {
    const address = high * 4294967296 + low;
    const region = this.regionOf(address);
    if (region < 0 || address + length > this.endOf(region)) return -1;
    this.select(region);
    return (this.base + (address - this.start)) | 0;
  }

  /** The region that contains the byte at guest address `address`, or -1. */
  regionOf(address: number): number {
    const regions = this.regions;
    for (let i = 0; i < regions.length; i++) {
      if (address >= regions[i]!.guestAddr && address < regions[i]!.guestAddr + regions[i]!.size) return i;
    }
    return -1;
  }

  /** Guest address behind the last byte of a region. */
  endOf(region: number): number {
    return this.regions[region]!.guestAddr + this.regions[region]!.size;
  }

  /**
   * Copies `length` bytes at a guest address, which may cross from one region to an adjacent one, to the beginning of `out`.
   * For the rare: one byte at a time.
   * @returns false, with `out` undefined, when part of the range is nobody's.
   */
  copyOut(low: number, high: number, length: number, out: Uint8Array): boolean {
    let address = high * 4294967296 + low;
    for (let done = 0; done < length;) {
      const region = this.regionOf(address);
      if (region < 0) return false;
      const { guestAddr, offset, views } = this.regions[region]!;
      const piece = Math.min(length - done, this.endOf(region) - address);
      const from = offset + (address - guestAddr);
      for (let i = 0; i < piece; i++) out[done + i] = views.u8[from + i]!;
      done += piece;
      address += piece;
    }
    return true;
  }

  /**
   * Where a part of a ring is.
   * @param userAddr address in the front-end's process.
   * @param what for the error: "descriptor table of ring 0".
   * @throws VirtioPmdError EPEER when it is misaligned or does not lie in one region.
   */
  ring(userAddr: number, length: number, alignment: number, what: string): Place {
    for (const region of this.regions) {
      const at = userAddr - region.userAddr;
      if (!(at >= 0 && at + length <= region.size)) continue;
      const offset = region.offset + at;
      if (userAddr % alignment !== 0 || offset % alignment !== 0) {
        throw refuse(`the ${what} at ${hex(userAddr)} must be aligned to ${alignment} bytes`);
      }
      return { views: region.views, offset };
    }
    const table = this.regions.map((region) => `${hex(region.userAddr)}+${hex(region.size)}`).join(', ');
    throw refuse(
      `the ${what} needs ${length} bytes at ${hex(userAddr)}, which no memory region contains (${table || 'there are none'})`,
    );
  }

  private select(region: number): void {
    const { guestAddr, size, offset } = this.regions[region]!;
    this.hit = region;
    this.start = guestAddr;
    this.size = size;
    this.base = offset;
  }
}

function isRange(address: number, size: number): boolean {
  return Number.isInteger(address) && address >= 0 && size > 0 && address + size < Number.MAX_SAFE_INTEGER;
}

const hex = (value: number) => `0x${value.toString(16)}`;
const describe = (region: GuestRegion) => `${hex(region.guestAddr)}+${hex(region.size)}`;
const refuse = (sentence: string) => new VirtioPmdError('EPEER', sentence);
