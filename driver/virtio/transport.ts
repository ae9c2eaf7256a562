/**
 * What a port asks of its device, whatever bus it is on. virtio_user, PCI and a fake for tests implement it; the
 * initialisation sequence (init.ts) and the port are written once above it. The data path never sees any of this.
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

/** What `poll` has noticed, once each. */
export type TransportEvent =
  /** The device has gone: a vhost-user back-end hung up, a PCI device was pulled. */
  | 'lost'
  /** There is a device again, which needs the whole initialisation. */
  | 'back'
  /** The device configuration changed: link status, or an announcement is wanted. */
  | 'config'
  /** Everything that `settle` left has been answered. */
  | 'settled'
  /** The device says DEVICE_NEEDS_RESET: nothing works until it is reset and initialised again. */
  | 'needs-reset';

/**
 * A device. Every call is synchronous and bounded in time. One that does not wait for the device (vhost-user) has
 * `settle`, which does, and tells of the rest with `poll`.
 * @throws VirtioPmdError EPEER, ETIMEOUT when the device cannot be talked to
 */
export interface Transport {
  /** Name of the driver as `show port info` prints it. */
  readonly driverName: string;
  /** Feature bits that this kind of transport can carry. */
  readonly supported: bigint;
  /** False while there is no device at the other end (a vhost-user back-end that went away). */
  readonly connected: boolean;
  /**
   * Why a device was lost for good and what to do, for a sentence that begins with its name. Undefined: it may come
   * back, as a vhost-user back-end does.
   */
  readonly finalLoss: string | undefined;
  /**
   * The device lets every packet through until somebody asks for a filter, as a tap does: what the kernel sends through it
   * is not for this side's address. Others are told at each start not to be promiscuous, as ethdev does.
   */
  readonly openUntilTold?: boolean;
  /** Most queue pairs that may be set up. */
  readonly maxQueuePairs: number;

  /** Looks after the device, without waiting. Never throws. */
  poll(): TransportEvent | undefined;
  /** Gives up the device that is there; `poll` looks for another. */
  disconnect(): void;

  /**
   * Goes on with what was written and the device has not answered yet. @param waitMs how long it may wait; 0: no longer than
   * is worth its while. @returns true once everything is answered; else `poll` says so ('settled', or 'lost')
   * @throws VirtioPmdError EPEER for a refusal; EPEER, ETIMEOUT with the connection, which is given up then
   */
  settle?(waitMs: number): boolean;
  /** Calls `done` once the device has stopped using the memory it was told of before its last reset. Absent: at once. */
  released?(done: () => void): void;
  /** A lost device is looked for by itself. */
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
   * Wires up interrupts for the next DRIVER_OK: one for configuration changes, one for each of the first `rxQueues`
   * receive queues (vector i + 1, as in DPDK). A transport without this is polled for changes, and has its descriptors for
   * receive queues, if any, from the start.
   * @throws VirtioPmdError ECONFIG when there are fewer vectors
   */
  setInterrupts?(rxQueues: number): void;
  /** The descriptor that becomes readable when receive queue `queue` has packets; undefined without an interrupt. */
  rxInterruptFd?(queue: number): number | undefined;
  /** Largest size of virtqueue `index`; 0: there is no such queue. */
  maxQueueSize(index: number): number;
  /** Takes effect at DRIVER_OK at the latest. */
  setupQueue(queue: QueueSetup): void;
  /** Forgets a queue; only after a reset. */
  deleteQueue(index: number): void;
  /**
   * What a data path has to do to tell the device about work in a queue, with these features; the same for as long as the
   * plan lives that holds it.
   */
  doorbell(index: number, acknowledged: bigint): Doorbell;
  /** Tells the device about work in a queue, from the control plane. */
  notify(index: number): void;
  /** Runs a command of the control queue. @returns the device's answer, 0 for success. */
  control(command: ControlCommand): number;
  /** Gives back everything: sockets, descriptors, socket files. Never throws. */
  close(): void;
}
