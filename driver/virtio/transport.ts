/**
 * The interface of a port to its device, on any bus. virtio_user, PCI and a mock for tests implement it; the initialisation
 * sequence (init.ts) and the port use only this. The data path does not use it.
 */
import type { Doorbell } from '../../paths/guest/queue.js';
import type { FeatureOffer } from './features.js';
import type { ControlCommand } from './control/commands.js';
import { VIRTIO_NET_S_ANNOUNCE, VIRTIO_NET_S_LINK_UP, virtio_net_config } from '../wire/linux/virtio-net.js';

/** Offsets in virtio_net_config (virtio 1.2 section 5.1.4). */
export const CONFIG_MAC = virtio_net_config.mac.offset;
export const CONFIG_STATUS = virtio_net_config.status.offset;
export const CONFIG_MAX_PAIRS = virtio_net_config.max_virtqueue_pairs.offset;
export const CONFIG_MTU = virtio_net_config.mtu.offset;
export const CONFIG_SPEED = virtio_net_config.speed.offset;
/** Bits of the config field `status`. */
export const LINK_UP = VIRTIO_NET_S_LINK_UP;
export const ANNOUNCE = VIRTIO_NET_S_ANNOUNCE;

/** One virtqueue, as set up by the driver. */
export interface QueueSetup {
  /** Virtqueue number: 2n receives, 2n + 1 transmits. */
  readonly index: number;
  /** Descriptors in the ring. */
  readonly size: number;
  /** Byte offsets in the packet memory of descriptor table, driver area and device area. */
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Where the device must start (see ringBase in paths/guest/queue.ts). */
  readonly base: number;
}

/** An event that `poll` returns, once each. */
export type TransportEvent =
  /** The device is gone: a vhost-user back-end disconnected, a PCI device was removed. */
  | 'lost'
  /** There is a device again, which needs a complete initialisation. */
  | 'back'
  /** The device configuration changed: link status, or an announcement is wanted. */
  | 'config'
  /** The device has answered everything that `settle` did not wait for. */
  | 'settled'
  /** The device has set DEVICE_NEEDS_RESET: it does not work until it is reset and initialised again. */
  | 'needs-reset';

/**
 * A device. Every call is synchronous and limited in time. A transport whose calls do not wait for the device (vhost-user)
 * has `settle`, which waits, and `poll` reports later answers.
 * @throws VirtioPmdError EPEER, ETIMEOUT when communication with the device fails
 */
export interface Transport {
  /** Name of the driver as `show port info` prints it. */
  readonly driverName: string;
  /** Feature bits that this kind of transport supports. */
  readonly supported: bigint;
  /** False while there is no device at the other end (a vhost-user back-end that went away). */
  readonly connected: boolean;
  /**
   * Why a device was lost permanently and what to do, for a sentence that begins with its name. Undefined: it may come back,
   * like a vhost-user back-end.
   */
  readonly finalLoss: string | undefined;
  /**
   * The device receives every packet until a filter is requested, like a tap: packets that the kernel sends through it are
   * not for the port's own address. Other devices get the command "not promiscuous" at each start, as in ethdev.
   */
  readonly openUntilTold?: boolean;
  /** Maximum number of queue pairs. */
  readonly maxQueuePairs: number;

  /** Checks the device, without waiting. Never throws. */
  poll(): TransportEvent | undefined;
  /** Disconnects from the device; `poll` then looks for another. */
  disconnect(): void;

  /**
   * Waits for the device to answer what was written. @param waitMs milliseconds; with 0 it waits only for a very short time.
   * @returns true when everything is answered; else `poll` reports it later ('settled', or 'lost')
   * @throws VirtioPmdError EPEER for a refusal; EPEER, ETIMEOUT when the connection fails, which is closed then
   */
  settle?(waitMs: number): boolean;
  /** Calls `done` when the device has stopped using the memory that it had before its last reset. Absent: at once. */
  released?(done: () => void): void;
  /** The transport looks for a lost device by itself. */
  readonly retries?: boolean;

  readStatus(): number;
  /** Writes the whole status byte; 0 resets the device. */
  writeStatus(status: number): void;
  readFeatures(): FeatureOffer;
  writeFeatures(acknowledged: bigint): void;
  /** Bytes of the device configuration, little-endian fields. */
  readConfig(offset: number, length: number): Uint8Array;
  writeConfig(offset: number, bytes: Uint8Array): void;
  /**
   * Sets up interrupts for the next DRIVER_OK: one for configuration changes, one for each of the first `rxQueues` Rx queues
   * (vector i + 1, as in DPDK). A transport without this method is polled for changes; its descriptors for Rx queues, if any,
   * exist from the start.
   * @throws VirtioPmdError ECONFIG when there are not enough vectors
   */
  setInterrupts?(rxQueues: number): void;
  /** The descriptor that becomes readable when Rx queue `queue` has packets; undefined without an interrupt. */
  rxInterruptFd?(queue: number): number | undefined;
  /** Largest size of virtqueue `index`; 0: there is no such queue. */
  maxQueueSize(index: number): number;
  /** Sets up a queue. Takes effect at DRIVER_OK at the latest. */
  setupQueue(queue: QueueSetup): void;
  /** Removes a queue; only after a reset. */
  deleteQueue(index: number): void;
  /**
   * How a data path notifies the device of work in a queue, with these features. It stays valid for as long as the plan that
   * contains it.
   */
  doorbell(index: number, acknowledged: bigint): Doorbell;
  /** Notifies the device of work in a queue, from the control plane. */
  notify(index: number): void;
  /** Runs a command of the control queue. @returns the device's answer, 0 for success. */
  control(command: ControlCommand): number;
  /** Frees everything: sockets, descriptors, socket files. Never throws. */
  close(): void;
}
