/**
 * A port: one attached virtio-net device with its queues, from attach to close (rte_ethdev over the PMD). Here are bursts,
 * statistics, questions and settings; configure, start, stop and the watch over the device are in life.ts.
 */
import {
  aFunction,
  aNumber,
  anInstance,
  aString,
  checkArguments,
  checkOptions,
  madeBy,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { LogLimit } from '../../native/log-limit.js';
import { openRx, openTx } from '../../paths/guest/open.js';
import { queueState, type QueueSpec, type RxPath, type TxPath } from '../../paths/guest/queue.js';
import type { ControlCommand } from '../virtio/control/commands.js';
import { parseVirtioUser } from '../devargs/devargs.js';
import type { Eal } from '../eal/eal.js';
import { isPci, parsePci, probePci } from '../virtio/pci/probe.js';
import { checkMtu } from './config.js';
import { PortFilters } from '../virtio/filters.js';
import { portInfo, queueInfo, pathReport } from './info.js';
import { PortLife, type PortOptions } from './life.js';
import { allQueues, usedRx, usedTx } from '../virtio/plan.js';
import { rxReady, type RxReadyOptions } from './rx-ready.js';
import type { LogLevel } from '../virtio/transport.js';
import type { PathReport, PortEvents, PortInfo, PortSpec, PortStats, QueueInfo } from './types.js';
import { probeVirtioUser } from '../virtio/user/probe.js';
import { portStats, portXstats, type Xstat } from './xstats.js';

export interface AttachOptions {
  /** Ends the wait for a server-mode port's first client. */
  readonly signal?: AbortSignal;
  /** How long the whole handshake with a vhost-user back-end may take. Default 60000 ms; the devarg handshake_timeout wins. */
  readonly handshakeTimeoutMs?: number;
  /** How long one reply of it may take. Default: as long as the handshake. */
  readonly replyTimeoutMs?: number;
  /**
   * Log lines from the first one on (`port.on('log')` misses those of attach). Default: eal's log, without debug lines. What a
   * device can cause too many of is counted instead.
   */
  readonly log?: PortEvents['log'];
}

const attachOptions: OptionKinds<AttachOptions> = {
  signal: optional(anInstance('an AbortSignal', AbortSignal)),
  handshakeTimeoutMs: optional(aNumber),
  replyTimeoutMs: optional(aNumber),
  log: optional(aFunction),
};

const anEal = madeBy('createEal', 'lcores', 'createMempool');

const NO_RSS = { keySize: 0, retaSize: 0, flowTypes: 0n };

/** Ports by id; ids are the lowest free ones, as in DPDK. */
const registry = new WeakMap<Eal, (Port | undefined)[]>();

/** The attached ports of an Eal, in the order of their ids. */
export function portsOf(eal: Eal): readonly Port[] {
  return (registry.get(eal) ?? []).filter((port) => port !== undefined);
}

function freeId(eal: Eal): number {
  const ports = registry.get(eal) ?? [];
  const free = ports.findIndex((port) => port === undefined);
  return free < 0 ? ports.length : free;
}

/**
 * Attaches the device of a vdev string such as 'net_virtio_user0,path=/tmp/s.sock,queues=2', or of a PCI address such as
 * '0000:00:03.0,vectorized=1'. In server mode this waits for the first client, without blocking the thread.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESOCKET, EPEER, ETIMEOUT; ESTATE when `signal` ends the wait
 */
export async function attach(eal: Eal, devargs: string, options: AttachOptions = {}): Promise<Port> {
  checkArguments('attach', { eal: [eal, anEal], devargs: [devargs, aString] });
  checkOptions('attach', options, attachOptions);
  const sink = options.log ?? ((level: LogLevel, line: string) => level !== 'debug' && eal.log(line));
  // a back-end can cause lines without end: by what it answers, and by going and coming back
  const { log } = new LogLimit<LogLevel>(sink, 'warning');
  const { signal, handshakeTimeoutMs, replyTimeoutMs } = options;
  const pci = isPci(devargs);
  const args = pci ? parsePci(devargs) : parseVirtioUser(devargs);
  checkName(eal, args.name);
  // in server mode there may never be a client
  const closed = new AbortController();
  const forget = eal.beforeClose(() => closed.abort());
  const wanted = signal === undefined ? closed.signal : AbortSignal.any([signal, closed.signal]);
  let transport;
  try {
    transport = pci
      ? await probePci(eal, devargs, log)
      : await probeVirtioUser(eal, parseVirtioUser(devargs), {
          signal: wanted,
          handshakeTimeoutMs,
          replyTimeoutMs,
          log,
        });
  } finally {
    forget();
  }
  try {
    checkName(eal, args.name);
    return new Port({ eal, id: freeId(eal), devargs, args, transport, log });
  } catch (error) {
    transport.close();
    throw error;
  }
}

function checkName(eal: Eal, name: string): void {
  if (!portsOf(eal).some((port) => port.name === name)) return;
  throw new VirtioPmdError(
    'ECONFIG',
    `${name} is attached already: name another device, or for a vdev another number, such as net_virtio_user1`,
  );
}

export class Port extends PortLife {
  /** Addresses, VLANs, modes and RSS: what the device is told through its control queue. */
  readonly filters: PortFilters;
  /** Paths opened on this thread; a configuration that makes new queues makes new specs. */
  private readonly rxPaths = new WeakMap<QueueSpec, RxPath>();
  private readonly txPaths = new WeakMap<QueueSpec, TxPath>();
  /** Counters at the last reset, by queue: counters themselves have one writer, the lcore. */
  private readonly zero = new WeakMap<QueueSpec, Float64Array>();

  /** Use `attach`. */
  constructor(options: PortOptions) {
    super(options);
    this.filters = new PortFilters(this.filteredDevice(), this.firstMac);
    const ports = registry.get(options.eal) ?? [];
    registry.set(options.eal, ports);
    ports[options.id] = this;
  }

  private filteredDevice() {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- for the getters below
    const port = this;
    return {
      portId: this.id,
      openUntilTold: this.transport.openUntilTold ?? false,
      control: (command: ControlCommand) => this.transport.control(command),
      readConfig: (offset: number, length: number) => this.transport.readConfig(offset, length),
      writeConfig: (offset: number, bytes: Uint8Array) => this.transport.writeConfig(offset, bytes),
      log: (level: LogLevel, line: string) => this.log(level, line),
      get offered() {
        return port.offer.bits;
      },
      get acknowledged() {
        return port.configuredPlan().negotiation.acknowledged;
      },
      get rxOffloads() {
        return port.configuredPlan().config.rxOffloads;
      },
      get rxQueues() {
        return port.configuredPlan().config.rxQueues;
      },
      get txQueues() {
        return port.configuredPlan().config.txQueues;
      },
    };
  }

  get mac(): string {
    return this.filters.mac;
  }

  protected onDeviceUp(): void {
    this.filters.restore();
  }

  protected queuesCommand(): ControlCommand {
    return this.filters.queuesCommand();
  }

  override close(): void {
    try {
      super.close();
    } finally {
      const ports = registry.get(this.eal);
      if (ports?.[this.id] === this) ports[this.id] = undefined;
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // ---- bursts --------------------------------------------------------------------------------------------------------

  /** Rx queue `queue` for bursts on this thread. Until the next configure() that changes something. */
  rx(queue: number): RxPath {
    const spec = this.usedQueue('rx', queue);
    let path = this.rxPaths.get(spec);
    if (path === undefined) this.rxPaths.set(spec, (path = openRx(spec, this.eal.mempool(spec.mempool))));
    return path;
  }

  /** Tx queue `queue` for bursts on this thread. Until the next configure() that changes something. */
  tx(queue: number): TxPath {
    const spec = this.usedQueue('tx', queue);
    let path = this.txPaths.get(spec);
    if (path === undefined) this.txPaths.set(spec, (path = openTx(spec, this.eal.mempool(spec.mempool))));
    return path;
  }

  /** The port for an lcore. A queue is one thread's at a time. */
  spec(): PortSpec {
    return { portId: this.id, rx: this.usedQueues('rx'), tx: this.usedQueues('tx') };
  }

  /**
   * `for await (const queues of port.rxReady())`: the numbers of the Rx queues that have packets, each time that there are
   * any; between packets the process sleeps. Of `queues`, default: all. Needs `rxInterrupts`; see rx-ready.ts.
   */
  rxReady(queues?: readonly number[], options?: RxReadyOptions): AsyncGenerator<readonly number[], void, void> {
    return rxReady(this, queues, options);
  }

  private usedQueues(kind: 'rx' | 'tx'): readonly QueueSpec[] {
    const plan = this.configuredPlan();
    return kind === 'rx' ? usedRx(plan) : usedTx(plan);
  }

  private usedQueue(kind: 'rx' | 'tx', queue: number): QueueSpec {
    const queues = this.usedQueues(kind);
    const spec = queues[queue];
    if (spec !== undefined) return spec;
    checkArguments('port', { queue: [queue, aNumber] });
    throw new VirtioPmdError(
      'ECONFIG',
      `port ${this.id} has no ${kind} queue ${queue}: ${queues.length} are configured, counted from 0`,
    );
  }

  // ---- statistics ----------------------------------------------------------------------------------------------------

  private counters(kind: 'rx' | 'tx'): Float64Array[] {
    if (this.plan === undefined) return [];
    return this.usedQueues(kind).map((spec) => {
      const zero = this.zero.get(spec);
      const now = queueState(spec).stats;
      return zero === undefined ? now : now.map((value, i) => value - zero[i]!);
    });
  }

  /** Sums over the queues in use since the last reset. Queues made anew by configure() begin at 0. */
  stats(): PortStats {
    return portStats(this.counters('rx'), this.counters('tx'));
  }

  xstats(): Xstat[] {
    return portXstats(this.counters('rx'), this.counters('tx'));
  }

  /** Clears stats and xstats: they come from the same counters, as in DPDK. */
  resetStats(): void {
    for (const spec of this.plan === undefined ? [] : allQueues(this.plan)) {
      this.zero.set(spec, queueState(spec).stats.slice());
    }
  }

  resetXstats(): void {
    this.resetStats();
  }

  // ---- questions -----------------------------------------------------------------------------------------------------

  info(): PortInfo {
    const { plan } = this;
    return portInfo({
      port: this,
      vlanFilter: plan !== undefined && this.filters.vlanFilterEnabled,
      args: this.args,
      limits: this.limits(plan?.config ?? {}),
      driver: this.transport.driverName,
      mtu: this.mtu,
      promiscuous: this.filters.promiscuous,
      allmulticast: this.filters.allmulticast,
      rss: this.transport.connected ? this.filters.rssInfo : NO_RSS,
      negotiation: plan?.negotiation,
      selection: plan?.selection,
    });
  }

  rxQueueInfo(queue: number): QueueInfo {
    return this.queueInfo('rx', queue);
  }

  txQueueInfo(queue: number): QueueInfo {
    return this.queueInfo('tx', queue);
  }

  private queueInfo(kind: 'rx' | 'tx', queue: number): QueueInfo {
    const { config, selection } = this.configuredPlan();
    return queueInfo(this.usedQueue(kind, queue), config, selection, this.started);
  }

  /** Why this path, and what was negotiated. @throws VirtioPmdError ESTATE before configure */
  path(): PathReport {
    const { selection, negotiation } = this.configuredPlan();
    return pathReport(selection, negotiation);
  }

  // ---- settings ------------------------------------------------------------------------------------------------------

  /** @throws VirtioPmdError ECONFIG when out of range or larger than the mbufs (without scatter) */
  setMtu(mtu: number): void {
    checkArguments('port.setMtu', { mtu: [mtu, aNumber] });
    const { config } = this.configuredPlan();
    checkMtu(mtu, config, this.limits(config));
    this.mtu = mtu;
  }

  /** @throws VirtioPmdError ECONFIG when the device has no CTRL_RX; EPEER when it refuses */
  setPromiscuous(on: boolean): void {
    this.filters.setPromiscuous(on);
  }

  /** @throws VirtioPmdError ECONFIG when the device has no CTRL_RX; EPEER when it refuses */
  setAllmulticast(on: boolean): void {
    this.filters.setAllmulticast(on);
  }
}
