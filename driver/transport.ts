/**
 * What a port asks of its device, whatever bus it is on. virtio_user, PCI and a fake for tests implement it; the
 * initialisation sequence (init.ts) and the port are written once above it. The data path never sees any of this.
 */
import type { Doorbell } from '../paths/guest/queue.js';
import type { FeatureOffer } from './features.js';
import type { ControlCommand } from './ctrlq.js';

/** Offsets in virtio_net_config (virtio 1.2 section 5.1.4). */
export const CONFIG_MAC = 0;
export const CONFIG_STATUS = 6;
export const CONFIG_MAX_PAIRS = 8;
export const CONFIG_MTU = 10;
export const CONFIG_SPEED = 12;
/** Bit of the config field `status`. */
export const LINK_UP = 1;

export type LogLevel = 'debug' | 'info' | 'notice' | 'warning' | 'error';

/** One virtqueue as the driver laid it out. */
export interface QueueSetup {
  /** Virtqueue number: 2n receives, 2n + 1 transmits. */
  readonly index: number;
  /** Descriptors in the ring. */
  readonly size: number;
  /** Byte offsets in the packet memory of descriptor table, driver area and device area. */
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Where the device is to start (see ringBase in paths/guest/queue.ts). */
  readonly base: number;
}

/**
 * A device. Every call is synchronous and bounded in time.
 * @throws VirtioPmdError EPEER, ETIMEOUT when the device cannot be talked to
 */
export interface Transport {
  /** Name of the driver as `show port info` prints it. */
  readonly driverName: string;
  /** Feature bits that this kind of transport can carry. */
  readonly supported: bigint;
  /** False while there is no device at the other end (a vhost-user back-end that went away). */
  readonly connected: boolean;
  /** Most queue pairs that may be set up. */
  readonly maxQueuePairs: number;

  /**
   * Looks after the connection, without waiting: 'lost' once when the device has gone, 'back' when there is a device
   * again, which then needs the whole initialisation. Never throws.
   */
  poll(): 'lost' | 'back' | undefined;
  /** Gives up the device that is there; `poll` looks for another. */
  disconnect(): void;

  readStatus(): number;
  /** Writes the whole status byte; 0 resets the device. */
  writeStatus(status: number): void;
  readFeatures(): FeatureOffer;
  writeFeatures(acknowledged: bigint): void;
  /** Bytes of the device configuration, little-endian fields. */
  readConfig(offset: number, length: number): Uint8Array;
  writeConfig(offset: number, bytes: Uint8Array): void;
  /** Largest size of virtqueue `index`; 0: there is no such queue. */
  maxQueueSize(index: number): number;
  /** Takes effect at DRIVER_OK at the latest. */
  setupQueue(queue: QueueSetup): void;
  /** Forgets a queue; only after a reset. */
  deleteQueue(index: number): void;
  /** What a data path has to do to tell the device about work in a queue; the same for the device's whole life. */
  doorbell(index: number): Doorbell;
  /** Tells the device about work in a queue, from the control plane. */
  notify(index: number): void;
  /** Runs a command of the control queue. @returns the device's answer, 0 for success. */
  control(command: ControlCommand): number;
  /** Gives back everything: sockets, descriptors, socket files. Never throws. */
  close(): void;
}
