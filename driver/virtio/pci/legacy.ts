/**
 * Registers of a legacy device: a fixed layout in I/O BAR 0 (virtio 1.2 section 4.1.4.10). Fields are in the guest's
 * byte order, which is little-endian wherever this driver runs.
 */
import { VirtioPmdError } from '../../../native/errors.js';
import type { Doorbell } from '../../../paths/guest/queue.js';
import { splitLayout } from '../../../paths/layout.js';
import {
  VIRTIO_MSI_CONFIG_VECTOR,
  VIRTIO_MSI_QUEUE_VECTOR,
  VIRTIO_PCI_CONFIG_OFF_MSIX,
  VIRTIO_PCI_CONFIG_OFF_NO_MSIX,
  VIRTIO_PCI_GUEST_FEATURES,
  VIRTIO_PCI_HOST_FEATURES,
  VIRTIO_PCI_ISR,
  VIRTIO_PCI_QUEUE_ADDR_SHIFT,
  VIRTIO_PCI_QUEUE_NOTIFY,
  VIRTIO_PCI_QUEUE_NUM,
  VIRTIO_PCI_QUEUE_PFN,
  VIRTIO_PCI_QUEUE_SEL,
  VIRTIO_PCI_STATUS,
} from '../../wire/linux/virtio-pci.js';
import { msixEnabled, type Capabilities } from './capabilities.js';
import type { Bar, PciFunction } from './function.js';
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

/** The registers of a legacy device. */
export class LegacyRegisters implements VirtioRegisters {
  readonly supported = PCI_FEATURES & 0xffff_ffffn;

  constructor(
    private readonly fn: Pick<PciFunction, 'readConfig'>,
    private readonly bar: Bar,
    private readonly msix: Capabilities['msix'],
  ) {}

  readStatus(): number {
    return this.bar.read(VIRTIO_PCI_STATUS, 1);
  }

  writeStatus(status: number): void {
    this.bar.write(VIRTIO_PCI_STATUS, 1, status);
  }

  readFeatures(): bigint {
    return BigInt(this.bar.read(VIRTIO_PCI_HOST_FEATURES, 4));
  }

  writeFeatures(bits: bigint): void {
    if (bits >> 32n !== 0n) {
      throw new VirtioPmdError('ECONFIG', 'only 32 bit features are allowed for legacy virtio!');
    }
    this.bar.write(VIRTIO_PCI_GUEST_FEATURES, 4, Number(bits));
  }

  /** A legacy device has no generation counter that shows a change: bytes that read the same twice are valid. */
  readConfig(offset: number, length: number): Uint8Array {
    const config = this.config();
    let last = readFields(config, offset, length);
    for (let i = 0; i < CONFIG_ATTEMPTS; i++) {
      const again = readFields(config, offset, length);
      if (again.every((byte, at) => byte === last[at])) return again;
      last = again;
    }
    throw unstableConfig();
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    writeFields(this.config(), offset, bytes);
  }

  readIsr(): number {
    return this.bar.read(VIRTIO_PCI_ISR, 1);
  }

  queueSize(index: number): number {
    this.select(index);
    return this.bar.read(VIRTIO_PCI_QUEUE_NUM, 2);
  }

  /**
   * The device is told one page number and derives the rest of the ring by the legacy layout (virtio 1.2 section 2.7.2), as
   * paths/layout.ts does.
   */
  setupQueue({ index, size, desc, driver, device }: QueueAddresses): void {
    const layout = splitLayout(size);
    const contiguous = driver - desc === BigInt(layout.driver) && device - desc === BigInt(layout.device);
    const shift = BigInt(VIRTIO_PCI_QUEUE_ADDR_SHIFT);
    if (!contiguous || desc % (1n << shift) !== 0n) {
      throw new VirtioPmdError(
        'EMEMORY',
        `virtqueue ${index} of ${size} descriptors is not contiguous for the device, as legacy devices want it: use hugepages`,
      );
    }
    if ((desc + BigInt(layout.byteLength) - 1n) >> (shift + 32n) !== 0n) {
      throw new VirtioPmdError('EMEMORY', "vring address shouldn't be above 16TB!");
    }
    this.select(index);
    this.bar.write(VIRTIO_PCI_QUEUE_PFN, 4, Number(desc >> shift));
  }

  setConfigVector(vector: number): boolean {
    this.bar.write(VIRTIO_MSI_CONFIG_VECTOR, 2, vector);
    return this.bar.read(VIRTIO_MSI_CONFIG_VECTOR, 2) === vector;
  }

  setQueueVector(index: number, vector: number): boolean {
    this.select(index);
    this.bar.write(VIRTIO_MSI_QUEUE_VECTOR, 2, vector);
    return this.bar.read(VIRTIO_MSI_QUEUE_VECTOR, 2) === vector;
  }

  doorbell(index: number): Doorbell {
    return this.bar.doorbell(VIRTIO_PCI_QUEUE_NOTIFY, index, false);
  }

  notify(index: number): void {
    this.bar.write(VIRTIO_PCI_QUEUE_NOTIFY, 2, index);
  }

  private select(index: number): void {
    this.bar.write(VIRTIO_PCI_QUEUE_SEL, 2, index);
  }

  /**
   * The vector registers exist only while MSI-X is enabled, and the device configuration follows them. Whether it is enabled is
   * read each time, as the place of the fields depends on it.
   */
  private config(): Window {
    const offset = msixEnabled(this.fn, this.msix) ? VIRTIO_PCI_CONFIG_OFF_MSIX : VIRTIO_PCI_CONFIG_OFF_NO_MSIX;
    return new Window(this.bar, offset, this.bar.byteLength - offset);
  }
}
