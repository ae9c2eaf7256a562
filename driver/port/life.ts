/**
 * The life of a port: configure, start, stop, close, and looking after its device meanwhile.
 *
 * Every call is synchronous, and none waits for a vhost-user back-end longer than a second: what it has not answered by
 * then is gone on with while the program runs, with the link down meanwhile (docs/decisions/0006). A timer on the thread
 * that attached watches the device: it goes on with that, and notices that the back-end went away or came back, and queues
 * that stopped trusting their ring. A program that never returns to the event loop gets the same by reading `link` now and
 * then.
 */
import { checkArgument, checkOptions, madeBy } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { brokenReason, isTx, type QueueSpec } from '../../paths/guest/queue.js';
import { usingLines } from '../../paths/select.js';
import { inject, rarpPacket } from '../virtio/announce.js';
import { announceCommand, type ControlCommand } from '../virtio/control/commands.js';
import type { PortArgs } from '../devargs/devargs.js';
import type { Eal } from '../eal/eal.js';
import { Emitter } from './emitter.js';
import type { FeatureOffer } from '../virtio/features.js';
import { giveUp, resetDevice } from '../virtio/init.js';
import { DEFAULT_MTU, lroWarning, portConfig, resolveConfig, type PortLimits, type ResolvedConfig } from './config.js';
import { deviceMac, DOWN, linkOf, randomMac, wantsAnnouncement } from './link.js';
import { Settling } from '../virtio/settle.js';
import { activate, bringUp, rewind, runCommand } from '../virtio/activate.js';
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
} from '../virtio/plan.js';
import { macBytes } from '../wire/mac.js';
import type { LogLevel, Transport, TransportEvent } from '../virtio/transport.js';
import type { Link, PortConfig, PortEvents } from './types.js';

/** How often the timer looks after the device. */
const MONITOR_MS = 50;

export interface PortOptions {
  readonly eal: Eal;
  readonly id: number;
  /** The device string. */
  readonly devargs: string;
  readonly args: PortArgs;
  /** Connected; the port owns it. */
  readonly transport: Transport;
  readonly log: (level: LogLevel, line: string) => void;
}

export abstract class PortLife extends Emitter<PortEvents> {
  readonly id: number;
  readonly name: string;
  readonly devargs: string;
  /** Its address at first. Without a mac= and a device that has one: random, and the same for the port's whole life. */
  protected readonly firstMac: string;

  protected readonly eal: Eal;
  protected readonly args: PortArgs;
  protected readonly transport: Transport;
  protected plan: Plan | undefined;
  protected mtu = DEFAULT_MTU;

  /** The device is at DRIVER_OK on the connection of now. */
  private up = false;
  private readonly settling: Settling;
  private running = false;
  private closed = false;
  /** What was last told with a link event. */
  private announced = false;
  protected offer: FeatureOffer;
  private reconnects = 0;
  private lastFailure = '';
  /** The loss of the device was told, and it is not back yet. */
  private lossTold = false;
  private readonly reportedBroken = new Set<QueueSpec>();
  private readonly sink: PortOptions['log'];
  private readonly timer: NodeJS.Timeout;
  /** Takes back that the Eal closes this port. */
  private readonly forget: () => void;

  constructor(options: PortOptions) {
    super();
    checkArgument('Port', 'options', options, madeBy('attach', 'eal', 'args', 'transport'));
    const { eal, id, devargs, args, transport, log } = options;
    this.eal = eal;
    this.id = id;
    this.devargs = devargs;
    this.args = args;
    this.transport = transport;
    this.settling = new Settling(transport);
    this.sink = log;
    this.name = args.name;
    this.offer = transport.readFeatures();
    this.firstMac = this.chooseMac();
    this.forget = eal.beforeClose(() => this.close());
    this.timer = setInterval(() => this.monitor(), MONITOR_MS);
    this.timer.unref();
  }

  private chooseMac(): string {
    const mac = deviceMac(this.transport, this.offer.bits);
    if (mac === undefined) this.log('info', 'No valid MAC in devargs or device, use random');
    return mac ?? randomMac();
  }

  get configured(): boolean {
    return this.plan !== undefined;
  }

  get started(): boolean {
    return this.running;
  }

  /** The configuration in force, with every default filled in. */
  get config(): ResolvedConfig | undefined {
    return this.plan && { ...this.plan.config, mtu: this.mtu };
  }

  // ---- life ----------------------------------------------------------------------------------------------------------

  /**
   * rte_eth_dev_configure with all queue set-ups: negotiates features, makes the rings and brings the device up. The
   * same configuration again changes nothing; another one resets the device and makes new queues, so that paths and
   * specs of before must not be used any more.
   *
   * A back-end that takes its time, or is lost meanwhile and looked for again, is no error: the port is set up once it has
   * answered, and its link is down until then.
   * @throws VirtioPmdError ESTATE while started; ECONFIG; EMEMORY; EPEER and ETIMEOUT from the device
   */
  configure(config: PortConfig): void {
    this.checkOpen();
    checkOptions('port.configure', config, portConfig);
    this.settling.bePatient();
    if (this.running) throw this.state('must be stopped to allow configuration');
    this.monitor();
    const resolved = resolveConfig(config, this.limits(config));
    if (this.plan !== undefined && this.serves(this.plan, resolved)) return;
    this.teardown();
    const plan = makePlan(this.context, resolved);
    this.plan = plan;
    this.mtu = resolved.mtu;
    for (const line of plan.selection.infos) this.log('info', line);
    const warning = lroWarning(plan.negotiation.acknowledged, resolved.mempool.dataRoom);
    if (warning !== undefined) this.log('warning', `port ${this.id}: ${warning}`);
    if (!this.transport.connected) {
      this.refuseLost();
      this.log('warning', `virtio-user port ${this.id} is down: it is set up once its back-end is back`);
      return;
    }
    try {
      this.raise(plan, () => this.announce('the back-end has answered'));
    } catch (error) {
      if (this.isRetried()) {
        this.giveUpConnection(error);
        return;
      }
      this.teardown();
      throw error;
    }
    if (!this.up) this.tellOfWait();
  }

  /** Brings the device up with a plan whose rings are at their beginning. */
  private raise(plan: Plan, then: () => void): void {
    bringUp(this.transport, plan);
    this.settling.after(() => {
      this.up = true;
      this.onDeviceUp();
      if (this.running) activate(this.eal, this.transport, plan, () => this.queuesCommand(), false);
      this.settling.after(() => {
        this.lastFailure = '';
        this.lossTold = false;
        then();
      });
    });
  }

  /** The connection is gone, and a new one will be had without anybody's doing. */
  private isRetried(): boolean {
    return !this.transport.connected && this.transport.retries === true;
  }

  private tellOfWait(): void {
    this.log(
      'notice',
      `virtio-user port ${this.id} is down until its back-end has answered: it is waited for meanwhile (handshake_timeout)`,
    );
  }

  /** The device is at DRIVER_OK and knows nothing of what it was told before. @throws VirtioPmdError EPEER, ETIMEOUT */
  protected abstract onDeviceUp(): void;

  /** Makes the device use the port's queue pairs. */
  protected abstract queuesCommand(): ControlCommand;

  /** AA:BB:CC:DD:EE:FF. */
  abstract get mac(): string;

  /** The plan in force is what this configuration would make. */
  private serves(plan: Plan, config: ResolvedConfig): boolean {
    const { acknowledged } = plan.negotiation;
    const stillOffered = (acknowledged & ~this.offer.bits) === 0n;
    return (
      sameConfig(plan.config, config) && stillOffered && (this.up || this.settling.pending || !this.transport.connected)
    );
  }

  private get context(): PlanContext {
    const { eal, id: portId, args, transport, offer } = this;
    return { eal, portId, args, transport, offer };
  }

  protected limits(config: Pick<PortConfig, 'rxOffloads' | 'txOffloads' | 'rxQueues' | 'rss'>): PortLimits {
    return portLimits(this.context, config);
  }

  /**
   * Fills the Rx rings, enables the queue pairs and lets bursts through. While the back-end is away, or has not answered yet,
   * the port counts as started and its link stays down until it is back.
   * @throws VirtioPmdError ESTATE before configure; EMEMORY; EPEER and ETIMEOUT from the device
   */
  start(): void {
    this.checkOpen();
    if (this.running) {
      this.log('info', `Device with port_id=${this.id} already started`);
      return;
    }
    const { plan } = this;
    if (plan === undefined) throw this.state('must be configured before it is started');
    this.settling.bePatient();
    this.monitor();
    if (!this.transport.connected) this.refuseLost();
    try {
      this.startDevice(plan);
    } catch (error) {
      letBursts(allQueues(plan), false);
      if (!this.isRetried()) throw error;
      this.giveUpConnection(error);
    }
    this.running = true;
    for (const line of usingLines(plan.selection, this.id)) this.log('info', line);
    this.announce('port started');
  }

  /** As far as there is a device that answers. */
  private startDevice(plan: Plan): void {
    const { transport } = this;
    if (transport.connected && !this.settling.pending && (!this.up || anyBroken(plan))) {
      this.revive(plan, () => this.announce('the back-end has answered'));
      if (!this.up) this.tellOfWait();
    }
    if (!this.up) return;
    activate(this.eal, transport, plan, () => this.queuesCommand(), true);
    this.settling.wait();
  }

  /** A whole new initialisation, with the rings at their beginning. Only while no lcore polls. */
  private revive(plan: Plan, then: () => void): void {
    this.up = false;
    this.reportedBroken.clear();
    resetDevice(this.transport);
    this.settling.after(() => {
      rewind(this.eal, plan);
      this.raise(plan, then);
    });
  }

  /**
   * Keeps bursts from the rings and waits for lcores to leave them. The device keeps its buffers, as in DPDK.
   * @throws VirtioPmdError ELCORE when a job does not ask `running()`
   */
  stop(): void {
    this.checkOpen();
    if (!this.running) return;
    this.running = false;
    this.keepOut();
    try {
      this.eal.lcores.quiesce();
      if (this.plan !== undefined) cleanupTx(this.eal, this.plan);
    } finally {
      this.announce('port stopped');
    }
  }

  /** Bursts return 0 from now on. */
  private keepOut(): void {
    if (this.plan !== undefined) letBursts(allQueues(this.plan), false);
  }

  /** Resets the device and configures it as before. @throws VirtioPmdError ESTATE while started, and as `configure` */
  reset(): void {
    this.checkOpen();
    if (this.running) throw this.state('must be stopped to be reset');
    const { config } = this;
    if (config === undefined) return;
    this.settling.bePatient();
    this.teardown();
    this.configure(config);
  }

  /** Stops, resets the device, takes back every mbuf, frees memory and sockets. Idempotent. */
  close(): void {
    if (this.closed) return;
    this.settling.bePatient();
    try {
      this.stop();
    } finally {
      this.closed = true;
      this.forget();
      clearInterval(this.timer);
      this.teardown();
      this.transport.close();
      this.emit('closed');
    }
  }

  /**
   * Back to "attached, not configured". A device that cannot be reset is left behind by closing its connection. Its rings
   * and mbufs are given back once it has stopped: a slow back-end must not write into what is somebody else's by then.
   */
  private teardown(): void {
    const { plan, eal, transport } = this;
    if (plan === undefined) return;
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

  // ---- looking after the device --------------------------------------------------------------------------------------

  private monitor(): void {
    if (this.closed) return;
    if (this.plan !== undefined && this.eal.memory === undefined) return; // the Eal was closed first
    try {
      this.react(this.transport.poll());
    } catch (error) {
      // it went away between the two questions: then the next poll says so
      this.log('debug', `port ${this.id}: ${(error as Error).message}`);
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

  private refuseLost(): void {
    if (this.transport.finalLoss !== undefined) throw this.state(this.transport.finalLoss);
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
      if (!this.lossTold) this.log('error', `virtio-user port ${this.id} is down`);
      this.lossTold = true;
      this.announce('the back-end has closed the connection');
      return;
    }
    this.log('error', `port ${this.id}: device ${this.name} ${finalLoss}`);
    this.announce('the device was removed');
    this.emit('removed');
  }

  /** DEVICE_NEEDS_RESET (virtio 1.2 section 2.1.2), which DPDK's driver never looks at. */
  private onNeedsReset(): void {
    const { plan } = this;
    if (plan === undefined || !this.up) return;
    this.up = false;
    this.keepOut();
    this.log('warning', `port ${this.id}: the device asks for a reset (DEVICE_NEEDS_RESET): it is set up again`);
    this.announce('the device asks for a reset');
    try {
      this.eal.lcores.quiesce();
      this.revive(plan, () => undefined);
    } catch (error) {
      this.up = false;
      this.keepOut();
      giveUp(this.transport);
      this.log('error', `port ${this.id} stays down after the device asked for a reset: ${(error as Error).message}`);
      return;
    }
    this.announce('the device was reset');
  }

  private onConfigChange(): void {
    this.announce('the device says so');
    const { plan } = this;
    if (plan === undefined || !this.up || !wantsAnnouncement(this.transport, plan.negotiation.acknowledged)) return;
    try {
      this.announceSelf(plan);
    } catch (error) {
      this.log('error', `port ${this.id} cannot announce itself: ${(error as Error).message}`);
    }
  }

  /** Tells the network where we are (virtio 1.2 section 5.1.6.5.4): a RARP packet, and the device that it was sent. */
  private announceSelf(plan: Plan): void {
    if (this.running) {
      this.keepOut(); // a queue is one thread's at a time
      this.eal.lcores.quiesce();
      const sent = inject(this.eal, plan.queues.tx[0]!, rarpPacket(macBytes(this.mac)));
      letBursts([...usedRx(plan), ...usedTx(plan)], true);
      this.eal.lcores.wake();
      if (!sent) this.log('warning', `port ${this.id}: no mbuf, or no room in the ring, to announce ${this.mac} with`);
    }
    runCommand(this.transport, announceCommand(), `acknowledge the announcement of port ${this.id}`);
  }

  private onBack(): void {
    const { plan } = this;
    try {
      this.offer = this.transport.readFeatures();
      if (plan === undefined) {
        this.onReconnected();
        return;
      }
      this.eal.lcores.quiesce();
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
    this.announce('the back-end is back');
    this.emit('reconnect', this.reconnects);
  }

  /** The link stays down; the next connection is tried like this one. The reason is told once, not at each attempt. */
  private giveUpConnection(error: unknown): void {
    this.up = false;
    this.settling.drop();
    this.keepOut();
    this.transport.disconnect();
    const why = error instanceof Error ? error.message : String(error);
    if (why === this.lastFailure) return;
    this.lastFailure = why;
    this.log('error', `virtio-user port ${this.id} stays down: ${why}`);
  }

  private reportBroken(): void {
    if (this.plan === undefined || !anyBroken(this.plan)) return;
    for (const { spec, code } of brokenQueues(this.plan)) {
      if (this.reportedBroken.has(spec)) continue;
      this.reportedBroken.add(spec);
      const queue = `${isTx(spec) ? 'tx' : 'rx'}_q${spec.queueId}`;
      const why = brokenReason(code);
      this.log('error', `port ${this.id} ${queue} is broken: ${why}; stop and start the port to reset it`);
      this.emit('broken', queue, why);
    }
  }

  /** Link as of now. Reading it looks after the device, too. */
  get link(): Link {
    this.monitor();
    try {
      return this.linkNow();
    } catch {
      return DOWN; // as above
    }
  }

  private linkNow(): Link {
    if (!this.running || !this.up) return DOWN;
    return linkOf(this.transport, this.plan!.negotiation.acknowledged, this.args.speed);
  }

  private announce(why: string): void {
    const link = this.linkNow();
    if (link.up === this.announced) return;
    this.announced = link.up;
    this.emit('link', link, why);
  }

  protected log(level: LogLevel, line: string): void {
    this.sink(level, line);
    this.emit('log', level, line);
  }

  protected configuredPlan(): Plan {
    this.checkOpen();
    if (this.plan !== undefined) return this.plan;
    throw this.state('is not configured yet');
  }

  protected checkOpen(): void {
    if (this.closed) throw this.state('is closed');
  }

  private state(what: string): VirtioPmdError {
    return new VirtioPmdError('ESTATE', `port ${this.id} (${this.name}) ${what}`);
  }
}

function sameConfig(a: ResolvedConfig, b: ResolvedConfig): boolean {
  return (Object.keys(a) as (keyof ResolvedConfig)[]).every((key) => a[key] === b[key]);
}
