/**
 * The vhost-kernel back-end of virtio_user: a virtio-net device made of three parts. The kernel's vhost-net serves the rings, a
 * tap device passes the packets to the kernel's stack, and this process adds MAC, link status and control queue. The order of
 * the requests is DPDK's (vhost_kernel.c). Unlike in DPDK, control commands change the tap: disabled queue pairs get no packets,
 * and the tap applies the receive filter.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import type { ControlCommand } from '../../control/commands.js';
import type { Eal } from '../../../eal/eal.js';
import { has, netHeaderSize, type FeatureOffer } from '../../features.js';
import type { Log } from '../../../eal/types.js';
import type { Transport } from '../../transport.js';
import * as F from '../../../wire/virtio-features.js';
import { ControlEmulator, type EmulatedDevice } from '../../control/emulator.js';
import { kernelSystem, type KernelSystem } from './system.js';
import { openTap, tapFeatures } from '../../../netdev/tap-open.js';
import type { Tap } from '../../../netdev/tap.js';
import { filterArgument, tapOffload } from './tap-requests.js';
import { USER_SUPPORTED, userConfig } from '../config.js';
import { UserRings } from '../rings.js';
import { VhostNet, type KernelRegion } from './vhost-net.js';

/** Features that a tap with net headers provides, and of which vhost-net is not told. */
const OF_THE_TAP =
  F.VIRTIO_NET_F_CSUM |
  F.VIRTIO_NET_F_HOST_TSO4 |
  F.VIRTIO_NET_F_HOST_TSO6 |
  F.VIRTIO_NET_F_GUEST_CSUM |
  F.VIRTIO_NET_F_GUEST_TSO4 |
  F.VIRTIO_NET_F_GUEST_TSO6;

/** The features of the emulated control queue. */
const OF_THE_CONTROL_QUEUE =
  F.VIRTIO_NET_F_CTRL_VQ | F.VIRTIO_NET_F_CTRL_RX | F.VIRTIO_NET_F_CTRL_VLAN | F.VIRTIO_NET_F_CTRL_MAC_ADDR;

/**
 * Features that are never taken from the kernel's offer: bit 27, with which vhost-net would make the net headers itself
 * (VHOST_NET_F_VIRTIO_NET_HDR), and those that a tap's net header has no room for.
 */
const NEVER = F.VIRTIO_F_ANY_LAYOUT | F.VIRTIO_NET_F_HASH_REPORT | F.VIRTIO_NET_F_RSS | OF_THE_TAP;

/** Features that the kernel may offer and a port would take, and why the port does not get them. */
const WITHHELD: readonly (readonly [feature: bigint, why: string])[] = [
  [F.VIRTIO_F_IOMMU_PLATFORM, 'a memory table tells the kernel where everything is'],
  // kernels that offer it write one used entry for all buffers of a packet, as section 2.7.9 of virtio 1.2 allows
  [F.VIRTIO_F_IN_ORDER, 'vhost-net leaves out used entries then, from which the in-order paths have their lengths'],
];
const ALL_WITHHELD = WITHHELD.reduce((all, [feature]) => all | feature, 0n);

const REGION_LIMIT_FILE = '/sys/module/vhost/parameters/max_mem_regions';
const DEFAULT_REGION_LIMIT = 64;

/** Options of `openVhostKernel`. */
export interface VhostKernelOptions {
  /** Path of vhost-net: /dev/vhost-net. */
  readonly path: string;
  /** Name of the tap; undefined: the kernel chooses. */
  readonly iface?: string | undefined;
  /** Set the interface administratively up at the first DRIVER_OK. */
  readonly up: boolean;
  /** Queue pairs. */
  readonly queues: number;
  /** Descriptors of each ring. */
  readonly queueSize: number;
  /** A control queue, emulated. */
  readonly cq: boolean;
  /** From the devarg mac; undefined: the tap's. */
  readonly mac?: Uint8Array | undefined;
  /** Mb/s, from the devarg speed. */
  readonly speed?: number | undefined;
  readonly log: Log;
}

/**
 * Opens vhost-net once for each queue pair, and a tap with as many queues. The interface exists from now on.
 * @throws VirtioPmdError EDEVARGS, ECONFIG, ESYSTEM; nothing stays open then
 */
export function openVhostKernel(
  eal: Eal,
  options: VhostKernelOptions,
  system: KernelSystem = kernelSystem,
): VhostKernel {
  const { path, iface, queues, log } = options;
  const nets: VhostNet[] = [];
  let tap: Tap | undefined;
  try {
    const features = tapFeatures(system);
    while (nets.length < queues) nets.push(VhostNet.open(system, path));
    tap = openTap(system, { iface, queues }, features);
    const mac = options.mac ?? tap.mac;
    for (let pair = 1; pair < queues; pair++) tap.attach(pair, false);
    log('info', `(${path}) the kernel's end is interface ${tap.name}`);
    return new VhostKernel(eal, options, { system, nets, tap, mac });
  } catch (error) {
    for (const net of nets) net.close();
    tap?.close();
    throw error;
  }
}

interface Parts {
  readonly system: KernelSystem;
  /** By queue pair. */
  readonly nets: readonly VhostNet[];
  readonly tap: Tap;
  readonly mac: Uint8Array;
}

/** A vhost-net device with its tap. */
export class VhostKernel extends UserRings implements Transport {
  readonly driverName = 'net_virtio_user';
  readonly supported = USER_SUPPORTED;
  readonly openUntilTold = true;
  readonly maxQueuePairs: number;
  /** Name of the tap as it was made. */
  readonly interfaceName: string;

  private readonly mac: Uint8Array;
  private readonly tap: Tap;
  private readonly nets: readonly VhostNet[];
  /** By queue pair: the kernel serves it. */
  private readonly pairEnabled: boolean[];
  private readonly system: KernelSystem;
  private present = true;
  private closed = false;
  private deleted = false;
  private status = 0;
  private driverFeatures = 0n;
  private featuresSent = false;
  /** DRIVER_OK has been written once. */
  private begun = false;
  private readonly emulator: ControlEmulator;

  /** @param parts are open; the transport closes them. */
  constructor(
    private readonly eal: Eal,
    private readonly options: VhostKernelOptions,
    parts: Parts,
  ) {
    super(options.queues, options.queueSize, false);
    this.pairEnabled = Array.from({ length: options.queues }, () => false);
    this.mac = parts.mac;
    this.system = parts.system;
    this.nets = parts.nets;
    this.tap = parts.tap;
    this.interfaceName = parts.tap.name;
    this.maxQueuePairs = options.queues;
    this.emulator = new ControlEmulator(this.emulated());
  }

  get connected(): boolean {
    return this.present;
  }

  get finalLoss(): string {
    return this.deleted
      ? `lost its tap ${this.interfaceName}, which was deleted: detach the port, and attach it again`
      : 'was given up, as the kernel did not do what it was asked for: detach the port, and attach it again';
  }

  poll(): 'lost' | undefined {
    if (!this.present || !this.tap.gone) return undefined;
    this.deleted = true;
    this.disconnect();
    return 'lost';
  }

  disconnect(): void {
    if (!this.present) return;
    this.present = false;
    this.status = 0;
    for (const net of this.nets) net.close(); // first: while the kernel serves a ring, it keeps the tap open
    this.tap.close();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.disconnect();
    this.closeEventFds();
  }

  // ---- Transport -----------------------------------------------------------------------------------------------------

  readStatus(): number {
    return this.status;
  }

  writeStatus(status: number): void {
    const before = this.status;
    if (status === 0) {
      this.stop();
      return;
    }
    if (status & ~before & F.STATUS_FEATURES_OK) this.sendFeatures();
    if (status & ~before & F.STATUS_DRIVER_OK) this.startDevice();
    this.status = status;
  }

  private get kernelFeatures(): bigint {
    return this.nets[0]!.features & ~NEVER & ~ALL_WITHHELD;
  }

  readFeatures(): FeatureOffer {
    const withheld = new Map<bigint, string>();
    let bits = this.kernelFeatures | OF_THE_TAP | F.VIRTIO_NET_F_MAC | F.VIRTIO_NET_F_STATUS;
    for (const [feature, why] of WITHHELD) if (has(this.nets[0]!.features, feature)) withheld.set(feature, why);
    if (this.tap.multiQueue) bits |= F.VIRTIO_NET_F_MQ;
    else withheld.set(F.VIRTIO_NET_F_MQ, `tap ${this.interfaceName} does not support multi queue`);
    if (this.options.cq) bits |= OF_THE_CONTROL_QUEUE;
    return { bits, withheld };
  }

  writeFeatures(acknowledged: bigint): void {
    this.driverFeatures = acknowledged;
  }

  readConfig(offset: number, length: number): Uint8Array {
    const { mac, maxQueuePairs, present: linkUp } = this;
    const config = userConfig({ mac, linkUp, maxQueuePairs, speed: this.options.speed });
    return config.slice(offset, offset + length);
  }

  control(command: ControlCommand): number {
    return this.emulator.run(command);
  }

  private emulated(): EmulatedDevice {
    const pairs = () => this.pairs;
    return {
      mac: this.mac,
      get maxQueuePairs() {
        return pairs();
      },
      enablePairs: (n) => this.pairEnabled.forEach((_, pair) => this.enablePair(pair, pair < n)),
      setReceiveFilter: (filter) => this.present && this.tap.setFilter(filterArgument(filter)),
      refused: (why) => this.options.log('error', `(${this.options.path}) ${why}`),
    };
  }

  // ---- requests, in their order --------------------------------------------------------------------------------------

  private checkPresent(): void {
    if (!this.present) throw new VirtioPmdError('EPEER', `the device ${this.finalLoss}`);
  }

  private sendFeatures(): void {
    this.checkPresent();
    for (const net of this.nets) net.setFeatures(this.driverFeatures & this.kernelFeatures);
    this.featuresSent = true;
  }

  private startDevice(): void {
    const { nets, tap } = this;
    this.checkPresent();
    if (!this.featuresSent) this.sendFeatures(); // a legacy device has no FEATURES_OK, so they are sent now
    const regions = this.regions();
    for (let pair = 0; pair < this.pairs; pair++) {
      nets[pair]!.setMemory(regions);
      nets[pair]!.setRing(0, this.kernelRing(2 * pair));
      nets[pair]!.setRing(1, this.kernelRing(2 * pair + 1));
    }
    if (!this.begun && this.options.mac !== undefined) tap.setMac(this.options.mac);
    tap.setHeaderSize(netHeaderSize(this.driverFeatures));
    tap.unlimitSendBuffer();
    tap.setOffload(tapOffload(this.driverFeatures));
    this.enablePair(0, true);
    if (!this.begun && this.options.up) tap.bringUp();
    this.begun = true;
  }

  /** The memory table. @throws VirtioPmdError ESTATE without packet memory, EMEMORY for more regions than the kernel takes */
  private regions(): KernelRegion[] {
    const { eal } = this;
    if (eal.memory === undefined)
      throw new VirtioPmdError('ESTATE', 'there is no packet memory to share: make a mempool first');
    const regions = eal.dmaRuns.map(({ offset, byteLength, deviceAddress }) => ({
      ...{ deviceAddress, byteLength },
      userAddress: eal.userAddress(offset),
    }));
    const limit = regionLimit(this.system);
    if (regions.length <= limit) return regions;
    throw new VirtioPmdError(
      'EMEMORY',
      `the packet memory lies in ${regions.length} pieces of physical memory, vhost-net takes ${limit}: use a smaller -m, or load the module vhost with max_mem_regions=${regions.length}`,
    );
  }

  private kernelRing(index: number) {
    const { eal } = this;
    const queue = this.ring(index);
    return {
      size: queue.size,
      base: queue.base,
      desc: eal.userAddress(queue.desc),
      avail: eal.userAddress(queue.driver),
      used: eal.userAddress(queue.device),
      kick: this.kickFds[index]!,
      call: this.callFds[index]!,
    };
  }

  /** The number of queue pairs that the kernel is told of. */
  private get pairs(): number {
    return has(this.driverFeatures, F.VIRTIO_NET_F_MQ) ? this.maxQueuePairs : 1;
  }

  private enablePair(pair: number, on: boolean): void {
    if (this.pairEnabled[pair] === on) return;
    const net = this.nets[pair]!;
    if (on) {
      this.tap.attach(pair, true);
      net.start(this.tap.fdOf(pair));
    } else {
      net.stop();
      this.tap.attach(pair, false);
    }
    this.pairEnabled[pair] = on;
  }

  /** Reset: the kernel stops using the rings. The settings of the tap remain until the next DRIVER_OK. */
  private stop(): void {
    if (this.present) {
      this.pairEnabled.forEach((_, pair) => this.enablePair(pair, false));
      this.emulator.reset();
    }
    this.status = 0;
    this.featuresSent = false;
  }
}

function regionLimit(system: KernelSystem): number {
  try {
    const limit = Number(system.readText(REGION_LIMIT_FILE));
    return limit > 0 ? limit : DEFAULT_REGION_LIMIT;
  } catch {
    return DEFAULT_REGION_LIMIT;
  }
}
