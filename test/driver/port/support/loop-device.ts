/** A device that is a loop, and no virtio: what is sent on a queue is received on it. It has as few parts as a device can have. */
import { flagKey, integerKey, parseDevargs, splitDevargs } from '../../../../driver/devargs/kvargs.js';
import { numberOf } from '../../../../driver/devargs/device-names.js';
import type { PortLimits, ResolvedConfig } from '../../../../driver/port/config.js';
import { Absent, type PortDevice, type PortDriver, type PortHost } from '../../../../driver/port/device.js';
import type { PortInterrupts } from '../../../../driver/port/parts.js';
import type { PortQueueSpec } from '../../../../driver/port/queue.js';
import type { Link, PortStats } from '../../../../driver/port/types.js';
import { createEventFd } from '../../../../native/event.js';
import { closeFd } from '../../../../native/region.js';
import { counts, FD, loopBytes, LOOP_SIZE, STARTED, type LoopSpec } from './loop-queue.js';

const MODULE = new URL('./loop-queue.js', import.meta.url).href;

export interface LoopOptions {
  readonly limits?: Partial<PortLimits>;
  /** Default 2. */
  readonly queues?: number;
  /** Its Rx queues have interrupts. */
  readonly interrupts?: boolean;
}

/** Everything that a driver supplies, at its smallest. */
export class Loop implements PortDevice {
  readonly driverName = 'net_loop';
  readonly mac = '02:00:00:00:00:01';
  readonly calls: string[] = [];
  lost: string | undefined;
  intact = true;
  link: Link = { up: true, speed: 10000 };
  readonly filters = new Absent('a loop receives everything');
  readonly rss = new Absent('a loop has one queue for each that sends');
  readonly interrupts: PortInterrupts | Absent;
  readonly path = new Absent('there is no choice');
  private specs: LoopSpec[] = [];
  private config: ResolvedConfig | undefined;

  constructor(
    readonly host: PortHost,
    private readonly options: LoopOptions = {},
  ) {
    this.interrupts = options.interrupts
      ? { rxFd: (queue) => this.word(queue, FD) || undefined }
      : new Absent('nobody signals a loop');
  }

  private word(queue: number, index: number): number {
    return new Int32Array(this.specs[queue]!.shared)[index]!;
  }

  limits(): PortLimits {
    const { queues = 2, limits } = this.options;
    return {
      ...{ portId: this.host.id, maxRxQueues: queues, maxTxQueues: queues, queueSize: LOOP_SIZE, hdrSize: 0 },
      ...{ rxOffloadCapa: 0, txOffloadCapa: 0 },
      ...limits,
    };
  }

  configure(config: ResolvedConfig): void {
    this.calls.push('configure');
    this.config = config;
    this.specs = Array.from({ length: Math.max(config.rxQueues, config.txQueues) }, (_, queueId) => ({
      ...{ portId: this.host.id, queueId, path: 'loop', mempool: config.mempool, module: MODULE },
      ...{ shared: new SharedArrayBuffer(loopBytes), interrupts: config.rxInterrupts },
    }));
    if (config.rxInterrupts) this.specs.forEach((_, queue) => this.setFd(queue, createEventFd()));
  }

  release(): void {
    this.calls.push('release');
    this.specs.forEach((_, queue) => this.setFd(queue, 0));
    this.specs = [];
  }

  /** Gives a queue another descriptor for its interrupt, or none. */
  setFd(queue: number, fd: number): void {
    const old = this.word(queue, FD);
    Atomics.store(new Int32Array(this.specs[queue]!.shared), FD, fd);
    if (old !== 0) closeFd(old);
  }

  setMtu(mtu: number): void {
    this.calls.push(`mtu ${mtu}`);
  }

  private let(through: boolean): void {
    for (const { shared } of this.specs) Atomics.store(new Int32Array(shared), STARTED, through ? 1 : 0);
  }

  start(): void {
    this.calls.push('start');
    this.let(true);
    this.host.eal.lcores.wake();
  }

  stop(): void {
    this.calls.push('stop');
    this.let(false);
    this.host.eal.lcores.quiesce();
  }

  close(): void {
    this.calls.push('close');
  }

  look(): void {}

  queues(kind: 'rx' | 'tx'): readonly PortQueueSpec[] {
    return this.specs.slice(0, this.config![`${kind}Queues`]);
  }

  queueInfo(_: 'rx' | 'tx', queueId: number) {
    const { mempool } = this.specs[queueId]!;
    const nothing = { freeThresh: 0, offloads: 0, scattered: false, broken: undefined };
    return { queueId, mempool: mempool.name, nbDesc: LOOP_SIZE, burstMode: 'Loop', ...nothing };
  }

  stats(): PortStats {
    const sum = (what: 'sent' | 'received') => this.specs.reduce((total, spec) => total + counts(spec)[what], 0);
    const nothing = { ibytes: 0, obytes: 0, imissed: 0, ierrors: 0, oerrors: 0, rxNombuf: 0 };
    return { ipackets: sum('received'), opackets: sum('sent'), ...nothing };
  }

  xstats() {
    return [{ name: 'turns', value: 7 }];
  }

  resetStats(): void {}

  privateInfo(mtu: number): [string, string][] {
    return [['mtu', `${mtu}`]];
  }

  /** A cable that is pulled, or plugged in. */
  plug(up: boolean): void {
    this.link = { up, speed: up ? 10000 : undefined };
    this.host.linkChanged(up ? 'plugged in' : 'pulled');
  }
}

/** `net_loop0,queues=4,interrupts=1`. A test registers it: `(drivers as PortDriver[]).push(loopDriver)`. */
export const loopDriver: PortDriver = {
  bus: 'vdev',
  names: ['net_loop'],
  claims: (devargs) => numberOf(splitDevargs(devargs).name, ['net_loop']) !== undefined,
  nameOf: (devargs) => splitDevargs(devargs).name,
  probe: (_, devargs) => {
    const { name, args } = splitDevargs(devargs);
    const options = parseDevargs(args, { queues: integerKey(1, 16, 2), interrupts: flagKey(false) }, name);
    return Promise.resolve({ open: (host) => new Loop(host, options), close: () => undefined });
  },
};
