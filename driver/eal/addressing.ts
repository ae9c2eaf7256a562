/**
 * Which addresses devices are given for DMA: decisions without I/O. A vhost-user back-end takes any address in its memory
 * table. A PCI device takes those that its IOMMU translates, or physical ones, or those of an emulated machine whose RAM we share.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { HUGEPAGE_SIZE } from '../../native/region.js';
import { formatMiB } from '../../native/sizes.js';

/** First and last address of a range that an IOMMU translates. */
export type AddressRange = readonly [first: bigint, last: bigint];

/** RAM of an emulated machine: `byteLength` bytes of the file `fd`, from `offset` on, which its devices see at `base`. */
export interface RamFile {
  readonly fd: number;
  readonly offset: number;
  readonly byteLength: number;
  readonly base: bigint;
}

/** The kind of addresses that a device needs. */
export type Addressing =
  /** An IOMMU translates: any address in `ranges` can be used; no ranges: any address. */
  | { readonly kind: 'iova'; readonly ranges: readonly AddressRange[] }
  /** No translation: physical addresses, of hugepages. */
  | { readonly kind: 'physical' }
  /** No translation, and all RAM is one file. */
  | ({ readonly kind: 'file' } & RamFile);

/** A piece of packet memory that is contiguous for a device. */
export interface DmaRun {
  /** Bytes from the start of the packet memory. */
  readonly offset: number;
  readonly byteLength: number;
  readonly deviceAddress: bigint;
}

/**
 * Guest-physical address of the memory's first byte, where the driver may choose it. It is not 0, which some peers take for
 * "no address". It is a multiple of 4 GiB, so that a region (below 2 GiB) never crosses one and all addresses have the same
 * high word. It is low, because an IOMMU may offer only 39 bits.
 */
export const DEVICE_BASE = 0x1_0000_0000n;

const FOUR_GIB = 1n << 32n;
const ALIGN = BigInt(HUGEPAGE_SIZE);

/** True when one of `ranges` has all `byteLength` bytes from `base` on. No ranges: every address is allowed. */
function holds(ranges: readonly AddressRange[], base: bigint, byteLength: bigint): boolean {
  return ranges.length === 0 || ranges.some(([first, last]) => base >= first && base + byteLength - 1n <= last);
}

/**
 * A base for `byteLength` bytes that every list of ranges allows: DEVICE_BASE, else the lowest multiple of 2 MiB.
 * @throws VirtioPmdError EMEMORY when there is none
 */
export function chooseBase(byteLength: number, all: readonly (readonly AddressRange[])[]): bigint {
  const size = BigInt(byteLength);
  const starts = all.flat().map(([first]) => {
    const start = first === 0n ? ALIGN : ((first + ALIGN - 1n) / ALIGN) * ALIGN;
    // a region that would cross 4 GiB begins there
    return start / FOUR_GIB === (start + size - 1n) / FOUR_GIB ? start : (start / FOUR_GIB + 1n) * FOUR_GIB;
  });
  const candidates = [DEVICE_BASE, ...starts.sort((a, b) => (a < b ? -1 : 1))];
  const base = candidates.find((candidate) => all.every((ranges) => holds(ranges, candidate, size)));
  if (base !== undefined) return base;
  throw new VirtioPmdError(
    'EMEMORY',
    `the IOMMU leaves no room for ${formatMiB(byteLength)} of packet memory in one piece below a multiple of 4 GiB: use a smaller -m`,
  );
}

/** Checks that a device with `ranges` can reach all of the memory. @throws VirtioPmdError EMEMORY when it cannot */
export function checkReach(runs: readonly DmaRun[], ranges: readonly AddressRange[]): void {
  const outside = runs.find((run) => !holds(ranges, run.deviceAddress, BigInt(run.byteLength)));
  if (outside === undefined) return;
  throw new VirtioPmdError(
    'EMEMORY',
    `the IOMMU does not translate 0x${outside.deviceAddress.toString(16)}, where the packet memory lies already: attach this device before any mempool is made`,
  );
}

/** @param pages physical address of each 2 MiB page, in the order of the memory. @returns the contiguous pieces, ascending by offset. */
export function runsOfPages(pages: readonly bigint[]): DmaRun[] {
  const runs: DmaRun[] = [];
  pages.forEach((deviceAddress, page) => {
    const last = runs.at(-1);
    const follows = last !== undefined && last.deviceAddress + BigInt(last.byteLength) === deviceAddress;
    // not across 4 GiB, so that the high word is the same for a whole piece
    if (follows && deviceAddress % FOUR_GIB !== 0n) {
      runs[runs.length - 1] = { ...last, byteLength: last.byteLength + HUGEPAGE_SIZE };
    } else {
      runs.push({ offset: page * HUGEPAGE_SIZE, byteLength: HUGEPAGE_SIZE, deviceAddress });
    }
  });
  return runs;
}

/** The piece with byte `offset`. @param runs ascending by offset, at least one. */
export function runOf(runs: readonly DmaRun[], offset: number): DmaRun {
  let low = 0;
  let high = runs.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (runs[middle]!.offset <= offset) low = middle;
    else high = middle - 1;
  }
  return runs[low]!;
}
