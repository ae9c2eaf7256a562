/**
 * What a driver implements for a port (eth_dev_ops of DPDK): the device behind it. `Port` is the same for all drivers, and
 * programs and forwarding modes use only ports.
 */
import type { VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../eal/eal.js';
import type { LogLevel } from '../eal/types.js';
import type { PortLimits, ResolvedConfig } from './config.js';
import type { PortFilters, PortInterrupts, PortRss } from './parts.js';
import type { PortQueueSpec } from './queue.js';
import type { Link, PathReport, PortConfig, PortEvents, PortStats, QueueInfo, Xstat } from './types.js';

/** A part that this device does not have, and why: a sentence about the device, without its beginning "port 0". */
export class Absent {
  constructor(readonly why: string) {}
}

/** Events of a port that its device reports. */
export type HostEvent = 'reconnect' | 'removed' | 'broken' | 'queueState';

/** The port, as its device sees it. */
export interface PortHost {
  readonly eal: Eal;
  readonly id: number;
  readonly log: (level: LogLevel, line: string) => void;
  /** Call it when the link may have changed: the port notifies its listeners if it has. @param why a sentence for them */
  readonly linkChanged: (why: string) => void;
  /** The device's MTU is another one now, because its peer says so: the port has it from now on, until it is configured again. */
  readonly mtuChanged: (mtu: number) => void;
  /** `queueState` also wakes lcores that sleep: the descriptors of queues may be others now. */
  readonly emit: <E extends HostEvent>(event: E, ...args: Parameters<PortEvents[E]>) => void;
  /** Makes an ESTATE error. Its message begins with the port. */
  readonly stateError: (what: string) => VirtioPmdError;
}

/** The part of a configuration on which limits depend. */
export type Wishes = Pick<PortConfig, 'rxOffloads' | 'txOffloads' | 'rxQueues' | 'rss'>;

/** A device. `Port` calls its methods in a valid order: nothing twice, no start before configure, nothing after close. */
export interface PortDevice {
  /** As `show port info` prints it. */
  readonly driverName: string;
  /** AA:BB:CC:DD:EE:FF. */
  readonly mac: string;
  /** The current link, while started. @throws VirtioPmdError when the device goes away meanwhile */
  readonly link: Link;
  /** Why the device is lost permanently, for a sentence that begins with the port. Undefined: it is not, or may come back. */
  readonly lost: string | undefined;

  /** rte_eth_dev_info: what a configuration may ask for. @throws VirtioPmdError */
  limits(wishes: Wishes): PortLimits;
  /** Makes queues. A configuration that fails leaves none. @throws VirtioPmdError ECONFIG, EMEMORY, EPEER, ETIMEOUT */
  configure(config: ResolvedConfig): void;
  /** True when the device is still set up for the current configuration: configuring it again would change nothing. */
  readonly intact: boolean;
  /** Frees what `configure` made. Never throws. */
  release(): void;
  /** Sets the MTU of a configured device, which `limits` allow. Left out: only the port needs to know it. @throws VirtioPmdError */
  setMtu?(mtu: number): void;
  /** Starts: bursts work from now on. @throws VirtioPmdError EMEMORY, EPEER, ETIMEOUT */
  start(): void;
  /** Stops: bursts return 0 from now on. Waits until every lcore has left the queues. @throws VirtioPmdError ELCORE */
  stop(): void;
  /** After `release`: frees everything. Never throws. */
  close(): void;
  /**
   * Checks the device, and reports events to the port. Never throws.
   * @param mayWait true within a call of the user, which may take a second; false in the timer, which must not wait.
   */
  look(mayWait: boolean): void;

  /** The queues that the configuration uses, as plain data. This and the next two: only while configured. */
  queues(kind: 'rx' | 'tx'): readonly PortQueueSpec[];
  queueInfo(kind: 'rx' | 'tx', queue: number): Omit<QueueInfo, 'started'>;

  /** rte_eth_stats since the last reset; zeros while there are no queues. */
  stats(): PortStats;
  /** The device's xstats that follow the eight of ethdev: by queue, and others. */
  xstats(): readonly Xstat[];
  resetStats(): void;
  /** Clears the device's xstats alone. Left out: they come from the counters of `stats`, and `resetStats` clears both. */
  resetXstats?(): void;
  /** The lines of the private dump in `show port info`: name and value. @param mtu the port's MTU */
  privateInfo(mtu: number): readonly (readonly [string, string])[];

  /** Addresses, VLANs and modes. */
  readonly filters: PortFilters | Absent;
  /** Receive-side scaling. */
  readonly rss: PortRss | Absent;
  /** Interrupts of Rx queues. */
  readonly interrupts: PortInterrupts | Absent;
  /** Reports why this path was chosen, and what was negotiated. @throws VirtioPmdError ESTATE while not configured */
  readonly path: (() => PathReport) | Absent;
}

export interface ProbeOptions {
  /** Ends the wait for a device that is not there yet. */
  readonly signal: AbortSignal;
  readonly handshakeTimeoutMs?: number | undefined;
  readonly replyTimeoutMs?: number | undefined;
  readonly log: (level: LogLevel, line: string) => void;
}

/** A device that was found, before it has a port. */
export interface ProbedDevice {
  /** Makes the port's device. @throws VirtioPmdError; the device is closed then */
  open(host: PortHost): PortDevice;
  /** Closes the device, if it is not opened. */
  close(): void;
}

/** A driver for one kind of device. */
export interface PortDriver {
  readonly bus: 'vdev' | 'pci';
  /** Vdevs: the bare names that a number follows in a device's name, such as net_virtio_user. */
  readonly names: readonly string[];
  /** URL of the module that opens the queues of its ports (a `QueueModule`). Absent: they are virtqueues of the guest side. */
  readonly queueModule?: string;
  /** Whether a device string is for this driver, by the part before the first comma. */
  claims(devargs: string): boolean;
  /** Checks all arguments and returns the device's name. @throws VirtioPmdError EDEVARGS */
  nameOf(devargs: string): string;
  /** Finds the device and opens it. @throws VirtioPmdError */
  probe(eal: Eal, devargs: string, options: ProbeOptions): Promise<ProbedDevice>;
}
