/**
 * One guest device behind one connection: its negotiated features, its memory, its rings, and the bursts. requests.ts carries
 * out the messages and calls the setters here; `update` then starts and stops rings.
 *
 * One thread calls everything: the one that calls `VhostDriver.poll`. So a memory table may change under traffic.
 */
import {
  aBigint,
  aBoolean,
  aFunction,
  anObject,
  aNumber,
  aString,
  checkArgument,
  checkArguments,
  checkOptions,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import { signalPeer } from '../../native/peer-event.js';
import { GuestMemory } from '../../paths/device/guest-memory.js';
import type { DeviceQueue } from '../../paths/device/queue.js';
import { NET_HDR_LEGACY, NET_HDR_MRG } from '../../paths/layout.js';
import type { Mempool } from '../../paths/mempool.js';
import { ERRORS } from '../../paths/stats.js';
import {
  STATUS_DRIVER_OK,
  STATUS_FEATURES_OK,
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../wire/virtio-features.js';
import { PROTOCOL_F_STATUS } from '../wire/vhost-user.js';
import type { Log, LogLevel } from '../eal/types.js';
import { MemoryTable } from './memory-table.js';
import { describeDrops, droppedPackets, namedStats } from './stats.js';
import { Vring, type RingFormat } from './vring.js';

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

/** The part of `VhostOptions` that a device needs, checked and complete. */
export interface DeviceOptions {
  /** Feature bits that this device offers. */
  readonly offered: bigint;
  /** Protocol features that it offers (PROTOCOL_F_*). */
  readonly offeredProtocol: bigint;
  /** Queue pairs, 1 to 128. */
  readonly maxQueuePairs: number;
  readonly callbacks: VhostCallbacks;
  readonly log: Log;
  /** See `VhostOptions`. */
  readonly anyMemoryFile?: boolean;
}

const deviceOptions: OptionKinds<DeviceOptions> = {
  offered: aBigint,
  offeredProtocol: aBigint,
  maxQueuePairs: aNumber,
  callbacks: anObject,
  log: aFunction,
  anyMemoryFile: optional(aBoolean),
};

/** A guest's virtio-net device, seen from the host (rte_vhost's vid). */
export class VhostDevice {
  /** Feature bits acknowledged by SET_FEATURES. */
  features = 0n;
  /** Those of SET_PROTOCOL_FEATURES. */
  protocolFeatures = 0n;
  /** The guest's device status, when STATUS was negotiated. */
  status = 0;
  /** The last SET_FEATURES was refused: the device must not keep FEATURES_OK set (virtio 1.2 section 3.1.1). */
  featuresFailed = false;
  /** newDevice has been called, destroyDevice has not. */
  ready = false;

  readonly table: MemoryTable;
  /** By virtqueue index. A ring exists from its first mention on. */
  readonly rings: Vring[] = [];
  private memory = new GuestMemory([]);
  /** The running rings, by virtqueue index. The data path uses only this. */
  private readonly running: (DeviceQueue | undefined)[] = [];
  private parityReported = false;

  /** @param id unique in this process (DPDK's vid). @param path of the socket. @throws VirtioPmdError ECONFIG for wrong options. */
  constructor(
    readonly id: number,
    readonly path: string,
    readonly options: DeviceOptions,
  ) {
    checkArguments('VhostDevice', { id: [id, aNumber], path: [path, aString] });
    checkOptions('VhostDevice', options, deviceOptions);
    this.table = new MemoryTable(options.anyMemoryFile);
  }

  // ---- data path -----------------------------------------------------------------------------------------------------

  /**
   * rte_vhost_enqueue_burst: copies up to `n` packets of `pkts` to the guest, in order. The mbufs stay the caller's.
   * @param queue virtqueue index, even: a guest's Rx ring.
   * @returns how many were copied: `pkts[0]` and on; 0 for a ring that does not run. Never throws.
   */
  enqueueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    const ring = this.running[queue];
    if (ring === undefined) return 0;
    if (queue & 1) return this.wrongParity('enqueue', queue);
    try {
      return ring.enqueue(pool, pkts, n);
    } catch (error) {
      return this.failed(ring, error);
    }
  }

  /**
   * rte_vhost_dequeue_burst: copies up to `n` packets of the guest into mbufs of `pool`, which the caller owns, and stores their
   * indices in `pkts`.
   * @param queue virtqueue index, odd: a guest's Tx ring.
   * @returns how many were stored; 0 for a ring that does not run. Never throws.
   */
  dequeueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    const ring = this.running[queue];
    if (ring === undefined) return 0;
    if (!(queue & 1)) return this.wrongParity('dequeue', queue);
    try {
      return ring.dequeue(pool, pkts, n);
    } catch (error) {
      return this.failed(ring, error);
    }
  }

  /** The last check before a copy failed (copy.ts): an error of ours, for which only this guest's ring is stopped. */
  private failed(ring: DeviceQueue, error: unknown): number {
    ring.fail(error instanceof Error ? error.message : String(error));
    return 0;
  }

  private wrongParity(what: string, queue: number): number {
    if (!this.parityReported) this.log('error', `${what}: invalid virtqueue idx ${queue}.`);
    this.parityReported = true;
    return 0;
  }

  // ---- state for callers -----------------------------------------------------------------------------------------------

  /** Virtqueues that the front-end has named so far (rte_vhost_get_vring_num); at most 2 when MQ was not negotiated. */
  get numberOfQueues(): number {
    return this.features & VIRTIO_NET_F_MQ ? this.rings.length : Math.min(2, this.rings.length);
  }

  /** Whether a ring runs now. @param queue virtqueue index. */
  isRunning(queue: number): boolean {
    return this.running[queue] !== undefined;
  }

  /**
   * Counters of one ring since the connection began, by rte_vhost's names (`rx_q0_good_packets`, ...). Allocates memory.
   * @param queue virtqueue index. @throws VirtioPmdError ECONFIG when it is no number.
   */
  ringStats(queue: number): ReadonlyMap<string, number> {
    checkArgument('ringStats', 'queue', queue, aNumber);
    return namedStats(queue, this.rings[queue]?.stats());
  }

  /**
   * Packets of a ring, since the connection began, that were dropped because of wrong descriptors of the guest; `ringStats` says
   * why. Allocates memory.
   */
  dropped(queue: number): number {
    const stats = this.rings[queue]?.stats();
    return stats === undefined ? 0 : droppedPackets(queue, stats);
  }

  /** Logs a sentence about this device, with the path of its socket. */
  log(level: LogLevel, sentence: string): void {
    this.options.log(level, `VHOST_CONFIG: (${this.path}) ${sentence}`);
  }

  // ---- for the messages ------------------------------------------------------------------------------------------------

  /** The format of every ring, from the negotiated features. */
  get format(): RingFormat {
    const has = (bit: bigint) => (this.features & bit) !== 0n;
    const modern = has(VIRTIO_NET_F_MRG_RXBUF | VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED);
    return {
      packed: has(VIRTIO_F_RING_PACKED),
      hdrSize: modern ? NET_HDR_MRG : NET_HDR_LEGACY,
      mergeable: has(VIRTIO_NET_F_MRG_RXBUF),
      inOrder: has(VIRTIO_F_IN_ORDER),
      indirect: has(VIRTIO_F_INDIRECT_DESC),
      eventIdx: has(VIRTIO_F_EVENT_IDX),
    };
  }

  /** Translation of addresses by the memory table in force. */
  get guestMemory(): GuestMemory {
    return this.memory;
  }

  /** The ring of an index that has been checked. It is made, with those below it, when a message first names it. */
  ring(index: number): Vring {
    while (this.rings.length <= index) this.rings.push(new Vring(this.rings.length));
    return this.rings[index]!;
  }

  /** Whether any ring runs. */
  get active(): boolean {
    return this.running.some((ring) => ring !== undefined);
  }

  /**
   * After the table has changed: the addresses of every ring are translated again. A ring continues at its position, or stops
   * when its parts are not in the memory any more. Nothing refers to the old mappings afterwards.
   */
  memoryChanged(): void {
    for (const ring of this.rings) {
      ring.close();
      ring.changed = true;
    }
    this.memory = this.table.guestMemory();
    const problem = this.update();
    if (problem !== undefined) this.log('error', `${problem}; the ring stops`);
  }

  /** SET_FEATURES, after its checks. A ring whose format changes loses its position. */
  setFeatures(features: bigint): void {
    const changed = this.features !== features;
    const otherFormat = ((this.features ^ features) & VIRTIO_F_RING_PACKED) !== 0n;
    this.features = features;
    for (const ring of this.rings) {
      if (otherFormat) ring.forgetPosition();
      ring.changed = true;
    }
    if (changed) this.options.callbacks.featuresChanged?.(this, features);
  }

  /** SET_STATUS (virtio 1.2 section 2.1). 0 resets: rings stop; GET_VRING_BASE still returns their positions. */
  setStatus(status: number): void {
    this.status = this.featuresFailed ? status & ~STATUS_FEATURES_OK : status;
    if (status === 0) for (const ring of this.rings) ring.reset();
    for (const ring of this.rings) ring.changed = true;
  }

  private mayRun(ring: Vring): boolean {
    const enabled = ring.enabled || !(this.features & VHOST_USER_F_PROTOCOL_FEATURES);
    const driverOk = !(this.protocolFeatures & PROTOCOL_F_STATUS) || (this.status & STATUS_DRIVER_OK) !== 0;
    return ring.complete && enabled && driverOk && this.memory.slices.length > 0;
  }

  /**
   * Starts the rings that may run now, stops those that may not run any more, and calls the callbacks.
   * @returns undefined, or why a ring that should start cannot.
   */
  update(): string | undefined {
    let problem: string | undefined;
    for (const ring of this.rings) {
      const may = this.mayRun(ring);
      if (!may) ring.close();
      else if (ring.queue === undefined && ring.changed) problem ??= this.startRing(ring);
      this.publish(ring);
    }
    this.updateReady();
    return problem;
  }

  private startRing(ring: Vring): string | undefined {
    try {
      const resync = ring.open(this.format, this.memory);
      if (resync !== undefined) {
        this.log('warning', positionWarning(ring.index, resync, this.format.packed));
        this.log('warning', 'some packets maybe resent for Tx and dropped for Rx');
      }
      return undefined;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** Makes the ring's state visible to the data path. */
  private publish(ring: Vring): void {
    const { index, queue } = ring;
    const before = this.running[index];
    if (before === queue) return;
    this.running[index] = queue;
    if ((before === undefined) !== (queue === undefined)) {
      this.options.callbacks.vringStateChanged?.(this, index, queue !== undefined);
    }
  }

  private updateReady(): void {
    const ready = this.isRunning(0) && this.isRunning(1);
    if (ready === this.ready) return;
    const { callbacks } = this.options;
    this.ready = ready;
    if (!ready) {
      callbacks.destroyDevice?.(this);
      return;
    }
    this.log('info', 'virtio is now ready for processing.');
    if (callbacks.newDevice?.(this) === false) this.ready = false;
  }

  /**
   * Logs each ring that stopped because of an error since the last call, once, and signals its error eventfd if there is one.
   * Logs the first drop of each ring too.
   */
  reportBroken(): void {
    const running = this.running;
    for (let i = 0; i < running.length; i++) {
      const queue = running[i];
      if (queue === undefined) continue;
      const ring = this.rings[i]!;
      if (queue.stats[ERRORS]! > 0 && !ring.dropsReported) {
        ring.dropsReported = true;
        this.log(
          'warning',
          `vring ${i} drops what the guest offers: ${describeDrops(queue.stats)}; counted from here on`,
        );
      }
      if (queue.broken === undefined) continue;
      if (ring.reported) continue;
      ring.reported = true;
      this.log('error', `vring ${i} is given up: ${queue.broken}; it starts again when the guest restarts it`);
      if (ring.errorFd >= 0) signalPeer(ring.errorFd);
    }
  }

  /** The end of the connection: stops rings, calls the callbacks, closes descriptors, unmaps memory. */
  dispose(): void {
    for (const ring of this.rings) {
      const drops = describeDrops(ring.stats());
      if (drops !== '') this.log('warning', `vring ${ring.index} dropped what the guest offered: ${drops}`);
      ring.dispose();
      this.publish(ring);
    }
    this.updateReady();
    this.memory = new GuestMemory([]);
    this.table.clear();
  }
}

function positionWarning(index: number, at: { readonly base: number; readonly used: number }, packed: boolean): string {
  const { base, used } = at;
  if (!packed) return `last_used_idx (${base}) and vq->used->idx (${used}) mismatches;`;
  const position = (half: number) => `${half & 0x7fff} (wrap counter ${half >>> 15})`;
  return `vring ${index} goes on at ${position(used)}, where its descriptors say, and not at ${position(base)};`;
}
