/** Registers of a modern device, in the structures that its capabilities name (virtio 1.2 section 4.1.4). */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Doorbell } from '../../../paths/guest/queue.js';
import { has } from '../features.js';
import {
  VIRTIO_PCI_COMMON_CFGGENERATION,
  VIRTIO_PCI_COMMON_DF,
  VIRTIO_PCI_COMMON_DFSELECT,
  VIRTIO_PCI_COMMON_GF,
  VIRTIO_PCI_COMMON_GFSELECT,
  VIRTIO_PCI_COMMON_MSIX,
  VIRTIO_PCI_COMMON_NUMQ,
  VIRTIO_PCI_COMMON_Q_AVAILLO,
  VIRTIO_PCI_COMMON_Q_DESCLO,
  VIRTIO_PCI_COMMON_Q_ENABLE,
  VIRTIO_PCI_COMMON_Q_MSIX,
  VIRTIO_PCI_COMMON_Q_NOFF,
  VIRTIO_PCI_COMMON_Q_SELECT,
  VIRTIO_PCI_COMMON_Q_SIZE,
  VIRTIO_PCI_COMMON_Q_USEDLO,
  VIRTIO_PCI_COMMON_STATUS,
} from '../../wire/linux/virtio-pci.js';
import { VIRTIO_F_VERSION_1 } from '../../wire/virtio-features.js';
import type { ModernLayout, Structure } from './capabilities.js';
import type { PciFunction } from './function.js';
import {
  CONFIG_ATTEMPTS,
  PCI_FEATURES,
  readFields,
  unstableConfig,
  Window,
  writeFields,
  type QueueAddresses,
  type VirtioRegisters,
} from './registers.js';

/** The registers of a modern device. */
export class ModernRegisters implements VirtioRegisters {
  readonly supported = PCI_FEATURES;

  private readonly common: Window;
  private readonly notification: Window;
  private readonly multiplier: number;
  private readonly isr: Window;
  private readonly device: Window;

  /** @param layout has passed the checks of capabilities.ts: its BARs exist and are large enough */
  constructor(fn: PciFunction, layout: ModernLayout) {
    const window = ({ bar, offset, length }: Structure) => new Window(fn.bar(bar)!, offset, length);
    this.common = window(layout.common);
    this.notification = window(layout.notify);
    this.multiplier = layout.notify.multiplier;
    this.isr = window(layout.isr);
    this.device = window(layout.device);
  }

  readStatus(): number {
    return this.common.read(VIRTIO_PCI_COMMON_STATUS, 1);
  }

  writeStatus(status: number): void {
    this.common.write(VIRTIO_PCI_COMMON_STATUS, 1, status);
  }

  readFeatures(): bigint {
    const word = (select: number) => {
      this.common.write(VIRTIO_PCI_COMMON_DFSELECT, 4, select);
      return BigInt(this.common.read(VIRTIO_PCI_COMMON_DF, 4));
    };
    return word(0) | (word(1) << 32n);
  }

  writeFeatures(bits: bigint): void {
    if (!has(bits, VIRTIO_F_VERSION_1)) {
      throw new VirtioPmdError(
        'EPEER',
        'Version 1+ required with modern devices: this one does not offer VIRTIO_F_VERSION_1, its modern interface cannot be used',
      );
    }
    for (const select of [0, 1]) {
      this.common.write(VIRTIO_PCI_COMMON_GFSELECT, 4, select);
      this.common.write(VIRTIO_PCI_COMMON_GF, 4, Number((bits >> BigInt(32 * select)) & 0xffff_ffffn));
    }
  }

  readConfig(offset: number, length: number): Uint8Array {
    for (let i = 0; i < CONFIG_ATTEMPTS; i++) {
      const generation = this.common.read(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
      const bytes = readFields(this.device, offset, length);
      if (this.common.read(VIRTIO_PCI_COMMON_CFGGENERATION, 1) === generation) return bytes;
    }
    throw unstableConfig();
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    writeFields(this.device, offset, bytes);
  }

  readIsr(): number {
    return this.isr.read(0, 1);
  }

  queueSize(index: number): number {
    if (index >= this.common.read(VIRTIO_PCI_COMMON_NUMQ, 2)) return 0;
    this.select(index);
    return this.common.read(VIRTIO_PCI_COMMON_Q_SIZE, 2);
  }

  setupQueue({ index, desc, driver, device }: QueueAddresses): void {
    this.select(index);
    this.writeAddress(VIRTIO_PCI_COMMON_Q_DESCLO, desc);
    this.writeAddress(VIRTIO_PCI_COMMON_Q_AVAILLO, driver);
    this.writeAddress(VIRTIO_PCI_COMMON_Q_USEDLO, device);
    this.common.write(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
    if (this.common.read(VIRTIO_PCI_COMMON_Q_ENABLE, 2) === 1) return;
    throw new VirtioPmdError('EPEER', `the device did not enable virtqueue ${index}: reset or restart it`);
  }

  setConfigVector(vector: number): boolean {
    this.common.write(VIRTIO_PCI_COMMON_MSIX, 2, vector);
    return this.common.read(VIRTIO_PCI_COMMON_MSIX, 2) === vector;
  }

  setQueueVector(index: number, vector: number): boolean {
    this.select(index);
    this.common.write(VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
    return this.common.read(VIRTIO_PCI_COMMON_Q_MSIX, 2) === vector;
  }

  doorbell(index: number, notificationData: boolean): Doorbell {
    const at = this.notifyOffset(index, notificationData ? 4 : 2);
    return this.notification.bar.doorbell(this.notification.offset + at, index, notificationData);
  }

  notify(index: number, position: number | undefined): void {
    if (position === undefined) this.notification.write(this.notifyOffset(index, 2), 2, index);
    else this.notification.write(this.notifyOffset(index, 4), 4, (index | (position << 16)) >>> 0);
  }

  private select(index: number): void {
    this.common.write(VIRTIO_PCI_COMMON_Q_SELECT, 2, index);
  }

  /** 64-bit registers are written in halves, the lower one first. */
  private writeAddress(low: number, address: bigint): void {
    this.common.write(low, 4, Number(address & 0xffff_ffffn));
    this.common.write(low + 4, 4, Number(address >> 32n));
  }

  /**
   * Offset of a virtqueue's notification register in its structure. It is checked, unlike in DPDK: a wrong one would hit
   * another register.
   */
  private notifyOffset(index: number, width: 2 | 4): number {
    this.select(index);
    const at = this.common.read(VIRTIO_PCI_COMMON_Q_NOFF, 2) * this.multiplier;
    if (at + width <= this.notification.length && (this.notification.offset + at) % width === 0) return at;
    throw new VirtioPmdError(
      'EPEER',
      `the device places the notification register of virtqueue ${index} at byte ${at}, where its notification structure of ${this.notification.length} bytes has none of ${width} bytes: the device cannot be used`,
    );
  }
}
