/**
 * A kernel with vfio, as far as one process can tell: containers, groups, one device for each function of a mock sysfs.
 * It follows linux/vfio.h by offsets of its own, says EINVAL where the kernel does, and keeps count of what is open.
 */
import { SystemError } from '../../../../../native/errors.js';
import {
  closeFd,
  createRegion,
  destroyRegion,
  viewsOf,
  type Mapping,
  type Region,
} from '../../../../../native/region.js';
import { systemAt, type PciSystem, type VfioRequest } from '../../../../../driver/virtio/pci/system.js';
import { fail, tell, viewOf, withCaps, type FakeCap } from './mock-vfio-info.js';
import type { Scope } from '../../../../support/peers.js';

export const INTX = 0;
export const MSIX = 2;
export const ERR = 3;
export const REQ = 4;

export interface FakeRegion {
  readonly byteLength: number;
  /** Default: a memory BAR that may be mapped. */
  readonly mappable?: boolean;
  readonly caps?: readonly FakeCap[];
  /** argsz of every answer, whatever was asked with. */
  readonly argsz?: (asked: number) => number;
}

export interface FakeVfioOptions {
  readonly config: Uint8Array;
  readonly regions?: Readonly<Record<number, FakeRegion>>;
  /** Interrupts by kind. */
  readonly irqs?: Readonly<Record<number, number>>;
  /** Groups whose device nodes are there: '7', 'noiommu-7'. */
  readonly groups: readonly string[];
  readonly extensions?: readonly number[];
  readonly viable?: boolean;
  readonly apiVersion?: number;
  readonly iommuCaps?: readonly FakeCap[];
  /** Flags of the device; default: a PCI device that can be reset. */
  readonly deviceFlags?: number;
  /** Vectors that the kernel can give, when it is asked for more. */
  readonly vectorsToGive?: number;
}

type Thing =
  | { kind: 'container'; groups: Set<number>; iommu: number }
  | { kind: 'group'; noIommu: boolean; container: number }
  | { kind: 'nothing' }
  | { kind: 'device'; address: string; irqType: number; fds: Map<number, number[]> };

const REGION_SHIFT = 2 ** 40;
const CONFIG = 7;

export class FakeVfio implements PciSystem {
  readonly root: string;
  /** Requests, in their order. */
  readonly calls: string[] = [];
  /** Mapped for DMA: device address to address and length. */
  readonly dma = new Map<bigint, { vaddr: bigint; size: bigint }>();
  readonly resets: string[] = [];
  /** Errno of the next call of a request. */
  readonly failures = new Map<VfioRequest | 'open' | 'map', string>();
  /** Accesses to the device's file, as "read 4 at 7:16". */
  readonly accesses: string[] = [];
  /** How often the line interrupt was allowed to fire again. */
  unmasked = 0;
  unplugged = false;
  time = 0;
  private readonly things = new Map<number, Thing>();
  private readonly memory = new Map<number, Region>();
  private readonly eventFds = new Set<number>();
  private readonly mappings = new Set<bigint>();
  private next = 100_000;

  constructor(
    scope: Scope,
    root: string,
    private readonly options: FakeVfioOptions,
  ) {
    this.root = root;
    for (const [index, { byteLength }] of Object.entries(options.regions ?? {})) {
      if (byteLength > 0) this.memory.set(Number(index), createRegion('fake-bar', byteLength, false));
    }
    scope.teardown(() => this.memory.forEach(destroyRegion));
  }

  /** What is still open or mapped. */
  get leftovers(): string[] {
    return [
      ...[...this.things.values()].map(({ kind }) => kind),
      ...[...this.eventFds].map(() => 'eventfd'),
      ...[...this.mappings].map(() => 'mapping'),
      ...[...this.dma.keys()].map(() => 'DMA'),
    ];
  }

  /** The bytes behind a BAR. */
  bytes(index: number): Uint8Array {
    return viewsOf(this.memory.get(index)!).u8;
  }

  /** The eventfds that are set for a kind of interrupt. */
  irqFds(index: number): readonly number[] {
    const device = [...this.things.values()].find((thing) => thing.kind === 'device');
    return device?.fds.get(index) ?? [];
  }

  // ---- files -----------------------------------------------------------------------------------------------------------

  private add(thing: Thing): number {
    this.things.set(this.next, thing);
    return this.next++;
  }

  private failIfAsked(what: VfioRequest | 'open' | 'map'): void {
    const errno = this.failures.get(what);
    this.failures.delete(what);
    if (errno !== undefined) throw new SystemError(what, errno);
  }

  open(path: string): number {
    this.failIfAsked('open');
    this.calls.push(`open ${path}`);
    if (path === '/dev/vfio/vfio') return this.add({ kind: 'container', groups: new Set(), iommu: 0 });
    const group = /^\/dev\/vfio\/(.*)$/.exec(path)?.[1];
    if (group === undefined || !this.options.groups.includes(group)) throw new SystemError('open', 'ENOENT', path);
    return this.add({ kind: 'group', noIommu: group.startsWith('noiommu-'), container: 0 });
  }

  close(fd: number): void {
    const thing = this.things.get(fd);
    if (this.eventFds.delete(fd)) closeFd(fd);
    else if (thing === undefined) throw new Error(`${fd} is not open`);
    if (thing?.kind === 'container') this.dma.clear();
    this.things.delete(fd);
  }

  private access(verb: string, fd: number, bytes: Uint8Array, position: number): Uint8Array {
    const kind = this.things.get(fd)?.kind;
    if (kind === 'nothing') return new Uint8Array(0);
    if (kind !== 'device') throw new SystemError('pread', 'EBADF');
    if (this.unplugged) throw new SystemError('pread', 'ENODEV');
    const index = Math.floor(position / REGION_SHIFT);
    const offset = position % REGION_SHIFT;
    this.accesses.push(`${verb} ${bytes.length} at ${index}:${offset}`);
    const memory = index === CONFIG ? this.options.config : this.bytes(index);
    return memory.subarray(offset, offset + bytes.length);
  }

  readAt(fd: number, bytes: Uint8Array, position: number): number {
    const found = this.access('read', fd, bytes, position);
    bytes.set(found);
    return found.length;
  }

  writeAt(fd: number, bytes: Uint8Array, position: number): number {
    const place = this.access('write', fd, bytes, position);
    place.set(bytes.subarray(0, place.length));
    return bytes.length;
  }

  read(): number {
    throw new Error('vfio reads no file without a position');
  }

  write(): void {
    throw new Error('nor does it write one');
  }

  map(fd: number, byteLength: number, position: number): Mapping {
    this.failIfAsked('map');
    const index = Math.floor(position / REGION_SHIFT);
    const offset = position % REGION_SHIFT;
    const region = this.memory.get(index);
    if (this.things.get(fd)?.kind !== 'device' || region === undefined || offset % 4096 !== 0) {
      throw new SystemError('mmap', 'EINVAL');
    }
    if (offset + byteLength > region.byteLength) throw new SystemError('mmap', 'EINVAL');
    const address = region.address + BigInt(offset);
    this.calls.push(`map ${index}: ${offset} to ${offset + byteLength}`);
    this.mappings.add(address);
    return { address, byteLength };
  }

  hollowOut(fd: number): void {
    if (!this.things.has(fd)) throw new Error(`${fd} is not open`);
    this.things.set(fd, { kind: 'nothing' });
  }

  hollowOutMapping(mapping: Mapping): void {
    if (!this.mappings.has(mapping.address)) throw new Error('not mapped');
    this.calls.push('hollow out a mapping');
  }

  unmap(mapping: Mapping): void {
    if (!this.mappings.delete(mapping.address)) throw new Error('unmapped before');
  }

  createEventFd(): number {
    const fd = systemAt().createEventFd();
    this.eventFds.add(fd);
    return fd;
  }

  drain(fd: number): boolean {
    return systemAt().drain(fd);
  }

  now(): number {
    return this.time;
  }

  // ---- requests ----------------------------------------------------------------------------------------------------------

  ioctl(fd: number, request: VfioRequest, argument: number | Uint8Array): number {
    this.calls.push(request);
    this.failIfAsked(request);
    const thing = this.things.get(fd);
    if (thing === undefined) fail('EBADF');
    const bytes = typeof argument === 'number' ? new Uint8Array(0) : argument;
    const value = typeof argument === 'number' ? argument : 0;
    switch (thing.kind) {
      case 'container':
        return this.containerRequest(thing, request, value, bytes);
      case 'group':
        return this.groupRequest(thing, fd, request, bytes);
      case 'device':
        return this.deviceRequest(thing, request, bytes);
      case 'nothing':
        return fail('ENOTTY');
    }
  }

  private containerRequest(
    container: Thing & { kind: 'container' },
    request: VfioRequest,
    value: number,
    bytes: Uint8Array,
  ): number {
    const view = viewOf(bytes);
    switch (request) {
      case 'VFIO_GET_API_VERSION':
        return this.options.apiVersion ?? 0;
      case 'VFIO_CHECK_EXTENSION':
        return (this.options.extensions ?? [1, 3]).includes(value) ? 1 : 0;
      case 'VFIO_SET_IOMMU':
        if (container.groups.size === 0 || container.iommu !== 0) fail('EINVAL');
        container.iommu = value;
        return 0;
      case 'VFIO_IOMMU_GET_INFO': {
        if (container.iommu === 0) fail('EINVAL');
        const fixed = new Uint8Array(24);
        const caps = this.options.iommuCaps ?? [];
        viewOf(fixed).setUint32(4, 1 | (caps.length > 0 ? 2 : 0), true);
        tell(bytes, withCaps(fixed, caps, 16), 20, 16);
        return 0;
      }
      case 'VFIO_IOMMU_MAP_DMA': {
        if (container.iommu === 0 || view.getUint32(0, true) !== 32 || view.getUint32(4, true) !== 3) fail('EINVAL');
        const iova = view.getBigUint64(16, true);
        if (this.dma.has(iova)) fail('EEXIST');
        this.dma.set(iova, { vaddr: view.getBigUint64(8, true), size: view.getBigUint64(24, true) });
        return 0;
      }
      case 'VFIO_IOMMU_UNMAP_DMA': {
        const iova = view.getBigUint64(8, true);
        if (view.getUint32(0, true) !== 24 || this.dma.get(iova)?.size !== view.getBigUint64(16, true)) fail('EINVAL');
        this.dma.delete(iova);
        return 0;
      }
      default:
        return fail('ENOTTY');
    }
  }

  private groupRequest(group: Thing & { kind: 'group' }, fd: number, request: VfioRequest, bytes: Uint8Array): number {
    const container = this.things.get(group.container);
    switch (request) {
      case 'VFIO_GROUP_GET_STATUS':
        viewOf(bytes).setUint32(4, (this.options.viable ?? true) ? 1 : 0, true);
        return 0;
      case 'VFIO_GROUP_SET_CONTAINER': {
        const to = viewOf(bytes).getInt32(0, true);
        const target = this.things.get(to);
        if (container !== undefined || target?.kind !== 'container') fail('EINVAL');
        target.groups.add(fd);
        group.container = to;
        return 0;
      }
      case 'VFIO_GROUP_UNSET_CONTAINER':
        if (container?.kind !== 'container') fail('EINVAL');
        if ([...this.things.values()].some(({ kind }) => kind === 'device') && container.groups.size === 1)
          fail('EBUSY');
        container.groups.delete(fd);
        if (container.groups.size === 0) container.iommu = 0;
        group.container = 0;
        return 0;
      case 'VFIO_GROUP_GET_DEVICE_FD': {
        if (container?.kind !== 'container' || container.iommu === 0 || bytes.at(-1) !== 0) fail('EINVAL');
        const address = new TextDecoder().decode(bytes.subarray(0, -1));
        return this.add({ kind: 'device', address, irqType: -1, fds: new Map() });
      }
      default:
        return fail('ENOTTY');
    }
  }

  private deviceRequest(device: Thing & { kind: 'device' }, request: VfioRequest, bytes: Uint8Array): number {
    const view = viewOf(bytes);
    switch (request) {
      case 'VFIO_DEVICE_GET_INFO':
        view.setUint32(4, this.options.deviceFlags ?? 3, true);
        view.setUint32(8, 9, true);
        view.setUint32(12, 5, true);
        return 0;
      case 'VFIO_DEVICE_GET_REGION_INFO':
        this.regionInfo(view.getUint32(8, true), bytes);
        return 0;
      case 'VFIO_DEVICE_GET_IRQ_INFO': {
        const count = this.options.irqs?.[view.getUint32(8, true)];
        if (count === undefined) fail('EINVAL');
        view.setUint32(4, 1, true);
        view.setUint32(12, count, true);
        return 0;
      }
      case 'VFIO_DEVICE_SET_IRQS':
        return this.setIrqs(device, view);
      case 'VFIO_DEVICE_RESET':
        this.resets.push(device.address);
        return 0;
      default:
        return fail('ENOTTY');
    }
  }

  private regionInfo(index: number, bytes: Uint8Array): void {
    const region: FakeRegion =
      index === CONFIG ? { byteLength: 256, mappable: false } : (this.options.regions?.[index] ?? { byteLength: 0 });
    const { byteLength, mappable = true, caps = [], argsz } = region;
    const fixed = new Uint8Array(32);
    const view = viewOf(fixed);
    view.setUint32(4, 3 | (mappable ? 4 : 0) | (caps.length > 0 ? 8 : 0), true);
    view.setUint32(8, index, true);
    view.setBigUint64(16, BigInt(byteLength), true);
    view.setBigUint64(24, BigInt(index) * BigInt(REGION_SHIFT), true);
    tell(bytes, withCaps(fixed, caps, 12), 32, 12);
    if (argsz !== undefined) viewOf(bytes).setUint32(0, argsz(bytes.length), true);
  }

  private setIrqs(device: Thing & { kind: 'device' }, view: DataView): number {
    const [argsz, flags, index, start, count] = [0, 4, 8, 12, 16].map((at) => view.getUint32(at, true)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const [none, eventfd, unmask, trigger] = [1, 4, 16, 32].map((bit) => (flags & bit) !== 0);
    if (argsz !== view.byteLength || start !== 0 || none === eventfd) fail('EINVAL');
    if (view.byteLength !== 20 + (eventfd ? 4 * count : 0)) fail('EINVAL');
    if (unmask) {
      if (index !== INTX || device.irqType !== INTX || count !== 1) fail('EINVAL');
      this.unmasked++;
      return 0;
    }
    if (!trigger || count > (this.options.irqs?.[index] ?? 0)) fail('EINVAL');
    const signals = index === ERR || index === REQ;
    if (none) {
      if (count !== 0 || (!signals && device.irqType !== index)) fail('EINVAL');
      device.fds.delete(index);
      if (!signals) device.irqType = -1;
      return 0;
    }
    // one kind at a time, and MSI-X is enabled with all its vectors at once
    if (!signals && device.irqType !== -1) fail('EINVAL');
    if (index === MSIX && count > (this.options.vectorsToGive ?? count)) return this.options.vectorsToGive!;
    if (!signals) device.irqType = index;
    device.fds.set(
      index,
      Array.from({ length: count }, (_, i) => view.getInt32(20 + 4 * i, true)),
    );
    return 0;
  }
}
