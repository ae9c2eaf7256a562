/**
 * virtio_user: a virtio-net device made of a vhost-user back-end and what this process adds to it (MAC, link status,
 * control queue). It implements Transport; the order of its messages is DPDK's (virtio_user_dev.c), so that back-ends
 * made for DPDK meet nothing new.
 *
 * Messages go out at three moments of the initialisation: SET_OWNER to SET_PROTOCOL_FEATURES when a connection is new,
 * SET_VRING_CALL to SET_STATUS at FEATURES_OK, and the memory table and the rings at DRIVER_OK.
 */
import { VirtioPmdError } from '../../native/errors.js';
import type { Region } from '../../native/region.js';
import type { ControlCommand } from '../ctrlq.js';
import type { Eal } from '../eal.js';
import { bitsOf, has, type FeatureOffer } from '../features.js';
import { CONFIG_MAC, type LogLevel, type Transport } from '../transport.js';
import * as V from '../wire/vhost-user.js';
import * as F from '../wire/virtio-features.js';
import { ControlEmulator, type EmulatedDevice } from './control-emulator.js';
import type { Connector } from './reconnect.js';
import { USER_SUPPORTED, userConfig } from './user-config.js';
import { UserRings } from './user-rings.js';
import { VhostUserClient, type SharedRegion } from './vhost-user-client.js';

const PROTOCOL_FEATURES = V.PROTOCOL_F_MQ | V.PROTOCOL_F_REPLY_ACK | V.PROTOCOL_F_CONFIG | V.PROTOCOL_F_STATUS;

/** Features that this process provides itself and a vhost-user back-end is not told about. */
const FRONTEND_ONLY = F.VIRTIO_NET_F_MAC | F.VIRTIO_NET_F_STATUS | F.VIRTIO_NET_F_CTRL_VQ;

/** What a back-end may offer, and nobody could switch on. */
const UNTOLD = F.VIRTIO_NET_F_RSS | F.VIRTIO_NET_F_HASH_REPORT;

const MAC_LENGTH = 6;

export interface VirtioUserOptions {
  readonly path: string;
  /** Queue pairs asked for. */
  readonly queues: number;
  readonly queueSize: number;
  /** A control queue, emulated. */
  readonly cq: boolean;
  /** From the devarg mac; undefined: the back-end's, if it has one. */
  readonly mac: Uint8Array | undefined;
  /** Mb/s, from the devarg speed. */
  readonly speed: number | undefined;
  readonly replyTimeoutMs: number;
  readonly log: (level: LogLevel, line: string) => void;
}

export class VirtioUser extends UserRings implements Transport {
  readonly driverName = 'net_virtio_user';
  readonly supported = USER_SUPPORTED;
  readonly finalLoss = undefined;

  private client: VhostUserClient | undefined;
  private status = 0;
  /** What the back-end offered on this connection, bit 30 included. */
  private backendFeatures = 0n;
  private driverFeatures = 0n;
  private featuresSent = false;
  private backendMac: Uint8Array | undefined;
  private readonly emulator = new ControlEmulator(this.emulated());
  private lastFailure = '';
  private closed = false;

  /** @param connector where connections come from after this; the transport closes it. */
  constructor(
    private readonly eal: Eal,
    private readonly options: VirtioUserOptions,
    private readonly connector: Connector,
  ) {
    super(options.queues, options.queueSize);
  }

  // ---- the connection ------------------------------------------------------------------------------------------------

  get connected(): boolean {
    return this.client !== undefined;
  }

  get maxQueuePairs(): number {
    return this.client !== undefined && this.whyNoMq() !== undefined ? 1 : this.options.queues;
  }

  /**
   * Starts a session on a new connection: SET_OWNER, features, protocol features. SET_OWNER opens every session
   * (DPDK sends it once per process; a restarted back-end has never seen it).
   * @throws VirtioPmdError EPEER, ETIMEOUT; the connection is closed then
   */
  adopt(fd: number): void {
    const { replyTimeoutMs, log } = this.options;
    const client = new VhostUserClient(fd, { replyTimeoutMs, warn: (line) => log('warning', line) });
    this.status = 0;
    this.featuresSent = false;
    this.pairEnabled.fill(false);
    try {
      client.setOwner();
      this.backendFeatures = client.getFeatures();
      if (has(this.backendFeatures, F.VHOST_USER_F_PROTOCOL_FEATURES)) {
        client.setProtocolFeatures(client.getProtocolFeatures() & PROTOCOL_FEATURES);
      }
      this.readBackendMac(client);
    } catch (error) {
      client.close();
      throw error;
    }
    this.client = client;
  }

  private readBackendMac(client: VhostUserClient): void {
    if (this.options.mac !== undefined || !has(this.backendFeatures, F.VIRTIO_NET_F_MAC)) return;
    if (!has(client.protocolFeatures, V.PROTOCOL_F_CONFIG)) return;
    const mac = client.getConfig(CONFIG_MAC, MAC_LENGTH);
    if (mac !== undefined && (mac[0]! & 1) === 0 && mac.some((byte) => byte !== 0)) this.backendMac = mac;
  }

  poll(): 'lost' | 'back' | undefined {
    if (this.closed) return undefined;
    if (this.client !== undefined) {
      if (this.client.alive) return undefined;
      this.disconnect();
      return 'lost';
    }
    const fd = this.connector.poll();
    if (fd < 0) return undefined;
    try {
      this.adopt(fd);
    } catch (error) {
      this.report(error);
      return undefined;
    }
    this.lastFailure = '';
    return 'back';
  }

  /** Says once, not every second, what is wrong with a back-end that comes back and fails. */
  private report(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message === this.lastFailure) return;
    this.lastFailure = message;
    this.options.log('error', `${this.options.path}: ${message}`);
  }

  disconnect(): void {
    this.client?.close();
    this.client = undefined;
    this.status = 0;
    this.featuresSent = false;
    this.pairEnabled.fill(false);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.disconnect();
    this.connector.close();
    this.closeEventFds();
  }

  private get peer(): VhostUserClient {
    if (this.client !== undefined) return this.client;
    throw new VirtioPmdError('EPEER', `there is no back-end on ${this.options.path}: start it, or wait for it`);
  }

  // ---- Transport -----------------------------------------------------------------------------------------------------

  readStatus(): number {
    // DPDK asks only after features are agreed: before that a back-end cannot know about protocol features
    if (this.statusOnWire()) this.status = this.peer.getStatus();
    return this.status;
  }

  writeStatus(status: number): void {
    const before = this.status;
    if (status === 0) {
      this.stop();
      return;
    }
    if (status & ~before & F.STATUS_FEATURES_OK) {
      this.sendFeatures();
      this.status |= F.STATUS_FEATURES_OK;
    }
    if (status & ~before & F.STATUS_DRIVER_OK) this.startDevice();
    this.status = status;
    if (this.statusOnWire()) this.peer.setStatus(status);
  }

  private statusOnWire(): boolean {
    return (
      (this.status & F.STATUS_FEATURES_OK) !== 0 &&
      this.client !== undefined &&
      has(this.client.protocolFeatures, V.PROTOCOL_F_STATUS)
    );
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

  /** Why there can be one queue pair only, if so. */
  private whyNoMq(): string | undefined {
    if (!has(this.backendFeatures, F.VIRTIO_NET_F_MQ)) return 'not offered by the back-end';
    const protocol = this.client?.protocolFeatures ?? V.PROTOCOL_F_MQ;
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
    const config = userConfig({ mac, linkUp: this.client !== undefined, maxQueuePairs, speed: this.options.speed });
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
        return user.pairs;
      },
      enablePairs: (n) => this.pairEnabled.forEach((_, pair) => this.enablePair(pair, pair < n)),
      refused: (why) => this.options.log('error', `(${this.options.path}) ${why}`),
    };
  }

  // ---- message groups ------------------------------------------------------------------------------------------------

  private sendFeatures(): void {
    const { peer } = this;
    // the first message that names a ring makes the back-end allocate it, so CALL goes ahead of the features
    this.rings().forEach((index) => peer.setVringCall(index, this.callFds[index]!));
    const forBackend = this.driverFeatures & this.backendFeatures & ~FRONTEND_ONLY;
    peer.setFeatures(forBackend | (this.backendFeatures & F.VHOST_USER_F_PROTOCOL_FEATURES));
    this.featuresSent = true;
  }

  private startDevice(): void {
    const { peer, eal } = this;
    if (!this.featuresSent) this.sendFeatures(); // a legacy device has no FEATURES_OK to send them at
    const { memory } = eal;
    if (memory === undefined)
      throw new VirtioPmdError('ESTATE', 'there is no packet memory to share: make a mempool first');
    peer.setMemTable(sharedRegions(eal, memory));
    for (const index of this.rings()) {
      const queue = this.ring(index);
      peer.setVringNum(index, queue.size);
      peer.setVringBase(index, queue.base);
      peer.setVringAddr({
        index,
        flags: 0,
        desc: eal.userAddress(queue.desc),
        avail: eal.userAddress(queue.driver),
        used: eal.userAddress(queue.device),
        log: 0n,
      });
      peer.setVringKick(index, this.kickFds[index]!);
    }
    this.enablePair(0, true);
  }

  private get pairs(): number {
    return has(this.driverFeatures, F.VIRTIO_NET_F_MQ) ? this.options.queues : 1;
  }

  /** Virtqueues that the back-end is told about, in their order. */
  private rings(): number[] {
    return Array.from({ length: this.pairs * 2 }, (_, index) => index);
  }

  private enablePair(pair: number, on: boolean): void {
    if (this.pairEnabled[pair] === on) return;
    // without protocol features rings are enabled from the start, and the message does not exist
    if (has(this.backendFeatures, F.VHOST_USER_F_PROTOCOL_FEATURES)) {
      this.peer.setVringEnable(2 * pair, on);
      this.peer.setVringEnable(2 * pair + 1, on);
    }
    this.pairEnabled[pair] = on;
  }

  /** Reset: rings disabled and stopped, then status 0. */
  private stop(): void {
    const running = (this.status & F.STATUS_DRIVER_OK) !== 0;
    if (this.client !== undefined) {
      if (running) {
        this.pairEnabled.forEach((_, pair) => this.enablePair(pair, false));
        this.rings().forEach((index) => this.peer.getVringBase(index));
      }
      if (this.statusOnWire()) this.peer.setStatus(0);
    }
    this.status = 0;
    this.featuresSent = false;
    this.pairEnabled.fill(false);
    this.emulator.reset();
  }
}

/** VHOST_MEMORY_BASELINE_NREGIONS. */
const MAX_REGIONS = 8;

/** The packet memory as regions of a memory table: one, unless it has physical addresses. @throws VirtioPmdError EMEMORY */
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
