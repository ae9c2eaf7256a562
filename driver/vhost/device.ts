/**
 * One guest device behind one connection: its negotiated features, its memory, its rings, and the bursts. requests.ts carries
 * out the messages and calls the setters here; `update` then starts and stops rings.
 *
 * One thread calls everything: the one that calls `VhostDriver.poll`. Bursts are for the same thread, or (net_vhost) for
 * lcores, which open the rings from shared state. handover.ts keeps them out while something changes.
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
import type { MemoryState } from '../../paths/device/memory-state.js';
import { openRing } from '../../paths/device/open.js';
import type { DeviceQueue } from '../../paths/device/queue.js';
import { BROKEN, GENERATION, RingState } from '../../paths/device/ring-state.js';
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
import { Handover } from './handover.js';
import { MemoryTable } from './memory-table.js';
import { describeDrops, droppedPackets, namedStats } from './stats.js';
import type { VhostCallbacks, VhostDevice } from './types.js';
import { Vring, type RingFormat } from './vring.js';

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
  /** When lcores poll the rings: what they share with this thread. Default: this thread polls. */
  readonly shared?: SharedDevice | undefined;
}

/** What the lcores that poll a device's rings share with the thread that handles its messages. */
export interface SharedDevice {
  readonly handover: Handover;
  readonly memory: MemoryState;
  /** By virtqueue index. */
  readonly rings: readonly RingState[];
}

const deviceOptions: OptionKinds<DeviceOptions> = {
  offered: aBigint,
  offeredProtocol: aBigint,
  maxQueuePairs: aNumber,
  callbacks: anObject,
  log: aFunction,
  anyMemoryFile: optional(aBoolean),
  shared: optional(anObject),
};

/** A guest's device, with what the messages set. Users see a `VhostDevice` (types.ts), whose members are described there. */
export class GuestDevice implements VhostDevice {
  features = 0n;
  protocolFeatures = 0n;
  status = 0;
  mtu: number | undefined;
  /** The last SET_FEATURES was refused: the device must not keep FEATURES_OK set (virtio 1.2 section 3.1.1). */
  featuresFailed = false;
  ready = false;

  readonly table: MemoryTable;
  /** By virtqueue index. A ring exists from its first mention on. */
  readonly rings: Vring[] = [];
  private memory = new GuestMemory([]);
  /** The running rings, by virtqueue index, when this thread polls them. The data path uses only this. */
  private readonly queues: (DeviceQueue | undefined)[] = [];
  /** By virtqueue index: the last start that was made known, or undefined: it is known that the ring does not run. */
  private readonly known: (number | undefined)[] = [];
  private readonly handover: Handover;
  private parityReported = false;

  /** @param id unique in this process (DPDK's vid). @param path of the socket. @throws VirtioPmdError ECONFIG for wrong options. */
  constructor(
    readonly id: number,
    readonly path: string,
    readonly options: DeviceOptions,
  ) {
    checkArguments('GuestDevice', { id: [id, aNumber], path: [path, aString] });
    checkOptions('GuestDevice', options, deviceOptions);
    this.table = new MemoryTable(options.anyMemoryFile);
    this.handover = options.shared?.handover ?? new Handover();
  }

  // ---- data path -----------------------------------------------------------------------------------------------------

  enqueueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    const ring = this.queues[queue];
    if (ring === undefined) return 0;
    if (queue & 1) return this.wrongParity('enqueue', queue);
    try {
      return ring.enqueue(pool, pkts, n);
    } catch (error) {
      return this.failed(ring, error);
    }
  }

  dequeueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    const ring = this.queues[queue];
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
    ring.state.fail(error instanceof Error ? error.message : String(error));
    return 0;
  }

  private wrongParity(what: string, queue: number): number {
    if (!this.parityReported) this.log('error', `${what}: invalid virtqueue idx ${queue}.`);
    this.parityReported = true;
    return 0;
  }

  // ---- state for callers -----------------------------------------------------------------------------------------------

  get numberOfQueues(): number {
    return this.features & VIRTIO_NET_F_MQ ? this.rings.length : Math.min(2, this.rings.length);
  }

  isRunning(queue: number): boolean {
    return this.rings[queue]?.isRunning ?? false;
  }

  ringStats(queue: number): ReadonlyMap<string, number> {
    checkArgument('ringStats', 'queue', queue, aNumber);
    return namedStats(queue, this.rings[queue]?.stats());
  }

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
    const { shared } = this.options;
    while (this.rings.length <= index) {
      const state = shared?.rings[this.rings.length] ?? new RingState();
      state.clear();
      this.rings.push(new Vring(this.rings.length, state, this.handover));
    }
    return this.rings[index]!;
  }

  /** Whether any ring runs. */
  get active(): boolean {
    return this.rings.some((ring) => ring.isRunning);
  }

  /**
   * After the table has changed: the addresses of every ring are translated again. A ring continues at its position, or stops
   * when its parts are not in the memory any more. Nothing refers to the old mappings afterwards.
   * @param unmapOld unmaps regions that the table has no more.
   * @throws VirtioPmdError ELCORE, ETIMEOUT from the hand-over
   */
  memoryChanged(unmapOld: () => void = () => undefined): void {
    try {
      this.closeAll();
    } finally {
      this.handover.free(unmapOld);
    }
    for (const ring of this.rings) ring.changed = true;
    const { slices } = this.table;
    this.memory = new GuestMemory(slices);
    if (this.options.shared !== undefined) this.options.shared.memory.slices = slices;
    const problem = this.update();
    if (problem !== undefined) this.log('error', `${problem}; the ring stops`);
  }

  /** Stops all rings until their next kick. @throws VirtioPmdError ELCORE, ETIMEOUT */
  resetRings(): void {
    this.closeAll();
    for (const ring of this.rings) ring.reset();
  }

  /** Stops all rings with one wait. @throws VirtioPmdError ELCORE, ETIMEOUT */
  private closeAll(): void {
    const halted = this.rings.filter((ring) => ring.halt());
    if (halted.length > 0) this.handover.wait();
    for (const ring of halted) ring.quieten();
    for (const ring of this.rings) ring.close();
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
    if (status === 0) this.resetRings();
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
      else if (!ring.isRunning && ring.changed) problem ??= this.startRing(ring);
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
    const { index, isRunning } = ring;
    const before = this.known[index];
    const now = isRunning ? ring.state.words[GENERATION]! : undefined;
    if (before === now) return;
    this.known[index] = now;
    if (!this.handover.isShared) this.queues[index] = isRunning ? openRing(ring.state, this.memory) : undefined;
    if ((before === undefined) !== (now === undefined)) {
      this.options.callbacks.vringStateChanged?.(this, index, isRunning);
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
    const { rings } = this;
    for (let i = 0; i < rings.length; i++) {
      const ring = rings[i]!;
      if (!ring.isRunning) continue;
      const { words, stats } = ring.state;
      if (stats[ERRORS]! > 0 && !ring.dropsReported) {
        ring.dropsReported = true;
        this.log('warning', `vring ${i} drops what the guest offers: ${describeDrops(stats)}; counted from here on`);
      }
      if (words[BROKEN] === 0 || ring.reported) continue;
      ring.reported = true;
      this.log('error', `vring ${i} is given up: ${ring.state.broken}; it starts again when the guest restarts it`);
      if (ring.errorFd >= 0) signalPeer(ring.errorFd);
    }
  }

  /** The end of the connection: stops rings, calls the callbacks, closes descriptors, unmaps memory. Never throws. */
  dispose(): void {
    try {
      this.closeAll();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.log('error', `${why}; the guest's memory stays mapped until it does`);
    }
    for (const ring of this.rings) {
      const drops = describeDrops(ring.stats());
      if (drops !== '') this.log('warning', `vring ${ring.index} dropped what the guest offered: ${drops}`);
      ring.dispose();
      this.publish(ring);
    }
    this.updateReady();
    this.memory = new GuestMemory([]);
    this.handover.free(() => this.table.clear());
  }
}

function positionWarning(index: number, at: { readonly base: number; readonly used: number }, packed: boolean): string {
  const { base, used } = at;
  if (!packed) return `last_used_idx (${base}) and vq->used->idx (${used}) mismatches;`;
  const position = (half: number) => `${half & 0x7fff} (wrap counter ${half >>> 15})`;
  return `vring ${index} goes on at ${position(used)}, where its descriptors say, and not at ${position(base)};`;
}
