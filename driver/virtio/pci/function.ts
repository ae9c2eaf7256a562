/**
 * A PCI function as a bus driver provides it to the virtio transport: configuration space, BARs, interrupts, DMA. vfio.ts, uio.ts,
 * ports.ts and qtest.ts implement it; modern.ts and legacy.ts make a virtio-net device of it. Every call is synchronous and bounded in
 * time; none is made per packet or per burst.
 */
import type { Doorbell } from '../../../paths/guest/queue.js';
import type { Addressing } from '../../eal/addressing.js';

export type { Addressing };

/** Bytes of one access. */
export type Width = 1 | 2 | 4;

/** The registers of one base address register. All numbers are little-endian and unsigned. */
export interface Bar {
  readonly kind: 'memory' | 'io';
  readonly byteLength: number;
  /** One access of exactly `width` bytes, at a multiple of it. All ones when the device is gone. */
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
  /**
   * How a data path writes to the notification register at `offset`: 2 bytes, the index of the virtqueue; or, with
   * NOTIFICATION_DATA, 4 bytes, whose upper half is the driver's position (virtio 1.2 section 2.9).
   */
  doorbell(offset: number, virtqueue: number, notificationData: boolean): Doorbell;
}

/** A function that is open. */
export interface PciFunction {
  /** 0000:00:03.0, or the user's name for it. */
  readonly name: string;
  /** `ports`: no kernel driver, I/O ports only. */
  readonly bus: 'vfio' | 'vfio-noiommu' | 'uio' | 'ports' | 'qtest';
  readonly addressing: Addressing;
  /**
   * False once the bus has reported that the device is gone. A device may be gone without such a report: then it reads all
   * ones.
   */
  readonly present: boolean;

  readConfig(offset: number, width: Width): number;
  writeConfig(offset: number, width: Width, value: number): void;
  /** @param index 0 to 5. @returns undefined when there is no such BAR, or it cannot be accessed. */
  bar(index: number): Bar | undefined;

  /**
   * Makes `byteLength` bytes at `userAddress` of this process accessible for the device, at `deviceAddress`. Called before any
   * queue is set up, for each of `eal.dmaRuns`.
   * @throws VirtioPmdError EMEMORY when the IOMMU does not take it
   */
  mapDma(userAddress: bigint, byteLength: number, deviceAddress: bigint): void;

  /** Number of MSI-X vectors that can be used; 0 when the bus (uio) or the device has none. */
  readonly vectors: number;
  /** True when the kernel has enabled MSI-X with vector 0 alone (igb_uio); `lineInterrupt` tells of it. */
  readonly singleVector?: boolean;
  /**
   * Enables MSI-X: vector i signals the eventfd `fds[i]`; -1 leaves a vector unused. An empty list disables MSI-X.
   * @throws VirtioPmdError ECONFIG for more than there are
   */
  setVectors(fds: readonly number[]): void;
  /** Whether the line interrupt, or the single vector, has fired since the last call; then it is unmasked. False where there is none. */
  lineInterrupt(): boolean;

  /** Disables bus mastering and releases all resources. Never throws. */
  close(): void;
}
