/**
 * Packet memory: one memfd for all mempools and rings of an Eal, made at the first reservation, when the size that is needed
 * is known. One file is one memory region for a vhost-user back-end, which takes at most 8; DPDK does the same with
 * --single-file-segments.
 */
import { fstatSync } from 'node:fs';
import { isVirtioPmdError, VirtioPmdError } from '../../native/errors.js';
import {
  createRegion,
  destroyRegion,
  HUGEPAGE_SIZE,
  hugepages,
  mapFileRegion,
  MAX_REGION_SIZE,
  viewsOf,
} from '../../native/region.js';
import type { Mapping, Region } from '../../native/region.js';
import { formatMiB } from '../../native/sizes.js';
import { checkReach, chooseBase, runOf, runsOfPages, type AddressRange, type Addressing } from './addressing.js';
import type { DmaRun, RamFile } from './addressing.js';
import { physicalPages } from './physical.js';

export { DEVICE_BASE } from './addressing.js';

const MIB = 1024 * 1024;
/** Bytes for the rings of a few ports with many queues, beside the first mempool. */
const ROOM_FOR_RINGS = 32 * MIB;
/** Bytes. Ordinary pages cost nothing before they are accessed. */
const ORDINARY_MINIMUM = 256 * MIB;
const HUGE_MINIMUM = 64 * MIB;
/** Bytes for mempools that come later, when the first reservation is a ring and their size is not known. */
const UNKNOWN_MEMPOOL = 224 * MIB;

/** The options of EalOptions that concern memory. */
export interface MemoryOptions {
  readonly memoryMiB?: number | undefined;
  readonly noHuge?: boolean | undefined;
  readonly filePrefix?: string | undefined;
}

/** A part of the packet memory, as plain data. */
export interface Reservation {
  readonly name: string;
  readonly mapping: Mapping;
  /** Bytes from the start of the mapping. */
  readonly offset: number;
  readonly byteLength: number;
}

/** The system calls; tests replace them by a mock. */
export interface MemorySystem {
  hugepages(): { total: number; free: number };
  createRegion(name: string, byteLength: number, huge: boolean): Region;
  physicalPages(address: bigint, byteLength: number): bigint[];
}

/** The packet memory of one Eal. */
export class Memory {
  private made: Region | undefined;
  private runs: readonly DmaRun[] = [];
  /** The ranges of all devices so far. */
  private readonly ranges: (readonly AddressRange[])[] = [];
  private physical = false;
  private ram: RamFile | undefined;
  private mappingData: Mapping | undefined;
  /** Ascending by offset. */
  private readonly reservations: Reservation[] = [];
  /** Bytes below this may have been used before and are not zero any more. */
  private highWater = 0;

  constructor(
    private readonly options: MemoryOptions,
    private readonly log: (line: string) => void,
    private readonly system: MemorySystem = { hugepages, createRegion, physicalPages },
  ) {
    const { memoryMiB } = options;
    if (memoryMiB !== undefined && !(Number.isInteger(memoryMiB) && memoryMiB > 0)) {
      throw new VirtioPmdError('EOPTION', `-m ${memoryMiB}: expected a whole number of MiB above 0`);
    }
  }

  /** The region, or undefined before the first reservation. */
  get region(): Region | undefined {
    return this.made;
  }

  /**
   * Takes `byteLength` zeroed bytes at a multiple of `align` (a power of two): the first gap that is large enough.
   * @param more bytes to make beside these, when this is the first reservation and no size was given (-m).
   * @param onePiece the bytes must be contiguous for a device.
   * @throws VirtioPmdError EMEMORY when there is no room
   */
  reserve(name: string, byteLength: number, align = 64, more = UNKNOWN_MEMPOOL, onePiece = true): Reservation {
    if (byteLength > MAX_REGION_SIZE) {
      throw new VirtioPmdError(
        'EMEMORY',
        `no room for ${name}: ${formatMiB(byteLength)} asked for, and packet memory is one file of at most ${formatMiB(MAX_REGION_SIZE)}: ask for fewer or smaller mbufs`,
      );
    }
    const region = (this.made ??= this.create(byteLength, more));
    const mapping = (this.mappingData ??= plainMapping(region));
    const place = (from: number) => (onePiece ? this.inOnePiece(from, byteLength) : from);
    let offset = place(0);
    let index = 0;
    for (; index < this.reservations.length; index++) {
      const next = this.reservations[index]!;
      if (offset + byteLength <= next.offset) break;
      offset = place(Math.ceil((next.offset + next.byteLength) / align) * align);
    }
    if (offset + byteLength > region.byteLength) throw this.full(name, byteLength, region);
    const reservation = { name, mapping, offset, byteLength };
    this.reservations.splice(index, 0, reservation);
    if (offset < this.highWater) viewsOf(mapping).u8.fill(0, offset, offset + byteLength);
    this.highWater = Math.max(this.highWater, offset + byteLength);
    return reservation;
  }

  /** Gives a reservation back. @throws VirtioPmdError ESTATE when there is none of this name and offset. */
  release(reservation: Pick<Reservation, 'name' | 'offset'>): void {
    const index = this.reservations.findIndex((r) => r.offset === reservation.offset && r.name === reservation.name);
    if (index < 0) throw new VirtioPmdError('ESTATE', `memory "${reservation.name}" was released before`);
    this.reservations.splice(index, 1);
  }

  /** The first offset, from `offset` on, at which `byteLength` bytes are contiguous for a device; Infinity when there is none. */
  private inOnePiece(offset: number, byteLength: number): number {
    for (const run of this.runs) {
      const from = Math.max(offset, run.offset);
      if (from + byteLength <= run.offset + run.byteLength) return from;
    }
    return Infinity;
  }

  /**
   * Records which addresses a device needs.
   * @throws VirtioPmdError ESTATE when the memory has been made with others; ECONFIG when another device needs others; EMEMORY when
   *   the device cannot reach the memory
   */
  use(addressing: Addressing): void {
    if (addressing.kind === 'iova') {
      checkReach(this.runs, addressing.ranges);
      this.ranges.push(addressing.ranges);
      return;
    }
    const served = addressing.kind === 'physical' ? this.physical : sameFile(this.ram, addressing);
    if (served) return;
    if (this.made !== undefined) {
      throw new VirtioPmdError(
        'ESTATE',
        'a device that needs physical addresses must be attached before any mempool is made: attach it first',
      );
    }
    if (this.physical || this.ram !== undefined) {
      throw new VirtioPmdError(
        'ECONFIG',
        'devices of this machine and those of an emulated one cannot share packet memory: use two processes',
      );
    }
    if (addressing.kind === 'physical') this.physical = true;
    else this.ram = addressing;
  }

  /** Devices see physical addresses: pages of 2 MiB in any order. */
  get inPages(): boolean {
    return this.physical;
  }

  /** The pieces in which devices see the memory, ascending by offset; none before the first reservation. */
  get dmaRuns(): readonly DmaRun[] {
    return this.runs;
  }

  /** Guest-physical address of byte `offset`: for descriptors, and for the regions of a memory table. */
  deviceAddress(offset: number): bigint {
    const run = runOf(this.runs, offset);
    return run.deviceAddress + BigInt(offset - run.offset);
  }

  /**
   * Address of byte `offset` in this process: for vhost-user's SET_VRING_ADDR.
   * @throws VirtioPmdError ESTATE before the first reservation.
   */
  userAddress(offset: number): bigint {
    if (!this.made) throw new VirtioPmdError('ESTATE', 'there is no packet memory yet: reserve some first');
    return this.made.address + BigInt(offset);
  }

  /** Releases the memory. Views of it read zeros from now on (docs/decisions/0011). Idempotent. */
  destroy(): void {
    const { made } = this;
    if (!made) return;
    this.made = undefined;
    this.runs = [];
    this.mappingData = undefined;
    this.reservations.length = 0;
    destroyRegion(made);
  }

  private create(wanted: number, more: number): Region {
    const region = this.ram === undefined ? this.createMemory(this.sizesFor(wanted, more)) : mapFileRegion(this.ram);
    try {
      this.runs = this.addresses(region);
      if (this.ram !== undefined) this.highWater = region.byteLength; // its machine may have written anywhere in it
      for (const ranges of this.ranges) checkReach(this.runs, ranges);
    } catch (error) {
      destroyRegion(region);
      throw error;
    }
    return region;
  }

  private addresses({ address, byteLength }: Region): DmaRun[] {
    if (this.physical) return runsOfPages(this.system.physicalPages(address, byteLength));
    return [{ offset: 0, byteLength, deviceAddress: this.ram?.base ?? chooseBase(byteLength, this.ranges) }];
  }

  /**
   * Bytes to make, with hugepages and without. With a -m that is larger than one file can be, one file is made: it is enough
   * until a mempool does not fit.
   */
  private sizesFor(wanted: number, more: number): { readonly huge: number; readonly ordinary: number } {
    const { memoryMiB } = this.options;
    if (memoryMiB === undefined) {
      const atLeast = (minimum: number) => Math.min(Math.max(wanted + more + ROOM_FOR_RINGS, minimum), MAX_REGION_SIZE);
      return { huge: atLeast(HUGE_MINIMUM), ordinary: atLeast(ORDINARY_MINIMUM) };
    }
    const size = Math.min(memoryMiB * MIB, MAX_REGION_SIZE);
    if (size < memoryMiB * MIB) {
      this.log(
        `EAL: ${memoryMiB} MiB of packet memory were asked for: ${formatMiB(size)} are used, the most that one memory file holds`,
      );
    }
    return { huge: size, ordinary: size };
  }

  private createMemory(size: { readonly huge: number; readonly ordinary: number }): Region {
    const { noHuge, filePrefix } = this.options;
    const name = `${filePrefix ?? 'virtio-pmd'}-memory`;
    const huge = noHuge ? undefined : this.tryHuge(name, size.huge);
    if (huge === undefined && this.physical) {
      throw new VirtioPmdError(
        'EMEMORY',
        'a device that no IOMMU translates for reads physical addresses, which only hugepages keep: reserve some (sysctl -w vm.nr_hugepages=256) and leave out --no-huge, or put the device behind an IOMMU (QEMU: iommu_platform=on) and bind it to vfio-pci',
      );
    }
    return huge ?? this.system.createRegion(name, size.ordinary, false);
  }

  private tryHuge(name: string, byteLength: number): Region | undefined {
    const wanted = Math.ceil(byteLength / HUGEPAGE_SIZE);
    const { total, free } = this.system.hugepages();
    let why = `${free} of ${wanted} hugepages of 2 MiB are free`;
    if (free >= wanted) {
      try {
        return this.system.createRegion(name, byteLength, true);
      } catch (error) {
        if (!isVirtioPmdError(error, 'ESYSTEM')) throw error;
        why = `${wanted} hugepages of 2 MiB are free but could not be allocated (${error.message})`;
      }
    }
    const target = total + Math.max(wanted - free, 0);
    this.log(
      `EAL: ${why}: using ordinary pages (for hugepages: sysctl -w vm.nr_hugepages=${target}; to silence this: --no-huge)`,
    );
    return undefined;
  }

  private full(name: string, byteLength: number, region: Region): VirtioPmdError {
    const used = this.reservations.reduce((sum, r) => sum + r.byteLength, 0);
    const needed = Math.ceil((used + byteLength) / MIB) + ROOM_FOR_RINGS / MIB;
    const more = needed <= MAX_REGION_SIZE / MIB && this.ram === undefined;
    const advice = more ? `use -m ${needed}` : 'ask for fewer or smaller mbufs, or smaller rings';
    return new VirtioPmdError(
      'EMEMORY',
      `no room for ${name}: ${formatMiB(byteLength)} asked for, ${formatMiB(region.byteLength - used)} of ${formatMiB(region.byteLength)} free: ${advice}`,
    );
  }
}

/** The region without its descriptor, which other threads must not use. */
function plainMapping({ address, byteLength, holders }: Region): Mapping {
  return { address, byteLength, ...(holders && { holders }) };
}

function sameFile(a: RamFile | undefined, b: RamFile): boolean {
  if (a === undefined || a.base !== b.base || a.offset !== b.offset) return false;
  const [one, two] = [fstatSync(a.fd), fstatSync(b.fd)];
  return one.dev === two.dev && one.ino === two.ino;
}
