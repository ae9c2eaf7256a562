/**
 * What a driver supplies for a port (eth_dev_ops of DPDK): the device behind it. `Port` is the same for all of them, and
 * programs and forwarding modes see ports only.
 */
import type { VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../eal/eal.js';
import type { LogLevel } from '../eal/types.js';
import type { PortLimits, ResolvedConfig } from './config.js';
import type { PortFilters, PortInterrupts, PortRss } from './parts.js';
import type { PortQueueSpec } from './queue.js';
import type { Link, PathReport, PortConfig, PortEvents, PortStats, QueueInfo, Xstat } from './types.js';

/** A part that this device has not got, and why: a sentence about the device, without its beginning "port 0". */
export class Absent {
  constructor(readonly why: string) {}
}

/** What a device knows of its port. */
export interface PortHost {
  readonly eal: Eal;
  readonly id: number;
  readonly log: (level: LogLevel, line: string) => void;
  /** The link may be another one now. Listeners are told if it is. @param why a sentence for them */
  readonly linkChanged: (why: string) => void;
  readonly emit: <E extends 'reconnect' | 'removed' | 'broken'>(event: E, ...args: Parameters<PortEvents[E]>) => void;
  /** ESTATE, with a sentence that begins with the port. */
  readonly stateError: (what: string) => VirtioPmdError;
}

/** What limits depend on. */
export type Wishes = Pick<PortConfig, 'rxOffloads' | 'txOffloads' | 'rxQueues' | 'rss'>;

/** `Port` calls these in the right order: nothing twice, no start before configure, nothing after close. */
export interface PortDevice {
  /** As `show port info` prints it. */
  readonly driverName: string;
  /** AA:BB:CC:DD:EE:FF. */
  readonly mac: string;
  /** As of now, while started. @throws VirtioPmdError when the device goes away meanwhile */
  readonly link: Link;
  /** Why the device is gone for good, for a sentence that begins with the port. Undefined: it is there, or may come back. */
  readonly lost: string | undefined;

  /** rte_eth_dev_info: what a configuration may ask for. @throws VirtioPmdError */
  limits(wishes: Wishes): PortLimits;
  /** Makes queues. A configuration that fails leaves none. @throws VirtioPmdError ECONFIG, EMEMORY, EPEER, ETIMEOUT */
  configure(config: ResolvedConfig): void;
  /** What was made for the configuration in force serves it still: the same one again has nothing to do. */
  readonly intact: boolean;
  /** Gives back what `configure` made. Never throws. */
  release(): void;
  /** Lets bursts through. @throws VirtioPmdError EMEMORY, EPEER, ETIMEOUT */
  start(): void;
  /** Keeps bursts out and waits until every lcore has left the queues. @throws VirtioPmdError ELCORE */
  stop(): void;
  /** After `release`: gives everything back. Never throws. */
  close(): void;
  /**
   * Looks after the device, and tells the port what has happened. Never throws.
   * @param mayWait true: within a call of the user, which may take a second. False: the timer, which must not wait.
   */
  look(mayWait: boolean): void;

  /** The queues that the configuration uses, as plain data. Only while configured, as the next two. */
  queues(kind: 'rx' | 'tx'): readonly PortQueueSpec[];
  queueInfo(kind: 'rx' | 'tx', queue: number): Omit<QueueInfo, 'started'>;

  /** rte_eth_stats since the last reset; zeros while there are no queues. */
  stats(): PortStats;
  /** Statistics by queue and what else the device counts, behind the eight of ethdev. */
  xstats(): readonly Xstat[];
  resetStats(): void;
  /** The lines of `show port info`'s private dump: name and value. @param mtu the port's */
  privateInfo(mtu: number): readonly (readonly [string, string])[];

  /** Addresses, VLANs and modes. */
  readonly filters: PortFilters | Absent;
  /** Receive-side scaling. */
  readonly rss: PortRss | Absent;
  /** Interrupts of Rx queues. */
  readonly interrupts: PortInterrupts | Absent;
  /** Why this path, and what was negotiated. @throws VirtioPmdError ESTATE while not configured */
  readonly path: (() => PathReport) | Absent;
}

export interface ProbeOptions {
  /** Ends the wait for a device that has not come yet. */
  readonly signal: AbortSignal;
  readonly handshakeTimeoutMs?: number | undefined;
  readonly replyTimeoutMs?: number | undefined;
  readonly log: (level: LogLevel, line: string) => void;
}

/** A device that is there, before it has a port. */
export interface ProbedDevice {
  /** @throws VirtioPmdError; the device is closed then */
  open(host: PortHost): PortDevice;
  /** Instead of `open`. */
  close(): void;
}

/** A kind of device, found by its device string. */
export interface PortDriver {
  readonly bus: 'vdev' | 'pci';
  /** Whether a device string is for this driver, by what is in front of the first comma. */
  claims(devargs: string): boolean;
  /** The device's name, checked with all its arguments. @throws VirtioPmdError EDEVARGS */
  nameOf(devargs: string): string;
  /** Finds the device and opens it. @throws VirtioPmdError */
  probe(eal: Eal, devargs: string, options: ProbeOptions): Promise<ProbedDevice>;
}
