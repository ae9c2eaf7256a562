/**
 * net_vhost: a port that is the back-end of a vhost-user front-end (DPDK's vhost PMD). Sessions and messages stay on the thread
 * that attached the port; lcores open the rings from shared state (port-queue.ts, docs/decisions/0005).
 *
 * The port exists at once. Its link is up while a guest's driver uses the device. The socket is made with the first
 * configuration and stays until the port is closed.
 */
import { MemoryState } from '../../paths/device/memory-state.js';
import { KICK_FD, RingState } from '../../paths/device/ring-state.js';
import { BYTES, ERRORS, NOMBUF, PACKETS, STATS_COUNT } from '../../paths/stats.js';
import { claimsNames } from '../devargs/device-names.js';
import { parseVhost, VHOST_NAMES, type VhostDevargs } from '../devargs/vhost.js';
import { addService } from '../eal/services.js';
import type { PortLimits, ResolvedConfig } from '../port/config.js';
import { Absent, type PortDevice, type PortDriver, type PortHost } from '../port/device.js';
import type { PortFilters } from '../port/parts.js';
import { receivesAll } from '../port/receives-all.js';
import {
  RX_OFFLOAD_VLAN_STRIP,
  TX_OFFLOAD_MULTI_SEGS,
  TX_OFFLOAD_VLAN_INSERT,
  type Link,
  type PortStats,
  type QueueInfo,
  type Xstat,
} from '../port/types.js';
import { queueXstats } from '../port/xstats.js';
import { hex } from '../../native/hex.js';
import { VhostDriver } from './driver.js';
import { Handover } from './handover.js';
import { MISSED, PORT_BYTES, PORT_STARTED, QUEUE_BYTES, type VhostQueueSpec } from './port-queue.js';
import { namedStats } from './stats.js';
import type { VhostCallbacks, VhostDevice } from './types.js';

const MODULE = new URL('./port-queue.js', import.meta.url).href;

/** As DPDK tells it; there is no cable whose speed could be known. */
const UP: Link = { up: true, speed: 10000 };
const DOWN: Link = { ...UP, up: false };

/** ETH_DEV_FALLBACK_RX_RINGSIZE: DPDK's number where a driver has none. The guest chooses the size of its rings. */
const DESCRIPTORS = 512;

/** Milliseconds between two looks at the sockets: while messages come, and otherwise. */
const BUSY_MS = 1;
const IDLE_MS = 10;
/** So long after the last message more of them are expected: front-ends send theirs in a row. */
const BUSY_FOR_MS = 100;

/** One virtqueue, over all guests that come and go. */
interface Ring {
  readonly state: RingState;
  /** Counters of guests that have gone. */
  readonly before: Float64Array;
  /** Sums at the last reset of the port's counters, and this guest's at that of the xstats. */
  zero: Float64Array;
  ownZero: Float64Array;
  /** Counters of the queue beside the ring's. */
  readonly counters: SharedArrayBuffer;
  missedZero: number;
}

const newRing = (): Ring => {
  const state = new RingState();
  state.clear();
  const none = () => new Float64Array(STATS_COUNT);
  return {
    ...{ state, before: none(), zero: none(), ownZero: none() },
    ...{ counters: new SharedArrayBuffer(QUEUE_BYTES), missedZero: 0 },
  };
};

class VhostPort implements PortDevice {
  readonly driverName = 'net_vhost';
  readonly mac: string;
  readonly lost = undefined;
  readonly filters: PortFilters;
  readonly rss = new Absent('the guest chooses the queue of each packet');
  readonly interrupts = { rxFd: (queue: number) => this.kickFd(queue) };
  readonly path = new Absent("the guest's ring decides how packets are taken and given");

  private readonly port = new SharedArrayBuffer(PORT_BYTES);
  private readonly memory = new MemoryState();
  private readonly rings: readonly Ring[];
  private readonly handover: Handover;
  private driver: VhostDriver | undefined;
  private device: VhostDevice | undefined;
  private config: ResolvedConfig | undefined;
  private specs: Record<'rx' | 'tx', readonly VhostQueueSpec[]> = { rx: [], tx: [] };
  private timer: NodeJS.Timeout | undefined;
  private removeService: (() => void) | undefined;
  private isServing = false;
  /** What the port has to be told after the messages are handled. */
  private readonly news: (() => void)[] = [];

  constructor(
    private readonly host: PortHost,
    private readonly args: VhostDevargs,
  ) {
    const id = (host.id & 0xff).toString(16).padStart(2, '0').toUpperCase();
    this.mac = `56:48:4F:53:54:${id}`;
    this.filters = receivesAll(this.mac, 'the front-end decides what it sends');
    this.rings = Array.from({ length: 2 * args.queues }, newRing);
    this.handover = new Handover(() => host.eal.lcores.quiesce());
  }

  /** The guest's own descriptor, while it has one. */
  private kickFd(queue: number): number | undefined {
    const fd = this.rings[2 * queue + 1]?.state.words[KICK_FD] ?? -1;
    return fd < 0 ? undefined : fd;
  }

  get link(): Link {
    return this.device === undefined ? DOWN : UP;
  }

  limits(): PortLimits {
    const { queues } = this.args;
    return {
      ...{ portId: this.host.id, maxRxQueues: queues, maxTxQueues: queues, queueSize: DESCRIPTORS, hdrSize: 0 },
      ...{ minRxBufSize: 0, maxRxPktLen: 0xffffffff, maxMacAddrs: 1, chains: true },
      rxOffloadCapa: RX_OFFLOAD_VLAN_STRIP,
      txOffloadCapa: TX_OFFLOAD_MULTI_SEGS | TX_OFFLOAD_VLAN_INSERT,
    };
  }

  get intact(): boolean {
    return this.config !== undefined;
  }

  // ---- configure, start, stop ----------------------------------------------------------------------------------------

  /** @throws VirtioPmdError ESOCKET when the socket cannot be made */
  configure(config: ResolvedConfig): void {
    if (this.driver === undefined) this.register();
    const vlanStrip = (config.rxOffloads & RX_OFFLOAD_VLAN_STRIP) !== 0;
    const spec = (kind: 'rx' | 'tx', queueId: number): VhostQueueSpec => {
      const ring = this.rings[2 * queueId + (kind === 'rx' ? 1 : 0)]!;
      return {
        ...{ portId: this.host.id, queueId, path: `eth_vhost_${kind}`, mempool: config.mempool, module: MODULE },
        ...{ port: this.port, ring: ring.state.shared, memory: this.memory.shared, counters: ring.counters, vlanStrip },
      };
    };
    const all = (kind: 'rx' | 'tx', count: number) => Array.from({ length: count }, (_, queue) => spec(kind, queue));
    this.specs = { rx: all('rx', config.rxQueues), tx: all('tx', config.txQueues) };
    this.config = config;
  }

  private register(): void {
    const { iface, queues, client } = this.args;
    const rings = this.rings.map(({ state }) => state);
    const driver = new VhostDriver(
      iface,
      { queues, client, log: (level, line) => this.host.log(level, line) },
      this.callbacks(),
      { handover: this.handover, memory: this.memory, rings },
    );
    driver.start();
    this.driver = driver;
    this.removeService = addService(() => this.serve());
    this.schedule();
  }

  private callbacks(): VhostCallbacks {
    return {
      newDevice: (device) => {
        this.device = device;
        this.tell('info', `Vhost device ${device.id} created`);
        if (device.mtu !== undefined) this.host.mtuChanged(device.mtu);
        this.news.push(() => this.host.linkChanged(`vhost device ${device.id} created`));
      },
      destroyDevice: (device) => {
        this.device = undefined;
        this.tell('info', `Vhost device ${device.id} destroyed`);
        this.news.push(() => this.host.linkChanged(`vhost device ${device.id} destroyed`));
      },
      vringStateChanged: (_device, ring, enabled) => {
        this.tell('info', `vring${ring} is ${enabled ? 'enabled' : 'disabled'}`);
        this.host.eal.lcores.wake();
        this.news.push(() => this.host.emit('queueState', ring & 1 ? 'rx' : 'tx', ring >> 1, enabled));
      },
      destroyConnection: () => {
        for (const { state, before } of this.rings) {
          for (let i = 0; i < STATS_COUNT; i++) before[i]! += state.stats[i]!;
          state.stats.fill(0);
        }
        for (const ring of this.rings) ring.ownZero.fill(0);
      },
    };
  }

  private tell(level: 'info', line: string): void {
    this.host.log(level, `VHOST_PMD: ${line}`);
  }

  private schedule(): void {
    const isBusy = performance.now() - this.driver!.heard < BUSY_FOR_MS;
    this.timer = setTimeout(
      () => {
        this.look();
        if (this.driver !== undefined) this.schedule();
      },
      isBusy ? BUSY_MS : IDLE_MS,
    ).unref();
  }

  /** Handles messages. What the port's users are told waits for `look`: this may be called within a call of another port. */
  private serve(): void {
    if (this.isServing) return; // by a callback that waits
    this.isServing = true;
    try {
      this.driver?.poll();
    } finally {
      this.isServing = false; // also when a log sink of the user's throws
    }
  }

  look(): void {
    this.serve();
    for (const tell of this.news.splice(0)) tell();
  }

  release(): void {
    this.config = undefined;
    this.specs = { rx: [], tx: [] };
  }

  start(): void {
    this.letBursts(true);
    this.host.eal.lcores.wake();
  }

  stop(): void {
    this.letBursts(false);
    this.host.eal.lcores.quiesce();
  }

  private letBursts(on: boolean): void {
    Atomics.store(new Int32Array(this.port), PORT_STARTED, on ? 1 : 0);
  }

  close(): void {
    clearTimeout(this.timer);
    this.removeService?.();
    const { driver } = this;
    this.driver = undefined;
    driver?.close();
    this.news.length = 0;
  }

  // ---- information ---------------------------------------------------------------------------------------------------

  queues(kind: 'rx' | 'tx'): readonly VhostQueueSpec[] {
    return this.specs[kind];
  }

  queueInfo(kind: 'rx' | 'tx', queue: number): Omit<QueueInfo, 'started'> {
    const { mempool, rxDesc, txDesc, rxFreeThresh, txFreeThresh, rxOffloads, txOffloads } = this.config!;
    const [nbDesc, freeThresh, offloads] =
      kind === 'rx' ? [rxDesc, rxFreeThresh, rxOffloads] : [txDesc, txFreeThresh, txOffloads];
    const { broken } = this.rings[2 * queue + (kind === 'rx' ? 1 : 0)]!.state;
    const path = this.specs[kind][queue]!.path;
    return { queueId: queue, mempool: mempool.name, nbDesc, freeThresh, offloads, scattered: false, burstMode: path, broken }; // prettier-ignore
  }

  /** The rings of the configured queues. */
  private used(kind: 'rx' | 'tx'): readonly Ring[] {
    return this.specs[kind].map((_, queue) => this.rings[2 * queue + (kind === 'rx' ? 1 : 0)]!);
  }

  stats(): PortStats {
    const sum = (kind: 'rx' | 'tx', i: number) =>
      this.used(kind).reduce((total, { state, before, zero }) => total + before[i]! + state.stats[i]! - zero[i]!, 0);
    return {
      ipackets: sum('rx', PACKETS),
      opackets: sum('tx', PACKETS),
      ibytes: sum('rx', BYTES),
      obytes: sum('tx', BYTES),
      imissed: 0,
      ierrors: sum('rx', ERRORS),
      oerrors: this.used('tx').reduce((total, ring) => total + missedOf(ring) - ring.missedZero, sum('tx', ERRORS)),
      rxNombuf: sum('rx', NOMBUF),
    };
  }

  /**
   * ethdev's counters of each queue, then rte_vhost's of the guest that is there, by ring: those of all Rx queues, then those of
   * all Tx queues.
   */
  xstats(): Xstat[] {
    const sums = (kind: 'rx' | 'tx') =>
      this.used(kind).map(({ state, before, zero }) => before.map((value, i) => value + state.stats[i]! - zero[i]!));
    return [...queueXstats(sums('rx'), sums('tx')), ...this.ringXstats()];
  }

  private ringXstats(): Xstat[] {
    return (['rx', 'tx'] as const).flatMap((kind) =>
      this.used(kind).flatMap(({ state, ownZero }, queue) => {
        const stats = state.stats.map((value, i) => value - ownZero[i]!);
        return [...namedStats(2 * queue + (kind === 'rx' ? 1 : 0), stats)].map(([name, value]) => ({ name, value }));
      }),
    );
  }

  resetStats(): void {
    for (const ring of this.rings) {
      ring.zero = ring.before.map((value, i) => value + ring.state.stats[i]!);
      ring.missedZero = missedOf(ring);
    }
  }

  /** rte_vhost's counters by ring: as in DPDK, `clear port stats` keeps them. */
  resetXstats(): void {
    for (const ring of this.rings) ring.ownZero = ring.state.stats.slice();
  }

  privateInfo(): [string, string][] {
    const { iface, queues, client } = this.args;
    const { device, config } = this;
    const started = new Int32Array(this.port)[PORT_STARTED]!;
    const strip = config !== undefined && (config.rxOffloads & RX_OFFLOAD_VLAN_STRIP) !== 0;
    return [
      ['iface_name', iface],
      ['flags', client ? '0x1' : '0x0'],
      ['features', hex(device?.features ?? 0n)],
      ['max_queues', `${queues}`],
      ['vid', `${device?.id ?? -1}`],
      ['started', `${started}`],
      ['dev_attached', device === undefined ? '0' : '1'],
      ['vlan_strip', strip ? '1' : '0'],
      ['rx_sw_csum', '0'],
      ['tx_sw_csum', '0'],
    ];
  }
}

const missedOf = ({ counters }: Ring): number => new Float64Array(counters)[MISSED]!;

/** net_vhost as a driver of ports. */
export const netVhost: PortDriver = {
  bus: 'vdev',
  names: VHOST_NAMES,
  queueModule: MODULE,
  claims: claimsNames(VHOST_NAMES),
  nameOf: (devargs) => parseVhost(devargs).name,
  probe: (_eal, devargs) => {
    const args = parseVhost(devargs);
    return Promise.resolve({ open: (host: PortHost) => new VhostPort(host, args), close: () => undefined });
  },
};
