/**
 * A PCI function as a bus driver gives it to the virtio transports above: configuration space, BARs, interrupts, DMA.
 * vfio.ts, uio.ts and qtest.ts implement it; modern.ts and legacy.ts make a virtio-net device of it. Every call is
 * synchronous and bounded in time; none is made per packet or per burst.
 */
import type { Doorbell } from '../../../paths/guest/queue.js';
import type { Addressing } from '../../eal/addressing.js';

export type { Addressing };

export type Width = 1 | 2 | 4;

/** One base address register, behind which lie registers. All numbers are little-endian and unsigned. */
export interface Bar {
  readonly kind: 'memory' | 'io';
  readonly byteLength: number;
  /** One access of exactly `width` bytes, at a multiple of it. All ones when the device is gone. */
  read(offset: number, width: Width): number;
  write(offset: number, width: Width, value: number): void;
  /**
   * How a data path writes to the notification register at `offset`: 2 bytes, the number of the virtqueue; or, with
   * NOTIFICATION_DATA, 4 bytes, of which the upper half says where the driver is.
   */
  doorbell(offset: number, virtqueue: number, notificationData: boolean): Doorbell;
}

export interface PciFunction {
  /** 0000:00:03.0; or what the user called it by. */
  readonly name: string;
  readonly bus: 'vfio' | 'vfio-noiommu' | 'uio' | 'qtest';
  readonly addressing: Addressing;
  /** False once the bus has said that the device is gone. A device may be gone without it: then it reads all ones. */
  readonly present: boolean;

  readConfig(offset: number, width: Width): number;
  writeConfig(offset: number, width: Width, value: number): void;
  /** BAR 0 to 5; undefined when there is none, or it cannot be reached. */
  bar(index: number): Bar | undefined;

  /** Makes `byteLength` bytes at `userAddress` of this process the device's, at `deviceAddress`. Before any queue is set up, for each of eal.dmaRuns(). */
  mapDma(userAddress: bigint, byteLength: number, deviceAddress: bigint): void;

  /** MSI-X vectors that may be wired up; 0 where the bus has none (uio), or the device. */
  readonly vectors: number;
  /**
   * Enables MSI-X with vector i signalling the eventfd `fds[i]`; -1 leaves a vector unused. An empty list switches MSI-X off.
   * @throws VirtioPmdError ECONFIG when more are wanted than there are
   */
  setVectors(fds: readonly number[]): void;
  /** Whether the function's one line interrupt has fired since the last question, and lets it fire again. False where there is none. */
  lineInterrupt(): boolean;

  /** Bus mastering off, resources given back. Never throws. */
  close(): void;
}
