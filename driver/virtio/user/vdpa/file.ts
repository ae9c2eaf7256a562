/**
 * /dev/vhost-vdpa-N: the requests of linux/vhost.h for one vdpa device, with their structures. They throw EPEER, with a sentence,
 * when the kernel refuses; when the device is gone, they also set `vanished`.
 */
import { SystemError, VirtioPmdError } from '../../../../native/errors.js';
import {
  vhost_vdpa_config,
  vhost_vdpa_iova_range,
  vhost_vring_addr,
  vhost_vring_file,
  vhost_vring_state,
} from '../../../wire/linux/vhost-types.js';
import { virtio_net_config } from '../../../wire/linux/virtio-net.js';
import type { VdpaRequest, VdpaSystem } from './system.js';

/** Errors of a request whose device has been removed. */
const GONE = new Set(['ENODEV', 'ENXIO']);
/** Errors of a kernel that does not have the request yet. */
const UNKNOWN = new Set(['ENOTTY', 'EOPNOTSUPP']);

const OPEN_REMEDIES: Readonly<Record<string, (path: string) => string>> = {
  ENOENT: () => 'load the module vhost_vdpa, and bind a vdpa device to it (vdpa dev show lists them)',
  ENODEV: () => 'the vdpa device is gone (vdpa dev show lists those that are there)',
  ENXIO: () => 'the vdpa device is gone (vdpa dev show lists those that are there)',
  EACCES: (path) => `run as root, or give this user ${path}`,
  EPERM: (path) => `run as root, or give this user ${path}`,
  EBUSY: (path) => `another process has it open (fuser ${path} says which): end that, or use another device`,
};

/** The three parts of a ring, as addresses of the device. */
export interface VringAddresses {
  readonly desc: bigint;
  readonly driver: bigint;
  readonly device: bigint;
}

function structure(byteLength: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(byteLength);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** An open vdpa device. */
export class VdpaFile {
  /** A request failed because the device is gone. */
  vanished = false;
  private configLength: number | undefined;
  private readonly entry: string;
  /** The device has an entry in sysfs, which disappears when the device is removed. */
  private readonly watched: boolean;
  private readonly statusByte = new Uint8Array(1);
  private closed = false;

  private constructor(
    private readonly system: VdpaSystem,
    readonly path: string,
    private readonly fd: number,
  ) {
    this.entry = system.entryOf(fd);
    this.watched = system.exists(this.entry);
  }

  /** Opens the file. @throws VirtioPmdError ESYSTEM, with what to do */
  static open(system: VdpaSystem, path: string): VdpaFile {
    let fd: number;
    try {
      fd = system.open(path);
    } catch (error) {
      if (!(error instanceof SystemError)) throw error;
      const remedy = OPEN_REMEDIES[error.errno]?.(path) ?? 'see dmesg';
      throw new VirtioPmdError('ESYSTEM', `${path} cannot be opened (${error.errno}): ${remedy}`);
    }
    return new VdpaFile(system, path, fd);
  }

  /** False once the device is being removed; the removal waits until the file is closed. */
  get present(): boolean {
    return !this.vanished && (!this.watched || this.system.exists(this.entry));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.system.close(this.fd);
  }

  // ---- requests --------------------------------------------------------------------------------------------------------

  private ioctl(request: VdpaRequest, argument: number | Uint8Array, about = ''): void {
    try {
      this.system.ioctl(this.fd, request, argument);
    } catch (error) {
      throw this.explain(error, `${request}${about}`);
    }
  }

  /** @returns whether the kernel has the request */
  private tryIoctl(request: VdpaRequest, argument: Uint8Array): boolean {
    try {
      this.system.ioctl(this.fd, request, argument);
      return true;
    } catch (error) {
      if (error instanceof SystemError && UNKNOWN.has(error.errno)) return false;
      throw this.explain(error, request);
    }
  }

  private explain(error: unknown, what: string): unknown {
    if (!(error instanceof SystemError)) return error;
    if (!GONE.has(error.errno)) {
      return new VirtioPmdError('EPEER', `${this.path}: the kernel refuses ${what} (${error.errno}): see dmesg`);
    }
    this.vanished = true;
    return this.removed();
  }

  /** The error EPEER of a device that was removed. */
  removed(): VirtioPmdError {
    return new VirtioPmdError('EPEER', `${this.path}: the vdpa device was removed: detach the port`);
  }

  /** Sends a message to the device's IOTLB. @throws SystemError when the kernel refuses it, EPEER when the device is gone */
  write(message: Uint8Array): void {
    try {
      this.system.write(this.fd, message);
    } catch (error) {
      throw error instanceof SystemError && GONE.has(error.errno) ? this.explain(error, 'a message') : error;
    }
  }

  /** The virtio device ID (virtio 1.2 section 5); undefined when the file is no vhost-vdpa device. */
  deviceId(): number | undefined {
    const { bytes, view } = structure(4);
    try {
      this.system.ioctl(this.fd, 'VHOST_VDPA_GET_DEVICE_ID', bytes);
    } catch (error) {
      if (error instanceof SystemError && !GONE.has(error.errno)) return undefined;
      throw this.explain(error, 'VHOST_VDPA_GET_DEVICE_ID');
    }
    return view.getUint32(0, true);
  }

  setOwner(): void {
    this.ioctl('VHOST_SET_OWNER', 0);
  }

  private get64(request: VdpaRequest): bigint {
    const { bytes, view } = structure(8);
    this.ioctl(request, bytes);
    return view.getBigUint64(0, true);
  }

  private set64(request: VdpaRequest, value: bigint): void {
    this.ioctl(request, new Uint8Array(BigUint64Array.of(value).buffer));
  }

  backendFeatures(): bigint {
    return this.get64('VHOST_GET_BACKEND_FEATURES');
  }

  setBackendFeatures(features: bigint): void {
    this.set64('VHOST_SET_BACKEND_FEATURES', features);
  }

  features(): bigint {
    return this.get64('VHOST_GET_FEATURES');
  }

  setFeatures(features: bigint): void {
    this.set64('VHOST_SET_FEATURES', features);
  }

  status(): number {
    this.ioctl('VHOST_VDPA_GET_STATUS', this.statusByte);
    return this.statusByte[0]!;
  }

  setStatus(status: number): void {
    this.ioctl('VHOST_VDPA_SET_STATUS', Uint8Array.of(status));
  }

  /** Descriptors of the largest ring that the device can have. */
  ringSize(): number {
    const { bytes, view } = structure(2);
    this.ioctl('VHOST_VDPA_GET_VRING_NUM', bytes);
    return view.getUint16(0, true);
  }

  /** Number of virtqueues of the device; undefined before Linux 5.18. */
  queueCount(): number | undefined {
    const { bytes, view } = structure(4);
    return this.tryIoctl('VHOST_VDPA_GET_VQS_COUNT', bytes) ? view.getUint32(0, true) : undefined;
  }

  /** First and last address that can be mapped; undefined before Linux 5.11. */
  iovaRange(): readonly [first: bigint, last: bigint] | undefined {
    const { bytes, view } = structure(vhost_vdpa_iova_range.sizeof);
    if (!this.tryIoctl('VHOST_VDPA_GET_IOVA_RANGE', bytes)) return undefined;
    return [vhost_vdpa_iova_range.first.get(view), vhost_vdpa_iova_range.last.get(view)];
  }

  // ---- configuration ---------------------------------------------------------------------------------------------------

  /** Bytes of the device configuration. A kernel before 5.18 does not say; then it is the whole of virtio_net_config. */
  get configSize(): number {
    if (this.configLength === undefined) {
      const { bytes, view } = structure(4);
      const known = this.tryIoctl('VHOST_VDPA_GET_CONFIG_SIZE', bytes);
      this.configLength = known ? view.getUint32(0, true) : virtio_net_config.sizeof;
    }
    return this.configLength;
  }

  /** `length` bytes of the device configuration from `offset` on; all ones beyond its end. */
  readConfig(offset: number, length: number): Uint8Array {
    const result = new Uint8Array(length).fill(0xff);
    const there = Math.min(length, this.configSize - offset);
    if (there <= 0) return result;
    const { bytes, view } = structure(vhost_vdpa_config.sizeof + there);
    vhost_vdpa_config.off.set(view, offset);
    vhost_vdpa_config.len.set(view, there);
    this.ioctl('VHOST_VDPA_GET_CONFIG', bytes);
    result.set(bytes.subarray(vhost_vdpa_config.buf.offset));
    return result;
  }

  /** @throws VirtioPmdError ECONFIG beyond the end of the configuration, EPEER */
  writeConfig(offset: number, values: Uint8Array): void {
    if (offset + values.length > this.configSize) {
      throw new VirtioPmdError(
        'ECONFIG',
        `the device configuration has ${this.configSize} bytes: bytes ${offset} to ${offset + values.length - 1} cannot be written`,
      );
    }
    const { bytes, view } = structure(vhost_vdpa_config.sizeof + values.length);
    vhost_vdpa_config.off.set(view, offset);
    vhost_vdpa_config.len.set(view, values.length);
    bytes.set(values, vhost_vdpa_config.buf.offset);
    this.ioctl('VHOST_VDPA_SET_CONFIG', bytes);
  }

  /** The kernel signals `eventFd` when the configuration changes. Without effect on kernels that do not have the request. */
  setConfigCall(eventFd: number): void {
    this.tryIoctl('VHOST_VDPA_SET_CONFIG_CALL', new Uint8Array(Int32Array.of(eventFd).buffer));
  }

  // ---- virtqueues ------------------------------------------------------------------------------------------------------

  private vringState(request: VdpaRequest, index: number, num: number): void {
    const { bytes, view } = structure(vhost_vring_state.sizeof);
    vhost_vring_state.index.set(view, index);
    vhost_vring_state.num.set(view, num);
    this.ioctl(request, bytes, ` of virtqueue ${index}`);
  }

  setVringNum(index: number, size: number): void {
    this.vringState('VHOST_SET_VRING_NUM', index, size);
  }

  setVringBase(index: number, base: number): void {
    this.vringState('VHOST_SET_VRING_BASE', index, base);
  }

  enableVring(index: number): void {
    this.vringState('VHOST_VDPA_SET_VRING_ENABLE', index, 1);
  }

  setVringAddresses(index: number, { desc, driver, device }: VringAddresses): void {
    const { bytes, view } = structure(vhost_vring_addr.sizeof);
    vhost_vring_addr.index.set(view, index);
    vhost_vring_addr.desc_user_addr.set(view, desc);
    vhost_vring_addr.avail_user_addr.set(view, driver);
    vhost_vring_addr.used_user_addr.set(view, device);
    this.ioctl('VHOST_SET_VRING_ADDR', bytes, ` of virtqueue ${index}`);
  }

  private vringFile(request: VdpaRequest, index: number, eventFd: number): void {
    const { bytes, view } = structure(vhost_vring_file.sizeof);
    vhost_vring_file.index.set(view, index);
    vhost_vring_file.fd.set(view, eventFd);
    this.ioctl(request, bytes, ` of virtqueue ${index}`);
  }

  setVringKick(index: number, eventFd: number): void {
    this.vringFile('VHOST_SET_VRING_KICK', index, eventFd);
  }

  setVringCall(index: number, eventFd: number): void {
    this.vringFile('VHOST_SET_VRING_CALL', index, eventFd);
  }
}
