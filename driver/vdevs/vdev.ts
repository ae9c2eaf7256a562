/** The device of a small port driver: all that these drivers have in common. A driver supplies a `Vdev`. */
import { BYTES, ERRORS, NOMBUF, PACKETS } from '../../paths/stats.js';
import { defaultMtu, type PortLimits, type ResolvedConfig } from '../port/config.js';
import { Absent, type PortDevice, type PortHost } from '../port/device.js';
import type { PortFilters, PortInterrupts, PortRss } from '../port/parts.js';
import type { Link, PortStats, QueueInfo, Xstat } from '../port/types.js';
import { queueXstats } from '../port/xstats.js';
import { BROKEN, STARTED, VDEV_QUEUE_BYTES, vdevQueueState, type VdevQueueSpec } from './queue-state.js';

/** What one driver supplies. */
export interface Vdev {
  /** As `show port info` prints it: net_pcap. */
  readonly driverName: string;
  /** AA:BB:CC:DD:EE:FF. */
  readonly mac: string;
  readonly maxRxQueues: number;
  readonly maxTxQueues: number;
  /** Descriptors of a queue, where the device has such. Default 512. */
  readonly queueSize?: number;
  /** The largest MTU, if there is one. */
  readonly deviceMtu?: number;
  /** The MTU that the device has now, if it has one of its own. */
  readonly currentMtu?: number | undefined;
  readonly rxOffloadCapa?: number;
  readonly txOffloadCapa?: number;
  /** Limits that are not the usual ones of these drivers. */
  readonly limits?: Pick<PortLimits, 'maxRxPktLen' | 'chains'>;
  /** URL of the module that opens the queues (a `QueueModule`). */
  readonly module: string;
  /** The path of a queue: the name of its burst function, for `show rxq info`. */
  readonly burstMode: string;
  readonly filters: PortFilters | Absent;
  readonly rss: PortRss | Absent;
  readonly interrupts: PortInterrupts | Absent;
  /** The link while the port is started. */
  readonly link: Link;
  readonly lost?: string | undefined;
  /**
   * Plain data that the module needs to open a queue. A `path` in it takes the place of `burstMode`.
   * @throws VirtioPmdError
   */
  queueData(kind: 'rx' | 'tx', queue: number, config: ResolvedConfig): object;
  /** Sets the device's own MTU. @param mtu bytes, checked already. @throws VirtioPmdError ESYSTEM */
  setMtu?(mtu: number): void;
  /** Packets that came while the device had no room for them, since it was opened. Never throws. */
  missed?(): number;
  /** Frees what `queueData` made. Never throws. */
  release(): void;
  /** The port is started now: no queue is polled before this returns. @throws VirtioPmdError */
  start?(): void;
  /** The port is stopped, and no lcore is in a queue. Not called when an lcore does not leave its queue (ELCORE). */
  stop?(): void;
  /** Checks the device; called every 50 ms until the port is closed, in every state. Never throws. */
  look?(): void;
  /** The sentence for a code in the word BROKEN. */
  brokenReason?(code: number): string;
  privateInfo(): readonly (readonly [string, string])[];
  /** Never throws. */
  close(): void;
}

/** rte_eth_link of a port that is stopped. */
const DOWN: Link = { up: false, speed: undefined };

export class VdevDevice implements PortDevice {
  readonly driverName: string;
  readonly path = new Absent('it has one way to receive and one to send');
  private config: ResolvedConfig | undefined;
  private specs: { readonly rx: readonly VdevQueueSpec[]; readonly tx: readonly VdevQueueSpec[] } = { rx: [], tx: [] };
  private running = false;
  /** Counters at the last reset. */
  private readonly zero = new WeakMap<VdevQueueSpec, Float64Array>();
  private missedBefore = 0;
  private readonly told = new Set<VdevQueueSpec>();

  constructor(
    private readonly host: PortHost,
    private readonly vdev: Vdev,
  ) {
    this.driverName = vdev.driverName;
  }

  get mac(): string {
    return this.vdev.mac;
  }

  get filters(): PortFilters | Absent {
    return this.vdev.filters;
  }

  get rss(): PortRss | Absent {
    return this.vdev.rss;
  }

  get interrupts(): PortInterrupts | Absent {
    return this.vdev.interrupts;
  }

  get link(): Link {
    return this.running ? this.vdev.link : DOWN;
  }

  get lost(): string | undefined {
    return this.vdev.lost;
  }

  get intact(): boolean {
    return this.config !== undefined && this.vdev.lost === undefined;
  }

  limits(): PortLimits {
    const { maxRxQueues, maxTxQueues, queueSize = 512, rxOffloadCapa = 0, txOffloadCapa = 0 } = this.vdev;
    const { deviceMtu, currentMtu } = this.vdev;
    const common = { portId: this.host.id, maxRxQueues, maxTxQueues, queueSize, hdrSize: 0, deviceMtu, currentMtu };
    return { ...common, rxOffloadCapa, txOffloadCapa, minRxBufSize: 0, maxMacAddrs: 1, ...this.vdev.limits };
  }

  configure(config: ResolvedConfig): void {
    const make = (kind: 'rx' | 'tx', count: number) =>
      Array.from({ length: count }, (_, queueId): VdevQueueSpec => ({
        ...{ portId: this.host.id, queueId, kind, path: this.vdev.burstMode, module: this.vdev.module },
        ...{ mempool: config.mempool, shared: new SharedArrayBuffer(VDEV_QUEUE_BYTES) },
        ...this.vdev.queueData(kind, queueId, config),
      }));
    try {
      if (config.mtu !== defaultMtu(this.limits(), config)) this.vdev.setMtu?.(config.mtu);
      this.specs = { rx: make('rx', config.rxQueues), tx: make('tx', config.txQueues) };
    } catch (error) {
      this.vdev.release();
      throw error;
    }
    this.config = config;
  }

  release(): void {
    this.config = undefined;
    this.specs = { rx: [], tx: [] };
    this.told.clear();
    this.vdev.release();
  }

  private get all(): readonly VdevQueueSpec[] {
    return [...this.specs.rx, ...this.specs.tx];
  }

  start(): void {
    this.vdev.start?.();
    this.letBursts(true);
    this.running = true;
    this.host.eal.lcores.wake();
  }

  stop(): void {
    this.running = false;
    this.letBursts(false);
    this.host.eal.lcores.quiesce();
    this.vdev.stop?.();
  }

  private letBursts(on: boolean): void {
    for (const spec of this.all) Atomics.store(vdevQueueState(spec).words, STARTED, on ? 1 : 0);
  }

  close(): void {
    this.vdev.close();
  }

  setMtu(mtu: number): void {
    this.vdev.setMtu?.(mtu);
  }

  look(): void {
    this.vdev.look?.();
    for (const spec of this.all) {
      const why = this.broken(spec);
      if (why === undefined || this.told.has(spec)) continue;
      this.told.add(spec);
      const queue = `${spec.kind}_q${spec.queueId}`;
      this.host.log('error', `port ${this.host.id} ${queue} is broken: ${why}`);
      this.host.emit('broken', queue, why);
    }
  }

  private broken(spec: VdevQueueSpec): string | undefined {
    const code = vdevQueueState(spec).words[BROKEN]!;
    return code === 0 ? undefined : (this.vdev.brokenReason?.(code) ?? `code ${code}`);
  }

  queues(kind: 'rx' | 'tx'): readonly VdevQueueSpec[] {
    return this.specs[kind];
  }

  queueInfo(kind: 'rx' | 'tx', queue: number): Omit<QueueInfo, 'started'> {
    const spec = this.specs[kind][queue]!;
    const { mempool, rxDesc, txDesc, rxOffloads, txOffloads, rxFreeThresh, txFreeThresh } = this.config!;
    const [nbDesc, offloads, freeThresh] =
      kind === 'rx' ? [rxDesc, rxOffloads, rxFreeThresh] : [txDesc, txOffloads, txFreeThresh];
    const common = { queueId: queue, mempool: mempool.name, nbDesc, offloads, freeThresh, scattered: false };
    return { ...common, burstMode: spec.path, broken: this.broken(spec) };
  }

  private counters(kind: 'rx' | 'tx'): Float64Array[] {
    return this.specs[kind].map((spec) => {
      const zero = this.zero.get(spec);
      const { stats } = vdevQueueState(spec);
      return zero === undefined ? stats : stats.map((value, i) => value - zero[i]!);
    });
  }

  stats(): PortStats {
    const sum = (kind: 'rx' | 'tx', index: number) =>
      this.counters(kind).reduce((total, stats) => total + stats[index]!, 0);
    return {
      ipackets: sum('rx', PACKETS),
      opackets: sum('tx', PACKETS),
      ibytes: sum('rx', BYTES),
      obytes: sum('tx', BYTES),
      imissed: (this.vdev.missed?.() ?? 0) - this.missedBefore,
      ierrors: sum('rx', ERRORS),
      oerrors: sum('tx', ERRORS),
      rxNombuf: sum('rx', NOMBUF),
    };
  }

  xstats(): Xstat[] {
    return queueXstats(this.counters('rx'), this.counters('tx'));
  }

  resetStats(): void {
    this.missedBefore = this.vdev.missed?.() ?? 0;
    for (const spec of this.all) this.zero.set(spec, vdevQueueState(spec).stats.slice());
  }

  privateInfo(): readonly (readonly [string, string])[] {
    return this.vdev.privateInfo();
  }
}
