/** The vhost library's types for its users, without code: a guest's device, and the callbacks. */
import type { Mempool } from '../../paths/mempool.js';

/** A guest's virtio-net device, seen from the host (rte_vhost's vid). Its bursts and questions are for the driver's thread. */
export interface VhostDevice {
  /** Unique in this process. */
  readonly id: number;
  /** Of the socket (rte_vhost_get_ifname). */
  readonly path: string;
  /** Feature bits acknowledged by SET_FEATURES (rte_vhost_get_negotiated_features). */
  readonly features: bigint;
  /** Those of SET_PROTOCOL_FEATURES. */
  readonly protocolFeatures: bigint;
  /** The guest's device status (virtio 1.2 section 2.1), when STATUS was negotiated. */
  readonly status: number;
  /** newDevice has been called, destroyDevice has not. */
  readonly ready: boolean;
  /** The MTU that the guest is told, in bytes; undefined when the front-end has not said one (rte_vhost_get_mtu). */
  readonly mtu: number | undefined;
  /** Virtqueues that the front-end has named so far (rte_vhost_get_vring_num); at most 2 when MQ was not negotiated. */
  readonly numberOfQueues: number;

  /**
   * rte_vhost_enqueue_burst: copies up to `n` packets of `pkts` to the guest, in order. The mbufs stay the caller's.
   * @param queue virtqueue index, even: a guest's Rx ring.
   * @returns how many were copied: `pkts[0]` and on; 0 for a ring that does not run. Never throws.
   */
  enqueueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number;
  /**
   * rte_vhost_dequeue_burst: copies up to `n` packets of the guest into mbufs of `pool`, which the caller owns, and stores their
   * indices in `pkts`.
   * @param queue virtqueue index, odd: a guest's Tx ring.
   * @returns how many were stored; 0 for a ring that does not run. Never throws.
   */
  dequeueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number;
  /** Whether a ring runs now. @param queue virtqueue index. */
  isRunning(queue: number): boolean;
  /**
   * Counters of one ring since the connection began, by rte_vhost's names (`rx_q0_good_packets`, ...). Allocates memory.
   * @param queue virtqueue index. @throws VirtioPmdError ECONFIG when it is no number.
   */
  ringStats(queue: number): ReadonlyMap<string, number>;
  /**
   * Packets of a ring, since the connection began, that were dropped because of wrong descriptors of the guest; `ringStats` says
   * why. Allocates memory.
   */
  dropped(queue: number): number;
}

/** rte_vhost_device_ops. All are called within `VhostDriver.poll` (or `close`), on its thread. */
export interface VhostCallbacks {
  /**
   * The first two rings run: the device can be polled. Return false to refuse for now; it is called again after the next
   * message.
   */
  newDevice?(device: VhostDevice): boolean | void;
  /** The device must not be polled any more. Its rings have been stopped already; bursts on them do nothing. */
  destroyDevice?(device: VhostDevice): void;
  /** A ring started or stopped. */
  vringStateChanged?(device: VhostDevice, queue: number, enabled: boolean): void;
  /** SET_FEATURES set other features than before. @param features bits of virtio 1.2 section 6 and 5.1.3 */
  featuresChanged?(device: VhostDevice, features: bigint): void;
  /** A front-end has connected; nothing is negotiated yet. */
  newConnection?(device: VhostDevice): void;
  /** The connection has ended; its device has been disposed of. */
  destroyConnection?(device: VhostDevice): void;
}
