/**
 * The structures that vfio's requests read and fill (linux/vfio.h). An answer may be longer than the request's structure, and
 * end in a chain of capabilities. All values are checked before they are used.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import { PAGE_SIZE } from '../../../../native/region.js';
import type { AddressRange } from '../../../eal/addressing.js';
import * as V from '../../../wire/linux/vfio.js';
import { MAX_MAPPED } from '../bar.js';
import type { MsixTable } from '../config-space.js';

/** The most bytes of an answer: an IOMMU may have thousands of ranges of 16 bytes. */
const MOST = 1 << 20;

function garbled(what: string): VirtioPmdError {
  return new VirtioPmdError(
    'EPEER',
    `vfio's answer contradicts itself (${what}): it does not follow the ABI of linux/vfio.h`,
  );
}

const bytesOf = (view: DataView) => new Uint8Array(view.buffer);

/**
 * Makes a request with a structure of `size` bytes, and once more when the answer is longer.
 * @param fill writes the arguments of the request; every such structure begins with argsz, which is written here.
 * @throws VirtioPmdError EPEER for an invalid answer; the errors of `ask`
 */
function askInfo(size: number, ask: (bytes: Uint8Array) => void, fill: (view: DataView) => void = () => {}) {
  let length = size;
  for (let i = 0; i < 4; i++) {
    const view = new DataView(new ArrayBuffer(length));
    V.vfio_region_info.argsz.set(view, length);
    fill(view);
    ask(bytesOf(view));
    const wanted = V.vfio_region_info.argsz.get(view);
    if (wanted <= length) return view;
    if (wanted > MOST) throw garbled(`it would be ${wanted} bytes long`);
    length = wanted;
  }
  throw garbled('it gets longer and longer');
}

/** Offsets of the capabilities of a chain by their ids. @param first offset of the first one; 0: there are none. */
function capabilities(view: DataView, first: number): Map<number, number> {
  const header = V.vfio_info_cap_header;
  const found = new Map<number, number>();
  const seen = new Set<number>();
  for (let at = first; at !== 0;) {
    if (seen.has(at)) throw garbled('its capabilities go round in a circle');
    if (at + header.sizeof > view.byteLength) throw garbled(`a capability at ${at}, behind its end`);
    seen.add(at);
    found.set(header.id.get(view, at), at);
    at = header.next.get(view, at);
  }
  return found;
}

/** The pairs of 64-bit values that follow the `count` of a capability. */
function pairs(view: DataView, from: number, count: number): [bigint, bigint][] {
  if (from + count * 16 > view.byteLength) throw garbled(`a list of ${count} entries, longer than itself`);
  return Array.from({ length: count }, (_, i) => [
    view.getBigUint64(from + 16 * i, true),
    view.getBigUint64(from + 16 * i + 8, true),
  ]);
}

// ---- regions: BARs and the configuration space -------------------------------------------------------------------------

/** A region of a device: a BAR or the configuration space. */
export interface Region {
  readonly byteLength: number;
  /** Its offset in the device's file. */
  readonly offset: number;
  /** Parts that can be mapped: offset of the first byte, and of the byte behind the last; ascending. */
  readonly mappable: readonly (readonly [first: number, end: number])[];
}

/** Asks for a region. @param msix the table of MSI-X, which may be in this region. @throws VirtioPmdError EPEER */
export function askRegion(index: number, msix: MsixTable | undefined, ask: (bytes: Uint8Array) => void): Region {
  const struct = V.vfio_region_info;
  const view = askInfo(struct.sizeof, ask, (asked) => struct.index.set(asked, index));
  const flags = struct.flags.get(view);
  const caps = capabilities(view, (flags & V.VFIO_REGION_INFO_FLAG_CAPS) !== 0 ? struct.cap_offset.get(view) : 0);
  const byteLength = safe(struct.size.get(view));
  const region = { byteLength, offset: safe(struct.offset.get(view)) };
  if ((flags & V.VFIO_REGION_INFO_FLAG_MMAP) === 0) return { ...region, mappable: [] };
  const sparse = caps.get(V.VFIO_REGION_INFO_CAP_SPARSE_MMAP);
  const mayMapTable = caps.has(V.VFIO_REGION_INFO_CAP_MSIX_MAPPABLE) || msix?.bar !== index;
  const whole: [number, number][] = mayMapTable ? [[0, byteLength]] : around(msix, byteLength);
  return { ...region, mappable: clip(sparse === undefined ? whole : sparseAreas(view, sparse), byteLength) };
}

function safe(value: bigint): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw garbled(`a region of ${value} bytes, or at byte ${value}`);
  return Number(value);
}

function sparseAreas(view: DataView, at: number): [number, number][] {
  const struct = V.vfio_region_info_cap_sparse_mmap;
  if (at + struct.sizeof > view.byteLength) throw garbled('a capability is cut off');
  const count = struct.nr_areas.get(view, at);
  return pairs(view, at + struct.sizeof, count).map(([offset, size]) => [safe(offset), safe(offset + size)]);
}

/** The parts of a BAR without the pages of the table, which an old vfio does not map. */
function around({ first, end }: MsixTable, byteLength: number): [number, number][] {
  const up = (at: number) => Math.ceil(at / PAGE_SIZE) * PAGE_SIZE;
  return [
    [0, first - (first % PAGE_SIZE)],
    [up(end), byteLength],
  ];
}

/** Limits the parts to the region, to whole pages, and to the most that is mapped. */
function clip(areas: readonly [number, number][], byteLength: number): [number, number][] {
  return areas
    .map(([first, end]): [number, number] => [first, Math.min(end, byteLength, first + MAX_MAPPED)])
    .filter(([first, end]) => first < end && first % PAGE_SIZE === 0 && (end === byteLength || end % PAGE_SIZE === 0))
    .sort(([a], [b]) => a - b);
}

// ---- the IOMMU -----------------------------------------------------------------------------------------------------------

/**
 * The ranges for a kernel older than 5.7, which does not report them: 39 bits, the least that an IOMMU has, without the addresses
 * of interrupt messages on x86.
 */
const UNTOLD: readonly AddressRange[] = [
  [0n, 0xfedf_ffffn],
  [0xfef0_0000n, (1n << 39n) - 1n],
];

/** Addresses that the IOMMU translates. @throws VirtioPmdError EPEER */
export function askRanges(ask: (bytes: Uint8Array) => void): readonly AddressRange[] {
  const struct = V.vfio_iommu_type1_info;
  const view = askInfo(struct.sizeof, ask);
  if ((struct.flags.get(view) & V.VFIO_IOMMU_INFO_CAPS) === 0) return UNTOLD;
  const at = capabilities(view, struct.cap_offset.get(view)).get(V.VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE);
  if (at === undefined) return UNTOLD;
  const cap = V.vfio_iommu_type1_info_cap_iova_range;
  if (at + cap.sizeof > view.byteLength) throw garbled('a capability is cut off');
  return pairs(view, at + cap.sizeof, cap.nr_iovas.get(view, at));
}

/** The argument of VFIO_IOMMU_MAP_DMA, for reading and writing. */
export function dmaMap(userAddress: bigint, byteLength: number, deviceAddress: bigint): Uint8Array {
  const struct = V.vfio_iommu_type1_dma_map;
  const view = new DataView(new ArrayBuffer(struct.sizeof));
  struct.argsz.set(view, struct.sizeof);
  struct.flags.set(view, V.VFIO_DMA_MAP_FLAG_READ | V.VFIO_DMA_MAP_FLAG_WRITE);
  struct.vaddr.set(view, userAddress);
  struct.iova.set(view, deviceAddress);
  struct.size.set(view, BigInt(byteLength));
  return bytesOf(view);
}

/** The argument of VFIO_IOMMU_UNMAP_DMA. */
export function dmaUnmap(byteLength: number, deviceAddress: bigint): Uint8Array {
  const struct = V.vfio_iommu_type1_dma_unmap;
  const view = new DataView(new ArrayBuffer(struct.sizeof));
  struct.argsz.set(view, struct.sizeof);
  struct.iova.set(view, deviceAddress);
  struct.size.set(view, BigInt(byteLength));
  return bytesOf(view);
}

// ---- groups, devices, interrupts -----------------------------------------------------------------------------------------

/** Flags of a group. */
export function askGroup(ask: (bytes: Uint8Array) => void): number {
  return V.vfio_group_status.flags.get(askInfo(V.vfio_group_status.sizeof, ask));
}

/** Flags of a device, and its number of kinds of interrupt. */
export function askDevice(ask: (bytes: Uint8Array) => void): { flags: number; irqs: number } {
  const struct = V.vfio_device_info;
  const view = askInfo(struct.sizeof, ask);
  return { flags: struct.flags.get(view), irqs: struct.num_irqs.get(view) };
}

/** The number of interrupts of a kind that can signal an eventfd. */
export function askIrqs(index: number, ask: (bytes: Uint8Array) => void): number {
  const struct = V.vfio_irq_info;
  const view = askInfo(struct.sizeof, ask, (asked) => struct.index.set(asked, index));
  return (struct.flags.get(view) & V.VFIO_IRQ_INFO_EVENTFD) !== 0 ? struct.count.get(view) : 0;
}

/**
 * Sets the eventfds of the interrupts of a kind, from the first on. An empty list disables the kind.
 * @param action VFIO_IRQ_SET_ACTION_*
 */
export function irqSet(index: number, action: number, fds: readonly number[]): Uint8Array {
  const struct = V.vfio_irq_set;
  const view = new DataView(new ArrayBuffer(struct.sizeof + 4 * fds.length));
  struct.argsz.set(view, view.byteLength);
  struct.flags.set(view, action | (fds.length > 0 ? V.VFIO_IRQ_SET_DATA_EVENTFD : V.VFIO_IRQ_SET_DATA_NONE));
  struct.index.set(view, index);
  struct.count.set(view, fds.length);
  fds.forEach((fd, i) => view.setInt32(struct.sizeof + 4 * i, fd, true));
  return bytesOf(view);
}

/** Unmasks the first interrupt of a kind, which the kernel masks when it fires. */
export function irqUnmask(index: number): Uint8Array {
  const struct = V.vfio_irq_set;
  const view = new DataView(new ArrayBuffer(struct.sizeof));
  struct.argsz.set(view, struct.sizeof);
  struct.flags.set(view, V.VFIO_IRQ_SET_ACTION_UNMASK | V.VFIO_IRQ_SET_DATA_NONE);
  struct.index.set(view, index);
  struct.count.set(view, 1);
  return bytesOf(view);
}
