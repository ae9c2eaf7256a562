/**
 * The virtio-net device behind a port, over any transport: configure, start, stop, and regular checks.
 *
 * Every call is synchronous, and none waits for a vhost-user back-end longer than a second. If it has not answered by then,
 * the work continues while the program runs, and the link is down meanwhile (docs/decisions/0006). `look` continues it, and
 * detects that the back-end went away or came back, and broken queues.
 */
import { brokenReason, isTx, type QueueSpec } from '../../paths/guest/queue.js';
import { usingLines } from '../../paths/select.js';
import type { PortArgs } from '../devargs/devargs.js';
import type { LogLevel } from '../eal/types.js';
import type { PortLimits, ResolvedConfig } from '../port/config.js';
import { Absent, type PortDevice, type PortHost, type Wishes } from '../port/device.js';
import type { PortInterrupts } from '../port/parts.js';
import type { Link, PathReport, PortStats, QueueInfo, Xstat } from '../port/types.js';
import { macBytes } from '../wire/mac.js';
import { activate, bringUp, rewind, runCommand } from './activate.js';
import { inject, rarpPacket } from './announce.js';
import { commandedPort } from './commanded.js';
import { announceCommand } from './control/commands.js';
import type { FeatureOffer } from './features.js';
import { VirtioFilters } from './filters.js';
import { pathReport, privateInfo, queueInfo } from './info.js';
import { giveUp, resetDevice } from './init.js';
import { randomMac } from '../port/random-mac.js';
import { deviceMac, DOWN, linkOf, wantsAnnouncement } from './link.js';
import { lroWarning } from './offloads.js';
import {
  allQueues,
  anyBroken,
  brokenQueues,
  cleanupTx,
  letBursts,
  makePlan,
  portLimits,
  releasePlan,
  usedRx,
  usedTx,
  type Plan,
  type PlanContext,
} from './plan.js';
import { VirtioRss } from './rss.js';
import { Settling } from './settle.js';
import type { Transport, TransportEvent } from './transport.js';
import { NO_QUEUES, QueueCounters, type UsedQueues } from './xstats.js';

export class VirtioDevice implements PortDevice {
  readonly driverName: string;
  readonly filters: VirtioFilters;
  readonly rss: VirtioRss;
  readonly interrupts: PortInterrupts | Absent;

  private plan: Plan | undefined;
  /** The device is at DRIVER_OK on the current connection. */
  private up = false;
  private readonly settling: Settling;
  private running = false;
  private closed = false;
  private offer: FeatureOffer;
  private reconnects = 0;
  private lastFailure = '';
  /** The loss of the device was reported, and it is not back yet. */
  private lossTold = false;
  private readonly reportedBroken = new Set<QueueSpec>();
  private readonly counters = new QueueCounters();

  /**
   * @param transport connected; the device owns it from now on
   * @throws VirtioPmdError EPEER, ETIMEOUT when the device does not answer
   */
  constructor(
    private readonly host: PortHost,
    private readonly args: PortArgs,
    private readonly transport: Transport,
  ) {
    this.driverName = transport.driverName;
    this.settling = new Settling(transport);
    this.offer = transport.readFeatures();
    const commanded = commandedPort(
      host,
      transport,
      () => this.offer.bits,
      () => this.configuredPlan(),
    );
    this.filters = new VirtioFilters(commanded, this.firstMac());
    this.rss = new VirtioRss(commanded, () => transport.connected);
    this.interrupts = this.rxInterrupts();
  }

  /** The MAC address of mac= or of the device; else a random one, which stays the same until the port is closed. */
  private firstMac(): string {
    const mac = deviceMac(this.transport, this.offer.bits);
    if (mac === undefined) this.log('info', 'No valid MAC in devargs or device, use random');
    return mac ?? randomMac();
  }

  private rxInterrupts(): PortInterrupts | Absent {
    const { transport } = this;
    if (transport.rxInterruptFd !== undefined) return { rxFd: (queue) => transport.rxInterruptFd!(queue) };
    return new Absent(
      `its device (${transport.driverName}) has no interrupts: configure the port without rxInterrupts and poll`,
    );
  }

  get mac(): string {
    return this.filters.mac;
  }

  get lost(): string | undefined {
    return this.transport.connected ? undefined : this.transport.finalLoss;
  }

  // ---- configure, start, stop ----------------------------------------------------------------------------------------

  limits(wishes: Wishes): PortLimits {
    return portLimits(this.context, wishes);
  }

  private get context(): PlanContext {
    const { host, args, transport, offer } = this;
    return { eal: host.eal, portId: host.id, args, transport, offer };
  }

  /**
   * Negotiates features, makes the rings and brings the device up. A slow back-end, or one that is lost and searched again
   * meanwhile, is no error: the device is set up when it has answered.
   * @throws VirtioPmdError ECONFIG, EMEMORY, EPEER, ETIMEOUT
   */
  configure(config: ResolvedConfig): void {
    const { host, transport } = this;
    const plan = makePlan(this.context, config);
    this.plan = plan;
    for (const line of plan.selection.infos) this.log('info', line);
    const warning = lroWarning(plan.negotiation.acknowledged, config.mempool.dataRoom);
    if (warning !== undefined) this.log('warning', `port ${host.id}: ${warning}`);
    if (!transport.connected) {
      this.log('warning', `virtio-user port ${host.id} is down: it is set up once its back-end is back`);
      return;
    }
    try {
      this.raise(plan, () => this.host.linkChanged('the back-end has answered'));
    } catch (error) {
      if (this.isRetried()) {
        this.giveUpConnection(error);
        return;
      }
      this.release();
      throw error;
    }
    if (!this.up) this.tellOfWait();
  }

  /** Brings the device up with a plan whose rings are in their initial state. */
  private raise(plan: Plan, then: () => void): void {
    bringUp(this.transport, plan);
    this.settling.after(() => {
      this.up = true;
      this.onDeviceUp();
      if (this.running) activate(this.host.eal, this.transport, plan, () => this.rss.queuesCommand(), false);
      this.settling.after(() => {
        this.lastFailure = '';
        this.lossTold = false;
        then();
      });
    });
  }

  /** The connection is lost, and the transport makes a new one by itself. */
  private isRetried(): boolean {
    return !this.transport.connected && this.transport.retries === true;
  }

  private tellOfWait(): void {
    this.log(
      'notice',
      `virtio-user port ${this.host.id} is down until its back-end has answered: it is waited for meanwhile (handshake_timeout)`,
    );
  }

  /** After DRIVER_OK: restores what the device has forgotten at the reset. @throws VirtioPmdError EPEER, ETIMEOUT */
  private onDeviceUp(): void {
    this.filters.restore();
    this.rss.restore();
  }

  get intact(): boolean {
    if (this.plan === undefined) return false;
    const stillOffered = (this.plan.negotiation.acknowledged & ~this.offer.bits) === 0n;
    return stillOffered && (this.up || this.settling.pending || !this.transport.connected);
  }

  /**
   * Fills the Rx rings, enables the queue pairs and starts the queues. While the back-end is away, or has not answered yet,
   * the device counts as started and its link is down until the back-end is there.
   * @throws VirtioPmdError EMEMORY, EPEER, ETIMEOUT
   */
  start(): void {
    const plan = this.configuredPlan();
    try {
      this.startDevice(plan);
    } catch (error) {
      letBursts(allQueues(plan), false);
      if (!this.isRetried()) throw error;
      this.giveUpConnection(error);
    }
    this.running = true;
    for (const line of usingLines(plan.selection, this.host.id)) this.log('info', line);
  }

  /** Starts the device, if it is there and answers. */
  private startDevice(plan: Plan): void {
    const { transport } = this;
    if (transport.connected && !this.settling.pending && (!this.up || anyBroken(plan))) {
      this.revive(plan, () => this.host.linkChanged('the back-end has answered'));
      if (!this.up) this.tellOfWait();
    }
    if (!this.up) return;
    activate(this.host.eal, transport, plan, () => this.rss.queuesCommand(), true);
    this.settling.wait();
  }

  /** Initializes device and rings again. Only while no lcore polls. */
  private revive(plan: Plan, then: () => void): void {
    this.up = false;
    this.reportedBroken.clear();
    resetDevice(this.transport);
    this.settling.after(() => {
      rewind(this.host.eal, plan);
      this.raise(plan, then);
    });
  }

  /** The device keeps its buffers, as in DPDK. @throws VirtioPmdError ELCORE when a job does not ask `running()` */
  stop(): void {
    this.running = false;
    this.keepOut();
    this.host.eal.lcores.quiesce();
    if (this.plan !== undefined) cleanupTx(this.host.eal, this.plan);
  }

  /** Bursts return 0 from now on. */
  private keepOut(): void {
    if (this.plan !== undefined) letBursts(allQueues(this.plan), false);
  }

  /**
   * The connection to a device that cannot be reset is closed. Rings and mbufs are freed when the device has stopped: a slow
   * back-end must not write into memory that is used for something else.
   */
  release(): void {
    const { plan, transport } = this;
    const { eal } = this.host;
    if (plan === undefined) return;
    this.settling.bePatient();
    this.keepOut();
    this.settling.drop();
    let failed = false;
    if (transport.connected) {
      try {
        resetDevice(transport);
        this.settling.wait();
      } catch {
        failed = true;
      }
    }
    this.up = false;
    this.plan = undefined;
    this.reportedBroken.clear();
    const release = () => releasePlan(eal, transport, plan);
    if (transport.released === undefined) release();
    else transport.released(release);
    if (failed) transport.disconnect();
  }

  close(): void {
    this.closed = true;
    this.transport.close();
  }

  // ---- checking the device -------------------------------------------------------------------------------------------

  look(mayWait: boolean): void {
    if (mayWait) this.settling.bePatient();
    if (this.closed) return;
    if (this.plan !== undefined && this.host.eal.memory === undefined) return; // the Eal was closed first
    try {
      this.react(this.transport.poll());
    } catch (error) {
      // the device went away between the two reads: the next poll reports it
      this.log('debug', `port ${this.host.id}: ${(error as Error).message}`);
    }
    if (this.running) this.reportBroken();
  }

  private react(change: TransportEvent | undefined): void {
    if (change === 'lost') this.onLost();
    else if (change === 'back') this.onBack();
    else if (change === 'settled') this.onSettled();
    else if (change === 'needs-reset') this.onNeedsReset();
    else if (change === 'config') this.onConfigChange();
  }

  private onSettled(): void {
    try {
      this.settling.resume();
    } catch (error) {
      this.giveUpConnection(error);
    }
  }

  private onLost(): void {
    this.up = false;
    this.settling.drop();
    this.keepOut();
    const { finalLoss } = this.transport;
    if (finalLoss === undefined) {
      if (!this.lossTold) this.log('error', `virtio-user port ${this.host.id} is down`);
      this.lossTold = true;
      this.host.linkChanged('the back-end has closed the connection');
      return;
    }
    this.log('error', `port ${this.host.id}: device ${this.args.name} ${finalLoss}`);
    this.host.linkChanged('the device was removed');
    this.host.emit('removed');
  }

  /** Handles DEVICE_NEEDS_RESET (virtio 1.2 section 2.1.2), which DPDK's driver ignores. */
  private onNeedsReset(): void {
    const { plan } = this;
    if (plan === undefined || !this.up) return;
    this.up = false;
    this.keepOut();
    this.log('warning', `port ${this.host.id}: the device asks for a reset (DEVICE_NEEDS_RESET): it is set up again`);
    this.host.linkChanged('the device asks for a reset');
    try {
      this.host.eal.lcores.quiesce();
      this.revive(plan, () => undefined);
    } catch (error) {
      this.up = false;
      this.keepOut();
      giveUp(this.transport);
      this.log(
        'error',
        `port ${this.host.id} stays down after the device asked for a reset: ${(error as Error).message}`,
      );
      return;
    }
    this.host.linkChanged('the device was reset');
  }

  private onConfigChange(): void {
    this.host.linkChanged('the device says so');
    const { plan } = this;
    if (plan === undefined || !this.up || !wantsAnnouncement(this.transport, plan.negotiation.acknowledged)) return;
    try {
      this.announceSelf(plan);
    } catch (error) {
      this.log('error', `port ${this.host.id} cannot announce itself: ${(error as Error).message}`);
    }
  }

  /** Announces the port with a RARP packet, and acknowledges that to the device (virtio 1.2 section 5.1.6.5.4). */
  private announceSelf(plan: Plan): void {
    if (this.running) {
      this.keepOut(); // only one thread at a time may use a queue
      this.host.eal.lcores.quiesce();
      const sent = inject(this.host.eal, plan.queues.tx[0]!, rarpPacket(macBytes(this.mac)));
      letBursts([...usedRx(plan), ...usedTx(plan)], true);
      this.host.eal.lcores.wake();
      if (!sent)
        this.log('warning', `port ${this.host.id}: no mbuf, or no room in the ring, to announce ${this.mac} with`);
    }
    runCommand(this.transport, announceCommand(), `acknowledge the announcement of port ${this.host.id}`);
  }

  private onBack(): void {
    const { plan } = this;
    try {
      this.offer = this.transport.readFeatures();
      if (plan === undefined) {
        this.onReconnected();
        return;
      }
      this.host.eal.lcores.quiesce();
      const packed = plan.queues.rx[0]?.packed ?? false;
      if (packed) this.log('notice', 'Packets on the fly will be dropped when packed ring reconnecting.');
      this.revive(plan, () => this.onReconnected());
    } catch (error) {
      this.giveUpConnection(error);
    }
  }

  private onReconnected(): void {
    this.lossTold = false;
    this.reconnects++;
    const mode = this.args.server ? 'server' : 'client';
    this.log('notice', `${mode} mode virtio-user reconnection succeeds!`);
    this.host.linkChanged('the back-end is back');
    this.host.emit('reconnect', this.reconnects);
  }

  /** Gives up this connection: the link stays down until the next one works. Logs the reason once, not at each attempt. */
  private giveUpConnection(error: unknown): void {
    this.up = false;
    this.settling.drop();
    this.keepOut();
    this.transport.disconnect();
    const why = error instanceof Error ? error.message : String(error);
    if (why === this.lastFailure) return;
    this.lastFailure = why;
    this.log('error', `virtio-user port ${this.host.id} stays down: ${why}`);
  }

  private reportBroken(): void {
    if (this.plan === undefined || !anyBroken(this.plan)) return;
    for (const { spec, code } of brokenQueues(this.plan)) {
      if (this.reportedBroken.has(spec)) continue;
      this.reportedBroken.add(spec);
      const queue = `${isTx(spec) ? 'tx' : 'rx'}_q${spec.queueId}`;
      const why = brokenReason(code);
      this.log('error', `port ${this.host.id} ${queue} is broken: ${why}; stop and start the port to reset it`);
      this.host.emit('broken', queue, why);
    }
  }

  /** @throws VirtioPmdError EPEER, ETIMEOUT */
  get link(): Link {
    if (!this.up || this.plan === undefined) return DOWN;
    return linkOf(this.transport, this.plan.negotiation.acknowledged, this.args.speed);
  }

  // ---- information ---------------------------------------------------------------------------------------------------

  queues(kind: 'rx' | 'tx'): readonly QueueSpec[] {
    const plan = this.configuredPlan();
    return kind === 'rx' ? usedRx(plan) : usedTx(plan);
  }

  queueInfo(kind: 'rx' | 'tx', queue: number): Omit<QueueInfo, 'started'> {
    const { config, selection } = this.configuredPlan();
    return queueInfo(this.queues(kind)[queue]!, config, selection);
  }

  private get usedQueues(): UsedQueues {
    return this.plan === undefined ? NO_QUEUES : { rx: usedRx(this.plan), tx: usedTx(this.plan) };
  }

  stats(): PortStats {
    return this.counters.stats(this.usedQueues);
  }

  xstats(): Xstat[] {
    return this.counters.xstats(this.usedQueues);
  }

  resetStats(): void {
    this.counters.reset(this.usedQueues);
  }

  privateInfo(mtu: number): [string, string][] {
    const limits = this.limits(this.plan?.config ?? {});
    return privateInfo(limits, limits.maxRxQueues, mtu, this.plan?.negotiation, this.plan?.selection);
  }

  readonly path = (): PathReport => {
    const { selection, negotiation } = this.configuredPlan();
    return pathReport(selection, negotiation);
  };

  private configuredPlan(): Plan {
    if (this.closed) throw this.host.stateError('is closed');
    if (this.plan !== undefined) return this.plan;
    throw this.host.stateError('is not configured yet');
  }

  private log(level: LogLevel, line: string): void {
    this.host.log(level, line);
  }
}
