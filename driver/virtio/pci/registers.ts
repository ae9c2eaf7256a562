/** The interface of the two register layouts of a virtio PCI device, which modern.ts and legacy.ts implement. */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Doorbell } from '../../../paths/guest/queue.js';
import { virtio_net_config } from '../../wire/linux/virtio-net.js';
import * as F from '../../wire/virtio-features.js';
import type { Bar, Width } from './function.js';

/** Features that the driver supports on PCI: DPDK's, and EVENT_IDX. */
export const PCI_FEATURES =
  F.VIRTIO_NET_F_MAC |
  F.VIRTIO_NET_F_STATUS |
  F.VIRTIO_NET_F_MQ |
  F.VIRTIO_NET_F_CTRL_MAC_ADDR |
  F.VIRTIO_NET_F_CTRL_VQ |
  F.VIRTIO_NET_F_CTRL_RX |
  F.VIRTIO_NET_F_CTRL_VLAN |
  F.VIRTIO_NET_F_MRG_RXBUF |
  F.VIRTIO_NET_F_MTU |
  F.VIRTIO_NET_F_GUEST_ANNOUNCE |
  F.VIRTIO_NET_F_CSUM |
  F.VIRTIO_NET_F_HOST_TSO4 |
  F.VIRTIO_NET_F_HOST_TSO6 |
  F.VIRTIO_NET_F_GUEST_CSUM |
  F.VIRTIO_NET_F_GUEST_TSO4 |
  F.VIRTIO_NET_F_GUEST_TSO6 |
  F.VIRTIO_NET_F_HASH_REPORT |
  F.VIRTIO_NET_F_RSS |
  F.VIRTIO_NET_F_SPEED_DUPLEX |
  F.VIRTIO_F_INDIRECT_DESC |
  F.VIRTIO_F_EVENT_IDX |
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_F_IOMMU_PLATFORM |
  F.VIRTIO_F_RING_PACKED |
  F.VIRTIO_F_IN_ORDER |
  F.VIRTIO_F_ORDER_PLATFORM |
  F.VIRTIO_F_NOTIFICATION_DATA;

/** A virtqueue as the device is told of it: index, descriptors, addresses. */
export interface QueueAddresses {
  readonly index: number;
  readonly size: number;
  /** Device addresses of descriptor table, driver area and device area. */
  readonly desc: bigint;
  readonly driver: bigint;
  readonly device: bigint;
}

/**
 * Reads and writes of registers. A device that is gone reads all ones everywhere; the caller checks that.
 * @throws VirtioPmdError EPEER, ETIMEOUT where the answers of a device are inconsistent
 */
export interface VirtioRegisters {
  /** Feature bits that the driver supports with this layout. */
  readonly supported: bigint;
  readStatus(): number;
  writeStatus(status: number): void;
  readFeatures(): bigint;
  writeFeatures(bits: bigint): void;
  /** Bytes of virtio_net_config, all of the same moment; all ones beyond its end. */
  readConfig(offset: number, length: number): Uint8Array;
  writeConfig(offset: number, bytes: Uint8Array): void;
  /** Interrupt status; reading it clears it. */
  readIsr(): number;
  /** Descriptors of virtqueue `index`; 0: there is no such queue. */
  queueSize(index: number): number;
  /** Tells the device of a virtqueue and enables it; call it after the vector is set. */
  setupQueue(queue: QueueAddresses): void;
  /** Assigns an MSI-X vector, or none (VIRTIO_MSI_NO_VECTOR). @returns false when the device refuses */
  setConfigVector(vector: number): boolean;
  setQueueVector(index: number, vector: number): boolean;
  doorbell(index: number, notificationData: boolean): Doorbell;
  /** Notifies the device at once. @param position the driver's position, with NOTIFICATION_DATA */
  notify(index: number, position: number | undefined): void;
}

/** A structure of registers in a BAR. */
export class Window {
  constructor(
    readonly bar: Bar,
    readonly offset: number,
    readonly length: number,
  ) {}

  read(at: number, width: Width): number {
    return this.bar.read(this.offset + at, width);
  }

  write(at: number, width: Width, value: number): void {
    this.bar.write(this.offset + at, width, value);
  }
}

/** Fields of more than a byte; the MAC address is read byte by byte. */
const WIDE = [
  virtio_net_config.status,
  virtio_net_config.max_virtqueue_pairs,
  virtio_net_config.mtu,
  virtio_net_config.speed,
  virtio_net_config.rss_max_indirection_table_length,
  virtio_net_config.supported_hash_types,
];

/** Width in bytes of the field of virtio_net_config at `at` (section 5.1.4): a device need not support other accesses. */
function fieldWidth(at: number): Width {
  const field = WIDE.find(({ offset, width }) => at >= offset && at < offset + width);
  return (field?.width ?? 1) as Width;
}

/** Reads part of the device configuration, field by field. */
export function readFields(config: Window, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(0xff);
  const end = Math.min(offset + length, config.length);
  for (let at = offset; at < end;) {
    const field = fieldWidth(at);
    const width = at % field === 0 && at + field <= end ? field : 1;
    const value = config.read(at, width);
    for (let i = 0; i < width; i++) bytes[at - offset + i] = (value >>> (8 * i)) & 0xff;
    at += width;
  }
  return bytes;
}

/**
 * Writes a part of the device configuration, byte by byte, as only the MAC address is writable.
 * @throws VirtioPmdError ECONFIG beyond its end
 */
export function writeFields(config: Window, offset: number, bytes: Uint8Array): void {
  if (offset + bytes.length > config.length) {
    throw new VirtioPmdError(
      'ECONFIG',
      `the device configuration has ${config.length} bytes: bytes ${offset} to ${offset + bytes.length - 1} cannot be written`,
    );
  }
  bytes.forEach((byte, i) => config.write(offset + i, 1, byte));
}

/** Attempts at reading the device configuration, each of which fails when it changes meanwhile. */
export const CONFIG_ATTEMPTS = 100;

/** The error of a device whose configuration changes all the time. */
export function unstableConfig(): VirtioPmdError {
  return new VirtioPmdError(
    'ETIMEOUT',
    `the device configuration changed during each of ${CONFIG_ATTEMPTS} attempts at reading it: restart the device`,
  );
}
