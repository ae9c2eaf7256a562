/**
 * A kernel with one vhost-vdpa device, as far as one process can tell. It follows drivers/vhost/vdpa.c by offsets of its own,
 * refuses what the kernel refuses, and keeps count of what is open and mapped.
 */
import assert from 'node:assert/strict';
import { SystemError } from '../../../../../native/errors.js';
import { createEventFd, drainFd, signalFd } from '../../../../../native/event.js';
import { closeFd } from '../../../../../native/region.js';
import type { VdpaRequest, VdpaSystem } from '../../../../../driver/virtio/user/vdpa/system.js';
import * as F from '../../../../../driver/wire/virtio-features.js';

export const FAKE_VDPA_OFFER =
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_F_IOMMU_PLATFORM |
  F.VIRTIO_F_RING_PACKED |
  F.VIRTIO_NET_F_MAC |
  F.VIRTIO_NET_F_STATUS |
  F.VIRTIO_NET_F_CTRL_VQ |
  F.VIRTIO_NET_F_CTRL_RX |
  F.VIRTIO_NET_F_MTU;

export const MSG_V2 = 1n << 1n;
export const BATCH = 1n << 2n;
export const ASID = 1n << 3n;
const PATH = '/dev/vhost-vdpa-0';
const ENTRY = '/sys/dev/char/511:0';

export interface FakeVdpaOptions {
  readonly offered?: bigint;
  readonly backendFeatures?: bigint;
  readonly deviceId?: number;
  readonly queues?: number;
  readonly ringSize?: number;
  readonly maxPairs?: number;
  readonly configSize?: number;
  readonly range?: readonly [bigint, bigint];
  /** What mac= becomes; false: it stays what it is. */
  readonly takesMac?: boolean;
  /** Requests that the kernel is too old for. */
  readonly unknown?: readonly VdpaRequest[];
  /** sysfs is not mounted. */
  readonly noSysfs?: boolean;
}

interface FakeVring {
  size: number;
  base: number;
  desc: bigint;
  used: bigint;
  avail: bigint;
  kick: number;
  call: number;
  enabled: boolean;
}

export interface FakeMapping {
  readonly iova: bigint;
  readonly size: bigint;
  readonly uaddr: bigint;
}

const newVring = (): FakeVring => ({
  ...{ size: 0, base: 0, desc: 0n, used: 0n, avail: 0n, kick: -1, call: -1, enabled: false },
});

export class FakeVdpa implements VdpaSystem {
  readonly path = PATH;
  /** Calls, in their order; requests about a virtqueue as `VHOST_SET_VRING_NUM 0 256`. */
  readonly calls: string[] = [];
  /** Errno of the next call of a kind. */
  readonly failures = new Map<VdpaRequest | 'open' | 'write', string>();
  /** Errno of the call with this number, counted from 0; and of all behind it when the device is gone. */
  failAt: { readonly call: number; readonly errno: string; readonly forGood?: boolean } | undefined;
  mappings: FakeMapping[] = [];
  vrings: FakeVring[];
  status = 0;
  driverFeatures = 0n;
  /** virtio_net_config */
  readonly net: DataView;
  removed = false;
  inBatch = false;
  configCall = -1;
  /** What the device does when a virtqueue is kicked. */
  onKick: (index: number) => void = () => undefined;
  private readonly opened = new Set<number>();
  private readonly eventFds = new Set<number>();
  private owned = false;
  private count = 0;
  private next = 200_000;

  constructor(private readonly options: FakeVdpaOptions = {}) {
    const { queues = 3, maxPairs = 1, configSize = 24 } = options;
    this.vrings = Array.from({ length: queues }, newVring);
    this.net = new DataView(new ArrayBuffer(configSize));
    if (configSize < 12) return;
    [0x52, 0x54, 0x00, 0x12, 0x34, 0x56].forEach((byte, i) => this.net.setUint8(i, byte));
    this.net.setUint16(6, 1, true);
    this.net.setUint16(8, maxPairs, true);
    this.net.setUint16(10, 1500, true);
  }

  /** What is still open or mapped. */
  get leftovers(): string[] {
    return [
      ...[...this.opened].map(() => 'file'),
      ...[...this.eventFds].map(() => 'eventfd'),
      ...this.mappings.map(() => 'mapping'),
    ];
  }

  /** How many calls there have been. */
  get callCount(): number {
    return this.count;
  }

  private begin(what: VdpaRequest | 'open' | 'write', line: string = what): void {
    this.calls.push(line);
    const number = this.count++;
    const { failAt } = this;
    if (failAt !== undefined && (number === failAt.call || (failAt.forGood === true && number > failAt.call))) {
      throw new SystemError(what, failAt.errno);
    }
    const errno = this.failures.get(what);
    this.failures.delete(what);
    if (errno !== undefined) throw new SystemError(what, errno);
  }

  // ---- files -----------------------------------------------------------------------------------------------------------

  open(path: string): number {
    this.begin('open', `open ${path}`);
    if (path !== PATH) throw new SystemError('open', 'ENOENT');
    if (this.opened.size > 0) throw new SystemError('open', 'EBUSY');
    this.reset();
    this.opened.add(this.next);
    return this.next++;
  }

  close(fd: number): void {
    if (this.eventFds.delete(fd)) return closeFd(fd);
    assert.ok(this.opened.delete(fd), `descriptor ${fd} is closed, which is not open`);
    this.reset();
    this.mappings = [];
    this.owned = false;
    this.inBatch = false;
  }

  entryOf(fd: number): string {
    assert.ok(this.opened.has(fd));
    return ENTRY;
  }

  exists(entry: string): boolean {
    assert.equal(entry, ENTRY);
    return !this.removed && this.options.noSysfs !== true;
  }

  createEventFd(): number {
    const fd = createEventFd();
    this.eventFds.add(fd);
    return fd;
  }

  signal(fd: number): void {
    signalFd(fd);
    const index = this.vrings.findIndex((vring) => vring.kick === fd && vring.enabled);
    if (index >= 0 && (this.status & F.STATUS_DRIVER_OK) !== 0) this.onKick(index);
  }

  drain(fd: number): boolean {
    return drainFd(fd);
  }

  /** The device changes its configuration. */
  changeConfig(change: (net: DataView) => void): void {
    change(this.net);
    if (this.configCall >= 0) signalFd(this.configCall);
  }

  private reset(): void {
    this.status = 0;
    this.driverFeatures = 0n;
    this.vrings = this.vrings.map(newVring);
  }

  // ---- requests --------------------------------------------------------------------------------------------------------

  ioctl(fd: number, request: VdpaRequest, argument: number | Uint8Array): number {
    assert.ok(this.opened.has(fd), `${request} on a closed file`);
    const bytes = typeof argument === 'number' ? new Uint8Array(0) : argument;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isVring = request.includes('_VRING_') && request !== 'VHOST_VDPA_GET_VRING_NUM';
    const words = isVring ? ` ${view.getUint32(0, true)}${bytes.length === 8 ? ` ${view.getInt32(4, true)}` : ''}` : '';
    const status = request === 'VHOST_VDPA_SET_STATUS' ? ` 0x${view.getUint8(0).toString(16)}` : '';
    this.begin(request, request + words + status);
    const refuse = (errno: string): never => {
      throw new SystemError(request, errno);
    };
    if (this.options.unknown?.includes(request)) refuse('ENOTTY');
    if (isVring) this.vring(request, view, refuse);
    else this.request(request, view, refuse);
    return 0;
  }

  private request(request: VdpaRequest, view: DataView, refuse: (errno: string) => never): void {
    const { options } = this;
    switch (request) {
      case 'VHOST_SET_OWNER':
        if (this.owned) refuse('EBUSY');
        this.owned = true;
        break;
      case 'VHOST_VDPA_GET_DEVICE_ID':
        return view.setUint32(0, options.deviceId ?? 1, true);
      case 'VHOST_GET_BACKEND_FEATURES':
        return view.setBigUint64(0, options.backendFeatures ?? MSG_V2 | BATCH | ASID, true);
      case 'VHOST_SET_BACKEND_FEATURES':
        if (view.getBigUint64(0, true) & ~(options.backendFeatures ?? MSG_V2 | BATCH)) refuse('EOPNOTSUPP');
        break;
      case 'VHOST_GET_FEATURES':
        return view.setBigUint64(0, options.offered ?? FAKE_VDPA_OFFER, true);
      case 'VHOST_SET_FEATURES':
        if (this.status & F.STATUS_FEATURES_OK) refuse('EBUSY');
        if ((view.getBigUint64(0, true) & F.VIRTIO_F_IOMMU_PLATFORM) === 0n) refuse('EINVAL');
        this.driverFeatures = view.getBigUint64(0, true);
        break;
      case 'VHOST_VDPA_GET_STATUS':
        return view.setUint8(0, this.status);
      case 'VHOST_VDPA_SET_STATUS':
        if (view.getUint8(0) !== 0 && (this.status & ~view.getUint8(0)) !== 0) refuse('EINVAL');
        if (view.getUint8(0) === 0) this.reset();
        this.status = view.getUint8(0);
        break;
      case 'VHOST_VDPA_GET_VRING_NUM':
        return view.setUint16(0, options.ringSize ?? 256, true);
      case 'VHOST_VDPA_GET_VQS_COUNT':
        return view.setUint32(0, this.vrings.length, true);
      case 'VHOST_VDPA_GET_CONFIG_SIZE':
        return view.setUint32(0, this.net.byteLength, true);
      case 'VHOST_VDPA_GET_IOVA_RANGE':
        view.setBigUint64(0, options.range?.[0] ?? 0n, true);
        return view.setBigUint64(8, options.range?.[1] ?? (1n << 64n) - 1n, true);
      case 'VHOST_VDPA_SET_CONFIG_CALL':
        this.configCall = view.getInt32(0, true);
        break;
      case 'VHOST_VDPA_GET_CONFIG':
      case 'VHOST_VDPA_SET_CONFIG':
        this.config(request, view, refuse);
        break;
      default:
        refuse('ENOTTY');
    }
  }

  private config(request: VdpaRequest, view: DataView, refuse: (errno: string) => never): void {
    const [off, len] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (len === 0 || off + len > this.net.byteLength) refuse('EINVAL');
    assert.equal(view.byteLength, 8 + len, 'the kernel would copy beyond the structure');
    for (let i = 0; i < len; i++) {
      if (request === 'VHOST_VDPA_GET_CONFIG') view.setUint8(8 + i, this.net.getUint8(off + i));
      else if (this.options.takesMac !== false) this.net.setUint8(off + i, view.getUint8(8 + i));
    }
  }

  private vring(request: VdpaRequest, view: DataView, refuse: (errno: string) => never): void {
    if (!this.owned) refuse('EPERM');
    const vring = this.vrings[view.getUint32(0, true)] ?? refuse('ENOBUFS');
    const num = view.getUint32(4, true);
    const packed = (this.driverFeatures & F.VIRTIO_F_RING_PACKED) !== 0n;
    switch (request) {
      case 'VHOST_SET_VRING_NUM':
        if (num < 1 || num > 0xffff || (num & (num - 1)) !== 0) refuse('EINVAL');
        vring.size = num;
        break;
      case 'VHOST_SET_VRING_BASE':
        if (!packed && num > 0xffff) refuse('EINVAL');
        vring.base = num;
        break;
      case 'VHOST_SET_VRING_ADDR':
        assert.equal(view.getUint32(4, true), 0, 'no logging');
        vring.desc = view.getBigUint64(8, true);
        vring.used = view.getBigUint64(16, true);
        vring.avail = view.getBigUint64(24, true);
        if (vring.avail & 1n || vring.used & 3n) refuse('EINVAL');
        for (const address of [vring.desc, vring.used, vring.avail]) {
          const mapped = this.mappings.some(({ iova, size }) => address >= iova && address < iova + size);
          assert.ok(mapped, `a ring at 0x${address.toString(16)}, which is not mapped`);
        }
        break;
      case 'VHOST_SET_VRING_KICK':
      case 'VHOST_SET_VRING_CALL': {
        const fd = view.getInt32(4, true);
        if (!this.eventFds.has(fd)) refuse('EBADF');
        vring[request === 'VHOST_SET_VRING_KICK' ? 'kick' : 'call'] = fd;
        break;
      }
      case 'VHOST_VDPA_SET_VRING_ENABLE':
        assert.ok(vring.size > 0 && vring.kick >= 0, 'a ring is enabled that nothing is known of');
        vring.enabled = num === 1;
        break;
      default:
        refuse('ENOTTY');
    }
  }

  // ---- IOTLB -----------------------------------------------------------------------------------------------------------

  write(fd: number, bytes: Uint8Array): void {
    assert.ok(this.opened.has(fd), 'a message to a closed file');
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const type = view.getUint8(33);
    this.begin('write', `write ${type}`);
    assert.equal(bytes.length, 72);
    assert.equal(view.getUint32(0, true), 2, 'version 2');
    assert.equal(view.getUint32(4, true), 0, 'no address space but 0');
    const refuse = (): never => {
      throw new SystemError('write', 'EFAULT'); // whatever the reason
    };
    if (!this.owned) refuse();
    const [iova, size, uaddr] = [view.getBigUint64(8, true), view.getBigUint64(16, true), view.getBigUint64(24, true)];
    if (type === 2) {
      const [first, last] = this.options.range ?? [0n, (1n << 64n) - 1n];
      if (size === 0n || iova < first || iova + size - 1n > last) refuse();
      if (this.overlapping(iova, size).length > 0) refuse();
      assert.equal(view.getUint8(32), 3, 'for reading and writing');
      this.mappings.push({ iova, size, uaddr });
    } else if (type === 3) {
      const gone = this.overlapping(iova, size);
      this.mappings = this.mappings.filter((mapping) => !gone.includes(mapping));
    } else if (type === 5 || type === 6) {
      if (((this.options.backendFeatures ?? BATCH) & BATCH) === 0n) refuse();
      this.inBatch = type === 5;
    } else refuse();
  }

  private overlapping(iova: bigint, size: bigint): FakeMapping[] {
    return this.mappings.filter((mapping) => mapping.iova < iova + size && iova < mapping.iova + mapping.size);
  }
}
