/** The control plane of net_af_packet: an interface of the kernel, and a packet socket for each queue pair. */
import { errnoOf, VirtioPmdError } from '../../../native/errors.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { InterfaceFilters } from '../../netdev/filters.js';
import type { Interface } from '../../netdev/interface.js';
import { failedCall } from '../../netdev/system.js';
import { InterfaceWatch } from '../../netdev/watch.js';
import type { ResolvedConfig } from '../../port/config.js';
import { Absent, type PortHost } from '../../port/device.js';
import type { PortInterrupts } from '../../port/parts.js';
import { RX_OFFLOAD_VLAN_STRIP, TX_OFFLOAD_MULTI_SEGS, TX_OFFLOAD_VLAN_INSERT, type Link } from '../../port/types.js';
import type { Vdev } from '../vdev.js';
import type { AfPacketDevargs } from './devargs.js';
import { longestPacket } from './layout.js';
import { LONGEST_TX, RingSocket } from './socket.js';

export class AfPacketVdev implements Vdev {
  readonly driverName = 'net_af_packet';
  readonly maxRxQueues: number;
  readonly maxTxQueues: number;
  readonly queueSize: number;
  readonly deviceMtu: number;
  readonly rxOffloadCapa = RX_OFFLOAD_VLAN_STRIP;
  readonly txOffloadCapa = TX_OFFLOAD_VLAN_INSERT | TX_OFFLOAD_MULTI_SEGS;
  static readonly module = new URL('./queue.js', import.meta.url).href;
  readonly module = AfPacketVdev.module;
  readonly burstMode = 'Scalar';
  readonly rss = new Absent('the kernel spreads packets over its sockets by a hash of its own');
  readonly filters: InterfaceFilters;
  readonly interrupts: PortInterrupts;
  private readonly watch: InterfaceWatch;
  private sockets: RingSocket[] = [];
  /** How many of the sockets receive. */
  private receiving = 0;
  private started = false;
  /** Packets come into the rings. */
  private listening = false;
  private drops = 0;

  constructor(
    private readonly host: PortHost,
    private readonly args: AfPacketDevargs,
    private readonly device: Interface,
  ) {
    this.maxRxQueues = args.qpairs;
    this.maxTxQueues = args.qpairs;
    this.queueSize = args.layout.frameCount;
    this.deviceMtu = longestPacket(args.layout) - ETHER_HDR_LEN;
    this.watch = new InterfaceWatch(host, device);
    this.filters = new InterfaceFilters(device, {
      noMulticastList: 'this port has no list of multicast addresses: set allmulticast mode',
    });
    this.interrupts = { rxFd: (queue) => (queue < this.receiving ? this.sockets[queue]?.spec.fd : undefined) };
    this.watch.look();
  }

  get mac(): string {
    return this.filters.mac;
  }

  get link(): Link {
    return this.watch.link;
  }

  get lost(): string | undefined {
    return this.watch.lost;
  }

  get currentMtu(): number | undefined {
    return this.watch.mtu;
  }

  queueData(kind: 'rx' | 'tx', queue: number, config: ResolvedConfig): object {
    const { rxQueues, rxOffloads, mempool } = config;
    const longest = longestPacket(this.args.layout);
    if (longest > mempool.dataRoom) {
      throw new VirtioPmdError(
        'ECONFIG',
        `${this.args.name}: packets of ${longest} bytes, which a frame holds, do not fit into an mbuf of ${mempool.dataRoom} bytes: use larger mbufs (--mbuf-size), or a smaller framesz`,
      );
    }
    this.receiving = rxQueues;
    while (this.sockets.length <= queue) {
      const socket = new RingSocket(this.args.layout, this.args.qdiscBypass);
      this.sockets.push(socket);
      socket.bind(this.device.index, this.sockets.length <= rxQueues);
    }
    return {
      ring: this.sockets[queue]!.spec,
      vlanStrip: kind === 'rx' && (rxOffloads & RX_OFFLOAD_VLAN_STRIP) !== 0,
    };
  }

  release(): void {
    this.countDrops();
    for (const socket of this.sockets) socket.close();
    this.sockets = [];
    this.receiving = 0;
  }

  start(): void {
    for (const socket of this.sockets.slice(0, this.receiving)) socket.discard();
    this.look();
    this.listen();
    this.started = true;
  }

  stop(): void {
    this.started = false;
    this.listening = false;
    for (const socket of this.sockets) socket.receive(false);
  }

  /** Lets packets into the rings: into all of them, or into none yet. @throws VirtioPmdError ESYSTEM */
  private listen(): void {
    const sockets = this.sockets.slice(0, this.receiving);
    try {
      if (sockets.length > 1) {
        let group: number | undefined;
        for (const socket of sockets) group = socket.joinGroup(group);
      }
      for (const socket of sockets) socket.receive(true);
      this.listening = true;
    } catch (error) {
      for (const socket of sockets) socket.receive(false);
      // before Linux 6.15 sockets of an interface that is down cannot share packets: when it is up
      if (errnoOf(error) === 'EINVAL' && !this.watch.link.up) return;
      throw failedCall(`the sockets of ${this.args.name} cannot share the packets of their interface`, error, {});
    }
  }

  look(): void {
    const state = this.watch.look();
    if (state === undefined) return;
    this.filters.refresh(state.flags);
    for (const { spec } of this.sockets) {
      Atomics.store(new Int32Array(spec.control), LONGEST_TX, state.mtu + ETHER_HDR_LEN);
    }
    if (!this.started || this.listening || !this.watch.link.up) return;
    try {
      this.listen();
    } catch (error) {
      this.listening = true; // not again and again
      this.host.log('error', `port ${this.host.id}: ${(error as Error).message}`);
    }
  }

  setMtu(mtu: number): void {
    this.device.setMtu(mtu);
    this.look();
  }

  missed(): number {
    this.countDrops();
    return this.drops;
  }

  private countDrops(): void {
    for (const socket of this.sockets.slice(0, this.receiving)) this.drops += socket.takeDrops();
  }

  privateInfo(): readonly (readonly [string, string])[] {
    const { layout, qdiscBypass } = this.args;
    return [
      ['iface', `${this.device.name} (index ${this.device.index})`],
      ['block size', `${layout.blockSize}`],
      ['block count', `${layout.blockCount}`],
      ['frame size', `${layout.frameSize}`],
      ['frame count', `${layout.frameCount}`],
      ['qdisc bypass', qdiscBypass ? 'on' : 'off'],
    ];
  }

  close(): void {
    this.filters.restore();
    this.device.close();
  }
}
