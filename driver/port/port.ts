/**
 * A port, as in DPDK's ethdev: configure, start, stop and close, bursts, statistics, information and settings. It is the same
 * for every kind of device (`PortDevice`, device.ts).
 *
 * A timer on the thread that attached the port checks the device: it detects that a back-end went away or came back, and
 * broken queues. A program that never returns to the event loop gets the same by reading `link` now and then.
 */
import { aNumber, checkArgument, checkArguments, checkOptions, madeBy } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../eal/eal.js';
import type { LogLevel } from '../eal/types.js';
import {
  checkMtu,
  DEFAULT_MTU,
  portConfig,
  resolveConfig,
  sameConfig,
  type PortLimits,
  type ResolvedConfig,
} from './config.js';
import { Absent, type PortDevice, type PortHost, type Wishes } from './device.js';
import { Emitter } from './emitter.js';
import { portInfo } from './info.js';
import type { PortFilters, PortInterrupts, PortRss } from './parts.js';
import { openRx, openTx, type PortQueueSpec, type RxQueue, type TxQueue } from './queue.js';
import { rxReady, type RxReadyOptions } from './rx-ready.js';
import type {
  Link,
  PathReport,
  PortConfig,
  PortEvents,
  PortInfo,
  PortSpec,
  PortStats,
  QueueInfo,
  Xstat,
} from './types.js';
import { ethdevXstats } from './xstats.js';

/** Interval in which the timer checks the device. */
const MONITOR_MS = 50;

const DOWN: Link = { up: false, speed: undefined };

/** Parts that a device may not have. */
export type PortPart = 'filters' | 'rss' | 'interrupts' | 'path';

const PART_NAMES: Readonly<Record<PortPart, string>> = {
  filters: 'filters',
  rss: 'receive-side scaling',
  interrupts: 'interrupts of Rx queues',
  path: 'report of its path',
};

export interface PortOptions {
  readonly eal: Eal;
  readonly id: number;
  readonly name: string;
  /** The device string. */
  readonly devargs: string;
  /** Makes the device; the port owns it. */
  readonly open: (host: PortHost) => PortDevice;
  readonly log: (level: LogLevel, line: string) => void;
}

/** Ports by id; ids are the lowest free ones, as in DPDK. */
const registry = new WeakMap<Eal, (Port | undefined)[]>();

/** The attached ports of an Eal, in the order of their ids. */
export function portsOf(eal: Eal): readonly Port[] {
  return (registry.get(eal) ?? []).filter((port) => port !== undefined);
}

/** The id of the next port. */
export function freeId(eal: Eal): number {
  const ports = registry.get(eal) ?? [];
  const free = ports.findIndex((port) => port === undefined);
  return free < 0 ? ports.length : free;
}

export class Port {
  readonly id: number;
  readonly name: string;
  readonly devargs: string;

  private readonly eal: Eal;
  private readonly device: PortDevice;
  private readonly events = new Emitter<PortEvents>();
  private readonly sink: PortOptions['log'];
  private readonly timer: NodeJS.Timeout;
  /** Cancels that the Eal closes this port. */
  private readonly forget: () => void;
  /** The requested configuration with all defaults filled in; its MTU is the initial one. */
  private resolved: ResolvedConfig | undefined;
  private mtu = DEFAULT_MTU;
  private running = false;
  private closed = false;
  /** The state in the last link event. */
  private announced = false;
  /** Queues opened on this thread; a configuration that makes new queues makes new specs. */
  private readonly rxQueues = new WeakMap<PortQueueSpec, RxQueue>();
  private readonly txQueues = new WeakMap<PortQueueSpec, TxQueue>();

  /** Use `attach`. */
  constructor(options: PortOptions) {
    checkArgument('Port', 'options', options, madeBy('attach', 'eal', 'open', 'log'));
    const { eal, id, name, devargs, open, log } = options;
    this.eal = eal;
    this.id = id;
    this.name = name;
    this.devargs = devargs;
    this.sink = log;
    this.device = open(this.host());
    this.forget = eal.beforeClose(() => this.close());
    this.timer = setInterval(() => this.device.look(false), MONITOR_MS);
    this.timer.unref();
    const ports = registry.get(eal) ?? [];
    registry.set(eal, ports);
    ports[id] = this;
  }

  private host(): PortHost {
    return {
      eal: this.eal,
      id: this.id,
      log: (level, line) => this.log(level, line),
      linkChanged: (why) => this.announce(why),
      mtuChanged: (mtu) => (this.mtu = mtu),
      emit: (event, ...args) => {
        if (event === 'queueState') this.eal.lcores.wake();
        this.events.emit(event, ...args);
      },
      stateError: (what) => this.stateError(what),
    };
  }

  on<E extends keyof PortEvents>(event: E, listener: PortEvents[E]): this {
    this.events.on(event, listener);
    return this;
  }

  off<E extends keyof PortEvents>(event: E, listener: PortEvents[E]): this {
    this.events.off(event, listener);
    return this;
  }

  private log(level: LogLevel, line: string): void {
    this.sink(level, line);
    this.events.emit('log', level, line);
  }

  private checkOpen(): void {
    if (this.closed) throw this.stateError('is closed');
  }

  /** Checks the device at the beginning of a call of the user. @throws VirtioPmdError ESTATE when it is lost permanently */
  private lookPatiently(): void {
    this.device.look(true);
    if (this.device.lost !== undefined) throw this.stateError(this.device.lost);
  }

  private stateError(what: string): VirtioPmdError {
    return new VirtioPmdError('ESTATE', `port ${this.id} (${this.name}) ${what}`);
  }

  // ---- life cycle ----------------------------------------------------------------------------------------------------

  get configured(): boolean {
    return this.resolved !== undefined;
  }

  get started(): boolean {
    return this.running;
  }

  /** The current configuration, with all defaults filled in. */
  get config(): ResolvedConfig | undefined {
    return this.resolved && { ...this.resolved, mtu: this.mtu };
  }

  /**
   * rte_eth_dev_configure with all queue set-ups. The same configuration again changes nothing. Another one resets the device
   * and makes new queues: earlier paths and specs must not be used any more.
   *
   * A slow back-end, or one that is lost and searched again meanwhile, is no error: the port is set up when it has answered,
   * and its link is down until then.
   * @throws VirtioPmdError ESTATE while started; ECONFIG; EMEMORY; EPEER and ETIMEOUT from the device
   */
  configure(config: PortConfig): void {
    this.checkOpen();
    checkOptions('port.configure', config, portConfig);
    if (this.running) throw this.stateError('must be stopped to allow configuration');
    this.lookPatiently();
    if (config.rss === true) this.part('rss');
    const wishes = this.lacks('rss') === undefined ? config : { ...config, rss: false };
    const resolved = resolveConfig(wishes, this.limits(wishes));
    if (this.resolved !== undefined && sameConfig(this.resolved, resolved) && this.device.intact) return;
    if (resolved.rxInterrupts) this.part('interrupts');
    this.release();
    this.device.configure(resolved);
    this.resolved = resolved;
    this.mtu = resolved.mtu;
  }

  /** Returns to the state "attached, not configured". */
  private release(): void {
    this.resolved = undefined;
    this.device.release();
  }

  private limits(wishes: Wishes): PortLimits {
    return this.device.limits(wishes);
  }

  /**
   * Starts the port: bursts work from now on. While a back-end is away, or has not answered yet, the port counts as started
   * and its link is down until the back-end is there.
   * @throws VirtioPmdError ESTATE before configure; EMEMORY; EPEER and ETIMEOUT from the device
   */
  start(): void {
    this.checkOpen();
    if (this.running) {
      this.log('info', `Device with port_id=${this.id} already started`);
      return;
    }
    if (this.resolved === undefined) throw this.stateError('must be configured before it is started');
    this.lookPatiently();
    this.device.start();
    this.running = true;
    this.announce('port started');
  }

  /**
   * Stops the port: bursts return 0 from now on. Waits until lcores have left the queues.
   * @throws VirtioPmdError ELCORE when a job does not call `running()`
   */
  stop(): void {
    this.checkOpen();
    if (!this.running) return;
    this.running = false;
    try {
      this.device.stop();
    } finally {
      this.announce('port stopped');
    }
  }

  /** Resets the device and configures it as before. @throws VirtioPmdError ESTATE while started, and as `configure` */
  reset(): void {
    this.checkOpen();
    if (this.running) throw this.stateError('must be stopped to be reset');
    const { config } = this;
    if (config === undefined) return;
    this.release();
    this.configure(config);
  }

  /** Stops the port, resets the device, frees all mbufs, memory and sockets. Idempotent. */
  close(): void {
    if (this.closed) return;
    try {
      this.stop();
    } finally {
      this.closed = true;
      this.forget();
      clearInterval(this.timer);
      this.release();
      this.device.close();
      this.events.emit('closed');
      const ports = registry.get(this.eal);
      if (ports?.[this.id] === this) ports[this.id] = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- link ----------------------------------------------------------------------------------------------------------

  /** The current link. Reading it also checks the device. */
  get link(): Link {
    this.device.look(false);
    try {
      return this.linkNow();
    } catch {
      return DOWN; // the device went away between the two reads: the next check reports it
    }
  }

  private linkNow(): Link {
    return this.running ? this.device.link : DOWN;
  }

  private announce(why: string): void {
    const link = this.linkNow();
    if (link.up === this.announced) return;
    this.announced = link.up;
    this.events.emit('link', link, why);
  }

  // ---- bursts --------------------------------------------------------------------------------------------------------

  /** Rx queue `queue` for bursts on this thread. Valid until the next configure() that changes something. */
  rx(queue: number): RxQueue {
    const spec = this.usedQueue('rx', queue);
    let opened = this.rxQueues.get(spec);
    if (opened === undefined) this.rxQueues.set(spec, (opened = openRx(spec, this.eal.mempool(spec.mempool))));
    return opened;
  }

  /** Tx queue `queue` for bursts on this thread. Valid until the next configure() that changes something. */
  tx(queue: number): TxQueue {
    const spec = this.usedQueue('tx', queue);
    let opened = this.txQueues.get(spec);
    if (opened === undefined) this.txQueues.set(spec, (opened = openTx(spec, this.eal.mempool(spec.mempool))));
    return opened;
  }

  /** The port as plain data for an lcore. Only one thread at a time may use a queue. */
  spec(): PortSpec {
    this.configuration();
    return { portId: this.id, rx: this.device.queues('rx'), tx: this.device.queues('tx') };
  }

  /**
   * `for await (const queues of port.rxReady())`: yields the numbers of the Rx queues that have packets; between packets the
   * process sleeps. @param queues default: all. Needs `rxInterrupts`; see rx-ready.ts.
   */
  rxReady(queues?: readonly number[], options?: RxReadyOptions): AsyncGenerator<readonly number[], void, void> {
    return rxReady(this, queues, options);
  }

  private configuration(): ResolvedConfig {
    this.checkOpen();
    if (this.resolved !== undefined) return this.resolved;
    throw this.stateError('is not configured yet');
  }

  private usedQueue(kind: 'rx' | 'tx', queue: number): PortQueueSpec {
    this.configuration();
    const queues = this.device.queues(kind);
    const spec = queues[queue];
    if (spec !== undefined) return spec;
    checkArguments('port', { queue: [queue, aNumber] });
    throw new VirtioPmdError(
      'ECONFIG',
      `port ${this.id} has no ${kind} queue ${queue}: ${queues.length} are configured, counted from 0`,
    );
  }

  // ---- parts that a device may not have ------------------------------------------------------------------------------

  /** Why the device does not have a part; undefined when it has it. */
  lacks(part: PortPart): string | undefined {
    const found = this.device[part];
    return found instanceof Absent ? found.why : undefined;
  }

  private part<P extends PortPart>(part: P): Exclude<PortDevice[P], Absent> {
    const found = this.device[part];
    if (!(found instanceof Absent)) return found as Exclude<PortDevice[P], Absent>;
    throw new VirtioPmdError('ECONFIG', `port ${this.id} (${this.name}) has no ${PART_NAMES[part]}: ${found.why}`);
  }

  /** Addresses, VLANs and modes. @throws VirtioPmdError ECONFIG when the device has no such part, as do the next two */
  get filters(): PortFilters {
    return this.part('filters');
  }

  /** Receive-side scaling. */
  get rss(): PortRss {
    return this.part('rss');
  }

  /** Interrupts of Rx queues. */
  get interrupts(): PortInterrupts {
    return this.part('interrupts');
  }

  /** Why this path, and what was negotiated. @throws VirtioPmdError ESTATE before configure; ECONFIG without such a report */
  path(): PathReport {
    this.configuration();
    return this.part('path')();
  }

  // ---- statistics ----------------------------------------------------------------------------------------------------

  /** Sums over the queues in use since the last reset. */
  stats(): PortStats {
    return this.device.stats();
  }

  xstats(): Xstat[] {
    return [...ethdevXstats(this.stats()), ...this.device.xstats()];
  }

  /** Clears stats, and xstats that come from the same counters, as in DPDK. */
  resetStats(): void {
    this.device.resetStats();
  }

  /** Clears xstats, and stats that come from the same counters. */
  resetXstats(): void {
    if (this.device.resetXstats === undefined) this.resetStats();
    else this.device.resetXstats();
  }

  // ---- information and settings --------------------------------------------------------------------------------------

  /** AA:BB:CC:DD:EE:FF. */
  get mac(): string {
    return this.device.mac;
  }

  info(): PortInfo {
    return portInfo({ port: this, device: this.device, limits: this.limits(this.resolved ?? {}), mtu: this.mtu });
  }

  rxQueueInfo(queue: number): QueueInfo {
    return this.queueInfo('rx', queue);
  }

  txQueueInfo(queue: number): QueueInfo {
    return this.queueInfo('tx', queue);
  }

  private queueInfo(kind: 'rx' | 'tx', queue: number): QueueInfo {
    this.usedQueue(kind, queue);
    return { ...this.device.queueInfo(kind, queue), started: this.running };
  }

  /** @param mtu bytes. @throws VirtioPmdError ECONFIG when out of range, larger than the mbufs (without scatter), or refused; ESYSTEM */
  setMtu(mtu: number): void {
    checkArguments('port.setMtu', { mtu: [mtu, aNumber] });
    const config = this.configuration();
    checkMtu(mtu, config, this.limits(config));
    this.device.setMtu?.(mtu);
    this.mtu = mtu;
  }

  /** @throws VirtioPmdError ECONFIG when the device cannot; EPEER when it refuses */
  setPromiscuous(on: boolean): void {
    this.filters.setPromiscuous(on);
  }

  /** @throws VirtioPmdError ECONFIG when the device cannot; EPEER when it refuses */
  setAllmulticast(on: boolean): void {
    this.filters.setAllmulticast(on);
  }
}
