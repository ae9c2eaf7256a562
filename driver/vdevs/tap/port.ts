/** The control plane of net_tap: a tap device of the kernel, with a descriptor for each queue pair. */
import { attempt, VirtioPmdError } from '../../../native/errors.js';
import { pollFd, POLLOUT } from '../../../native/event.js';
import { ETHER_HDR_LEN, MAX_LRO_PKTLEN, MAX_RX_PKTLEN, NET_HDR_LEGACY } from '../../../paths/layout.js';
import { InterfaceFilters } from '../../netdev/filters.js';
import { Interface } from '../../netdev/interface.js';
import { netSystem } from '../../netdev/system.js';
import { addTapQueue, openTap, tapFeatures } from '../../netdev/tap-open.js';
import type { Tap } from '../../netdev/tap.js';
import { InterfaceWatch } from '../../netdev/watch.js';
import type { ResolvedConfig } from '../../port/config.js';
import { Absent, type PortHost } from '../../port/device.js';
import type { PortInterrupts } from '../../port/parts.js';
import * as O from '../../port/types.js';
import { IFF_UP } from '../../wire/linux/if.js';
import { TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 } from '../../wire/linux/if-tun.js';
import { macBytes } from '../../wire/mac.js';
import type { Vdev } from '../vdev.js';
import type { TapDevargs } from './devargs.js';
import { CONTROL_WORDS, DELETED, LONGEST_TX, MAX_SEGMENTS, type TapQueueData } from './spec.js';

/** RTE_PMD_TAP_MAX_QUEUES. */
const MAX_QUEUES = 16;
const PATTERN = 'dtap%d';
/** Bytes that a packet may have besides the MTU: the Ethernet header, and two VLAN tags. */
const L2_LEN = ETHER_HDR_LEN + 8;

const RX_CKSUM = O.RX_OFFLOAD_UDP_CKSUM | O.RX_OFFLOAD_TCP_CKSUM;
const TX_CKSUM = O.TX_OFFLOAD_UDP_CKSUM | O.TX_OFFLOAD_TCP_CKSUM;

/** How many taps of this process have asked for a fixed address. */
let fixedAddresses = 0;

/** `dtap0` in ASCII behind the bit that says "locally administered", as DPDK has it. */
function fixedAddress(): Uint8Array {
  const number = fixedAddresses++;
  return Uint8Array.of(2, ...Buffer.from('dta'), 0x70 + (number >> 8), 0x30 + number);
}

export class TapVdev implements Vdev {
  readonly driverName = 'net_tap';
  readonly maxRxQueues: number;
  readonly maxTxQueues: number;
  readonly rxOffloadCapa = RX_CKSUM | O.RX_OFFLOAD_TCP_LRO | O.RX_OFFLOAD_SCATTER;
  readonly txOffloadCapa = TX_CKSUM | O.TX_OFFLOAD_TCP_TSO | O.TX_OFFLOAD_MULTI_SEGS;
  static readonly module = new URL('./queue.js', import.meta.url).href;
  readonly module = TapVdev.module;
  readonly burstMode = 'Scalar';
  readonly rss = new Absent('the kernel spreads packets over the queues of a tap by a hash of its own');
  readonly interrupts: PortInterrupts;
  readonly filters: InterfaceFilters;
  private readonly tap: Tap;
  private readonly device: Interface;
  private watch: InterfaceWatch | undefined;
  /** By queue pair. */
  private control: SharedArrayBuffer[] = [];

  /** Makes the tap, or opens an existing one. @throws VirtioPmdError ECONFIG, ESYSTEM; nothing stays open then */
  constructor(private readonly args: TapDevargs) {
    const { iface, mac, persist } = args;
    this.tap = openTap(netSystem, { iface, pattern: PATTERN, queues: 1 }, tapFeatures(netSystem));
    this.maxRxQueues = this.maxTxQueues = this.tap.multiQueue ? MAX_QUEUES : 1;
    this.interrupts = { rxFd: (queue) => (queue < this.control.length ? this.tap.fdOf(queue) : undefined) };
    let device: Interface | undefined;
    try {
      device = this.device = new Interface(netSystem, this.tap.name);
      this.tap.setHeaderSize(NET_HDR_LEGACY);
      this.tap.unlimitSendBuffer();
      if (mac !== undefined) this.tap.setMac(mac === 'fixed' ? fixedAddress() : macBytes(mac));
      if (persist) this.tap.setPersistent(true);
      this.filters = new InterfaceFilters(device);
    } catch (error) {
      this.tap.close();
      device?.close();
      throw error;
    }
  }

  /** The tap has a port now. */
  open(host: PortHost): void {
    this.watch = new InterfaceWatch(host, this.device);
    this.look();
  }

  get mac(): string {
    return this.filters.mac;
  }

  get link(): O.Link {
    return this.watch!.link;
  }

  get lost(): string | undefined {
    return this.watch!.lost;
  }

  get currentMtu(): number | undefined {
    return this.watch!.mtu;
  }

  queueData(kind: 'rx' | 'tx', queue: number, config: ResolvedConfig): object {
    this.check(config);
    while (this.tap.queueCount <= queue) addTapQueue(netSystem, this.tap);
    const { rxOffloads, txOffloads, mempool } = config;
    const lro = (rxOffloads & O.RX_OFFLOAD_TCP_LRO) !== 0;
    const rxOffload = lro || (rxOffloads & RX_CKSUM) !== 0;
    if (kind === 'rx' && queue === 0) {
      this.tap.setOffload((rxOffload ? TUN_F_CSUM : 0) | (lro ? TUN_F_TSO4 | TUN_F_TSO6 : 0));
    }
    const txTso = (txOffloads & O.TX_OFFLOAD_TCP_TSO) !== 0;
    const scatter = (rxOffloads & O.RX_OFFLOAD_SCATTER) !== 0;
    const longest = lro ? MAX_LRO_PKTLEN : MAX_RX_PKTLEN;
    const control = (this.control[queue] ??= new SharedArrayBuffer(CONTROL_WORDS * 4));
    const data: TapQueueData = {
      fd: this.tap.fdOf(queue),
      control,
      offload: { hdrSize: NET_HDR_LEGACY, rxOffload, lro, txOffload: txTso || (txOffloads & TX_CKSUM) !== 0, txTso },
      segments: scatter ? Math.min(MAX_SEGMENTS, Math.ceil(longest / mempool.dataRoom)) : 1,
    };
    this.look();
    return data;
  }

  /** @throws VirtioPmdError ECONFIG */
  private check({ rxQueues, txQueues, rxOffloads, mempool }: ResolvedConfig): void {
    const refuse = (why: string) => new VirtioPmdError('ECONFIG', `${this.args.name}: ${why}`);
    if (rxQueues !== txQueues) {
      throw refuse(
        `${rxQueues} Rx and ${txQueues} Tx queues cannot be: a queue of a tap is one of each, so configure as many of both`,
      );
    }
    const whole = (rxOffloads & O.RX_OFFLOAD_SCATTER) !== 0 || mempool.dataRoom >= MAX_LRO_PKTLEN;
    if ((rxOffloads & O.RX_OFFLOAD_TCP_LRO) !== 0 && !whole) {
      throw refuse(
        `TCP_LRO makes packets of up to ${MAX_LRO_PKTLEN} bytes, an mbuf holds ${mempool.dataRoom}: enable scatter too (--enable-scatter)`,
      );
    }
  }

  release(): void {
    this.tap.closeQueues();
    this.control = [];
  }

  start(): void {
    this.device.setFlags(IFF_UP, true);
    this.look();
  }

  stop(): void {
    if (!this.args.persist) attempt(() => this.device.setFlags(IFF_UP, false));
  }

  look(): void {
    const watch = this.watch!;
    if (this.tap.gone) {
      watch.lose();
      return;
    }
    const state = watch.look(() => (pollFd(this.tap.fdOf(0), POLLOUT, 0) & POLLOUT) !== 0);
    if (state === undefined) return;
    this.filters.refresh(state.flags);
    for (const control of this.control) Atomics.store(new Int32Array(control), LONGEST_TX, state.mtu + L2_LEN);
  }

  setMtu(mtu: number): void {
    this.device.setMtu(mtu);
    this.look();
  }

  brokenReason(code: number): string {
    return code === DELETED ? 'its tap was deleted' : `code ${code}`;
  }

  privateInfo(): readonly (readonly [string, string])[] {
    return [
      ['iface', `${this.device.name} (index ${this.device.index})`],
      ['queues', `${this.tap.queueCount}`],
      ['persistent', this.args.persist ? 'yes' : 'no'],
    ];
  }

  close(): void {
    this.filters.restore();
    this.tap.close();
    this.device.close();
  }
}
