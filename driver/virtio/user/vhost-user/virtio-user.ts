/**
 * virtio_user: a virtio-net device made of a vhost-user back-end and what this process adds to it (MAC, link status,
 * control queue). It implements Transport. The order of its messages is DPDK's (virtio_user_dev.c), which back-ends expect.
 *
 * Messages go out at three moments of the initialisation: SET_OWNER to SET_PROTOCOL_FEATURES when a connection is new,
 * SET_VRING_CALL to SET_STATUS at FEATURES_OK, and the memory table and the rings at DRIVER_OK.
 *
 * Writes are posted, as on PCI: a call returns once its messages are queued, and `settle` and `poll` continue the queue
 * (docs/decisions/0006). The status that is read is the one that was written; the back-end's own is checked by messages in the
 * queue.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import type { Region } from '../../../../native/region.js';
import type { ControlCommand } from '../../control/commands.js';
import type { Eal } from '../../../eal/eal.js';
import { bitsOf, has, type FeatureOffer } from '../../features.js';
import type { Log } from '../../../eal/types.js';
import type { Transport, TransportEvent } from '../../transport.js';
import * as V from '../../../wire/vhost-user.js';
import * as F from '../../../wire/virtio-features.js';
import { ControlEmulator, type EmulatedDevice } from '../../control/emulator.js';
import type { Limits, Patience } from './conversation.js';
import { leave } from './linger.js';
import type { Connector } from './reconnect.js';
import { USER_SUPPORTED, userConfig } from '../config.js';
import { UserRings } from '../rings.js';
import { UserSession } from './session.js';
import type { Exchange, SharedRegion } from './client.js';

/** Features that this process provides itself, and of which a vhost-user back-end is not told. */
const FRONTEND_ONLY = F.VIRTIO_NET_F_MAC | F.VIRTIO_NET_F_STATUS | F.VIRTIO_NET_F_CTRL_VQ;

/** Features that a back-end may offer, but that vhost-user cannot configure (docs/decisions/0009). */
const UNTOLD = F.VIRTIO_NET_F_RSS | F.VIRTIO_NET_F_HASH_REPORT;

/** A connection that was up for less, in milliseconds, counts as a failed attempt. */
const SHORT_LIFE_MS = 1000;

/** How long a look may wait: most back-ends answer within a fraction of a millisecond. */
const AT_ONCE: Patience = { each: 2, total: 20 };

/** Options of a VirtioUser. */
export interface VirtioUserOptions {
  readonly path: string;
  /** Queue pairs asked for. */
  readonly queues: number;
  /** Descriptors of each ring. */
  readonly queueSize: number;
  /** A control queue, emulated. */
  readonly cq: boolean;
  /** From the devarg mac; undefined: the back-end's, if it has one. */
  readonly mac: Uint8Array | undefined;
  /** Mb/s, from the devarg speed. */
  readonly speed: number | undefined;
  readonly limits: Limits;
  readonly log: Log;
}

/** The device of one socket, across all connections. */
export class VirtioUser extends UserRings implements Transport {
  readonly driverName = 'net_virtio_user';
  readonly supported = USER_SUPPORTED;
  readonly finalLoss = undefined;

  /** The connection in use. */
  private session: UserSession | undefined;
  /** A connection on which the back-end has not offered its features yet. */
  private newcomer: UserSession | undefined;
  /** The device status that was written last, whether the back-end was told of it or not. */
  private status = 0;
  /** To be called once the back-end has stopped using the memory. */
  private releases: (() => void)[] = [];
  /** Feature bits that the back-end of the last connection offered, bit 30 included. */
  private backendFeatures = 0n;
  private driverFeatures = 0n;
  private backendMac: Uint8Array | undefined;
  private readonly emulator = new ControlEmulator(this.emulated());
  private lastFailure = '';
  private closed = false;

  /** @param connector the source of connections; the transport closes it. */
  constructor(
    private readonly eal: Eal,
    private readonly options: VirtioUserOptions,
    private readonly connector: Connector,
  ) {
    super(options.queues, options.queueSize, true);
  }

  // ---- the connection ------------------------------------------------------------------------------------------------

  get connected(): boolean {
    return this.session !== undefined;
  }

  get retries(): boolean {
    return this.connector.retries && !this.closed;
  }

  get maxQueuePairs(): number {
    return this.session !== undefined && this.whyNoMq() !== undefined ? 1 : this.options.queues;
  }

  /** Begins a session on a new connection, which the transport closes; `greet` continues it. @param fd a connected socket */
  adopt(fd: number): void {
    const { queues, limits, log, mac } = this.options;
    this.newcomer = new UserSession(fd, queues, limits, (line) => log('warning', line));
    this.newcomer.talk.add(this.newcomer.hello(mac === undefined));
  }

  /**
   * Continues a session that has begun. It waits a few milliseconds at most.
   * @returns true once the back-end has offered its features
   * @throws VirtioPmdError EPEER, ETIMEOUT; the connection is closed then
   */
  greet(): boolean {
    const { newcomer } = this;
    if (newcomer === undefined) return false;
    try {
      if (!newcomer.talk.run(AT_ONCE)) return false;
    } catch (error) {
      this.dropNewcomer();
      this.connector.ended(false);
      throw error;
    }
    this.newcomer = undefined;
    this.session = newcomer;
    this.backendFeatures = newcomer.features;
    this.backendMac = newcomer.mac ?? this.backendMac;
    return true;
  }

  private dropNewcomer(): void {
    this.newcomer?.client.close();
    this.newcomer = undefined;
  }

  poll(): TransportEvent | undefined {
    if (this.closed) return undefined;
    try {
      return this.session === undefined ? this.lookForBackend() : this.lookAfter(this.session);
    } catch (error) {
      this.report(error);
      return this.session === undefined ? undefined : this.lose();
    }
  }

  private lookForBackend(): TransportEvent | undefined {
    if (this.newcomer === undefined) {
      const fd = this.connector.poll();
      if (fd < 0) return undefined;
      this.adopt(fd);
    }
    return this.greet() ? 'back' : undefined;
  }

  private lookAfter(session: UserSession): TransportEvent | undefined {
    if (session.talk.busy) return this.proceed(session, AT_ONCE) ? 'settled' : undefined;
    return session.client.alive ? undefined : this.lose();
  }

  private lose(): TransportEvent {
    this.disconnect();
    return 'lost';
  }

  settle(waitMs: number): boolean {
    const { session } = this;
    if (session === undefined) return true;
    const patience = waitMs > 0 ? { each: waitMs, total: waitMs } : AT_ONCE;
    try {
      return this.proceed(session, patience);
    } catch (error) {
      if (!session.client.open) this.disconnect();
      throw error;
    }
  }

  private proceed(session: UserSession, patience: Patience): boolean {
    try {
      if (!session.talk.run(patience)) return false;
    } catch (error) {
      this.status = session.told; // the rest was not sent
      throw error;
    }
    if ((session.told & F.STATUS_DRIVER_OK) !== 0) this.lastFailure = '';
    this.release();
    return true;
  }

  /** Logs an error once, and not at every attempt, when a back-end fails again and again. */
  private report(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message === this.lastFailure) return;
    this.lastFailure = message;
    this.options.log('error', `${this.options.path}: ${message}`);
  }

  released(done: () => void): void {
    const { session } = this;
    if (session !== undefined && (session.holdsMemory || session.talk.busy)) this.releases.push(done);
    else done();
  }

  private release(): void {
    const { releases } = this;
    this.releases = [];
    for (const done of releases) done();
  }

  disconnect(): void {
    const { session, releases } = this;
    this.session = undefined;
    this.status = 0;
    if (session === undefined) return;
    const { client } = session;
    this.connector.ended(session.lifetime > SHORT_LIFE_MS);
    if (!client.open || !session.holdsMemory || releases.length === 0) {
      client.close();
      this.release();
      return;
    }
    this.releases = [];
    leave(client, this.options.limits.handshakeTimeoutMs, () => releases.forEach((done) => done()));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.dropNewcomer();
    this.disconnect();
    this.connector.close();
    this.closeEventFds();
  }

  /** Queues a group of messages. @throws VirtioPmdError EPEER when there is no back-end */
  private say(group: (session: UserSession) => Exchange): void {
    const { session } = this;
    if (session === undefined) {
      throw new VirtioPmdError('EPEER', `there is no back-end on ${this.options.path}: start it, or wait for it`);
    }
    session.talk.add(group(session));
  }

  // ---- Transport -----------------------------------------------------------------------------------------------------

  readStatus(): number {
    return this.status;
  }

  writeStatus(status: number): void {
    if (status === 0) {
      this.stop();
      return;
    }
    const added = status & ~this.status;
    const asked = this.session?.listensTo(status) ?? false;
    if (added & F.STATUS_FEATURES_OK) this.sendFeatures();
    if (added & F.STATUS_DRIVER_OK) {
      // a legacy device has no FEATURES_OK, so they are sent now
      if ((status & F.STATUS_FEATURES_OK) === 0) this.sendFeatures();
      if (asked) this.say((session) => session.confirmFeatures());
      this.startDevice();
    }
    this.status = status;
    this.say((session) => session.tell(status));
    if (asked && added & F.STATUS_FEATURES_OK) this.say((session) => session.confirmFeatures());
  }

  private sendFeatures(): void {
    const features = this.driverFeatures & this.backendFeatures & ~FRONTEND_ONLY;
    const callFds = this.callFds.slice(0, this.ringCount);
    this.say((session) => session.sendFeatures(callFds, features));
  }

  private startDevice(): void {
    const { eal, kickFds } = this;
    const { memory } = eal;
    if (memory === undefined)
      throw new VirtioPmdError('ESTATE', 'there is no packet memory to share: make a mempool first');
    const regions = sharedRegions(eal, memory);
    const queues = Array.from({ length: this.ringCount }, (_, index) => this.ring(index));
    this.say((session) => session.start({ eal, memory, regions, queues, kickFds }));
  }

  /** The number of virtqueues that the back-end is told of. */
  private get ringCount(): number {
    return 2 * (has(this.driverFeatures, F.VIRTIO_NET_F_MQ) ? this.options.queues : 1);
  }

  private stop(): void {
    const { session, ringCount } = this;
    if (session !== undefined && this.status !== 0) {
      if (!session.talk.busy) session.talk.restartClock();
      this.say(() => session.stop(ringCount));
    }
    this.status = 0;
    this.emulator.reset();
  }

  readFeatures(): FeatureOffer {
    const withheld = new Map<bigint, string>();
    let bits = this.backendFeatures & ~F.VHOST_USER_F_PROTOCOL_FEATURES & ~FRONTEND_ONLY & ~UNTOLD;
    bits |= F.VIRTIO_NET_F_STATUS;
    for (const feature of bitsOf(this.backendFeatures & UNTOLD)) {
      withheld.set(feature, 'vhost-user has no message that tells a back-end how to hash');
    }
    const whyNoMq = this.whyNoMq();
    if (whyNoMq !== undefined) {
      bits &= ~F.VIRTIO_NET_F_MQ;
      withheld.set(F.VIRTIO_NET_F_MQ, whyNoMq);
    }
    if (this.mac !== undefined) bits |= F.VIRTIO_NET_F_MAC;
    else withheld.set(F.VIRTIO_NET_F_MAC, 'no mac=, and the back-end names none: a random address is used');
    if (this.options.cq) bits |= F.VIRTIO_NET_F_CTRL_VQ;
    else if (has(this.backendFeatures, F.VIRTIO_NET_F_CTRL_VQ)) {
      withheld.set(F.VIRTIO_NET_F_CTRL_VQ, 'there is no control queue: add cq=1');
    }
    return { bits, withheld };
  }

  /** Why the device has only one queue pair; undefined when it may have several. */
  private whyNoMq(): string | undefined {
    if (!has(this.backendFeatures, F.VIRTIO_NET_F_MQ)) return 'not offered by the back-end';
    const protocol = this.session?.client.protocolFeatures ?? V.PROTOCOL_F_MQ;
    return has(protocol, V.PROTOCOL_F_MQ) ? undefined : 'the back-end lacks the protocol feature MQ';
  }

  private get mac(): Uint8Array | undefined {
    return this.options.mac ?? this.backendMac;
  }

  writeFeatures(acknowledged: bigint): void {
    this.driverFeatures = acknowledged;
  }

  readConfig(offset: number, length: number): Uint8Array {
    const { mac, maxQueuePairs } = this;
    const config = userConfig({ mac, linkUp: this.session !== undefined, maxQueuePairs, speed: this.options.speed });
    return config.slice(offset, offset + length);
  }

  control(command: ControlCommand): number {
    return this.emulator.run(command);
  }

  /** Without a receive filter: vhost-user has no message for one. */
  private emulated(): EmulatedDevice {
    // eslint-disable-next-line @typescript-eslint/no-this-alias -- for the getters below
    const user = this;
    return {
      get mac() {
        return user.mac;
      },
      get maxQueuePairs() {
        return user.ringCount / 2;
      },
      enablePairs: (n) => this.say((session) => session.enablePairs(n)),
      refused: (why) => this.options.log('error', `(${this.options.path}) ${why}`),
    };
  }
}

/** VHOST_MEMORY_BASELINE_NREGIONS. */
const MAX_REGIONS = 8;

/**
 * The packet memory as regions of a memory table: one, unless it has physical addresses.
 * @throws VirtioPmdError EMEMORY for more than 8
 */
function sharedRegions(eal: Eal, memory: Region): SharedRegion[] {
  const regions = eal.dmaRuns.map((run) => ({
    guestAddr: run.deviceAddress,
    userAddr: eal.userAddress(run.offset),
    size: BigInt(run.byteLength),
    mmapOffset: BigInt((memory.fdOffset ?? 0) + run.offset),
    fd: memory.fd,
  }));
  if (regions.length <= MAX_REGIONS) return regions;
  throw new VirtioPmdError(
    'EMEMORY',
    `the packet memory lies in ${regions.length} pieces of physical memory, a vhost-user back-end takes ${MAX_REGIONS}: use a smaller -m, or virtio_user without a PCI device that needs physical addresses`,
  );
}
