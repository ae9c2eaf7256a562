/**
 * A learning Ethernet switch between guests, and the loopback of a single port. Enqueueing copies, so one mbuf may go to
 * any number of guests and is freed once.
 */
import type { VhostDevice } from '../../driver/vhost/index.js';
import type { Mempool } from '../../paths/mempool.js';
import { MacTable } from './mac-table.js';

const BURST = 32;
/** Destination "everybody else". */
const FLOOD = -1;

/** One guest. The numbers are packets; "tx" is what the guest sends, "rx" what it is sent (dpdk-vhost's point of view). */
export interface SwitchPort {
  readonly id: number;
  readonly device: VhostDevice;
  /** Running virtqueue pairs, by the index of their first ring. */
  pairs: number[];
  txTotal: number;
  txDropped: number;
  rxTotal: number;
  rxDropped: number;
  /** Packets on their way to this guest. */
  readonly out: Uint32Array;
  outCount: number;
  /** The pair of `pairs` that is served next. */
  nextPair: number;
}

export class Switch {
  readonly ports: SwitchPort[] = [];
  private readonly table = new MacTable();
  private readonly pkts = new Uint32Array(BURST);
  private readonly isLoopback: boolean;

  /** @param loopback every guest gets its own packets back instead of being switched. */
  constructor(
    private readonly pool: Mempool,
    loopback: boolean,
  ) {
    this.isLoopback = loopback;
  }

  add(device: VhostDevice): SwitchPort {
    const used = new Set(this.ports.map((port) => port.id));
    let id = 0;
    while (used.has(id)) id++;
    const port = {
      id,
      device,
      pairs: [],
      txTotal: 0,
      txDropped: 0,
      rxTotal: 0,
      rxDropped: 0,
      out: new Uint32Array(BURST),
      outCount: 0,
      nextPair: 0,
    };
    this.ports.push(port);
    this.refresh(device);
    return port;
  }

  remove(device: VhostDevice): void {
    const at = this.ports.findIndex((port) => port.device === device);
    if (at < 0) return;
    this.table.forget(this.ports[at]!.id);
    this.ports.splice(at, 1);
  }

  /** After rings of a device have started or stopped. */
  refresh(device: VhostDevice): void {
    const port = this.ports.find((candidate) => candidate.device === device);
    if (port === undefined) return;
    port.pairs = [];
    for (let rx = 0; rx + 1 < device.rings.length; rx += 2) {
      if (device.isRunning(rx) && device.isRunning(rx + 1)) port.pairs.push(rx);
    }
    port.nextPair = 0;
  }

  /** One burst from every guest. @param now seconds, for ageing. @returns packets taken. */
  turn(now: number): number {
    const { ports } = this;
    let taken = 0;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      if (port.pairs.length === 0) continue;
      const pair = port.pairs[port.nextPair]!;
      port.nextPair = (port.nextPair + 1) % port.pairs.length;
      const n = port.device.dequeueBurst(pair + 1, this.pool, this.pkts, BURST);
      if (n === 0) continue;
      taken += n;
      port.txTotal += n;
      if (this.isLoopback) this.deliver(port, pair, this.pkts, n, port);
      else this.distribute(port, n, now);
      this.pool.freeBulk(this.pkts, 0, n);
    }
    return taken;
  }

  private distribute(from: SwitchPort, n: number, now: number): void {
    const { ports, pool, table, pkts } = this;
    const { u8 } = pool;
    for (let i = 0; i < n; i++) {
      const at = pool.dataStart(pkts[i]!);
      table.learn(high(u8, at + 6), low(u8, at + 6), from.id, now);
      const to = table.lookup(high(u8, at), low(u8, at), now);
      for (let p = 0; p < ports.length; p++) {
        const port = ports[p]!;
        // a packet for its own port has arrived already (802.1D filtering)
        if (port === from || (to !== FLOOD && port.id !== to)) continue;
        port.out[port.outCount++] = pkts[i]!;
      }
    }
    for (let p = 0; p < ports.length; p++) {
      const port = ports[p]!;
      if (port.outCount === 0) continue;
      const pair = port.pairs.length === 0 ? -1 : port.pairs[from.id % port.pairs.length]!;
      this.deliver(port, pair, port.out, port.outCount, from);
      port.outCount = 0;
    }
  }

  private deliver(to: SwitchPort, pair: number, pkts: Uint32Array, n: number, from: SwitchPort): void {
    const sent = pair < 0 ? 0 : to.device.enqueueBurst(pair, this.pool, pkts, n);
    to.rxTotal += n;
    to.rxDropped += n - sent;
    from.txDropped += n - sent;
  }
}

const high = (u8: Uint8Array, at: number) => (u8[at]! << 8) | u8[at + 1]!;
const low = (u8: Uint8Array, at: number) =>
  ((u8[at + 2]! << 24) | (u8[at + 3]! << 16) | (u8[at + 4]! << 8) | u8[at + 5]!) >>> 0;
