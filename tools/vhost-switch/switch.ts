/**
 * A learning Ethernet switch between guests, and the loopback of a single port. Enqueueing copies, so one mbuf may go to
 * any number of guests and is freed once.
 */
import type { VhostDevice } from '../../driver/vhost/index.js';
import type { Mempool } from '../../paths/mempool.js';
import { flowHash } from './flow-hash.js';
import { ForwardingTable } from './forwarding-table.js';

const BURST = 32;
/** Destination: all other ports. */
const FLOOD = -1;

/** Packets for one Rx ring of a guest. */
interface Lane {
  /** Virtqueue index. */
  readonly ring: number;
  readonly pkts: Uint32Array;
  /** By packet: its index in the sender's burst. */
  readonly places: Uint8Array;
  count: number;
}

/** One guest. The numbers are packets; "tx" is from the guest, "rx" is to the guest, as in dpdk-vhost. */
export interface SwitchPort {
  readonly id: number;
  readonly device: VhostDevice;
  /** Packets from the guest, and those that no guest received. Each counts once, for any number of destinations. */
  txTotal: number;
  txDropped: number;
  rxTotal: number;
  rxDropped: number;
  /** Lanes by running virtqueue pair. */
  lanes: Lane[];
  /** The pair of `lanes` that is served next. */
  nextPair: number;
}

export class Switch {
  readonly ports: SwitchPort[] = [];
  private readonly table = new ForwardingTable();
  private readonly pkts = new Uint32Array(BURST);
  /** By packet of the burst: 1 when a guest has received it. */
  private readonly reached = new Uint8Array(BURST);
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
      txTotal: 0,
      txDropped: 0,
      rxTotal: 0,
      rxDropped: 0,
      lanes: [],
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

  /** Call it after rings of a device have started or stopped. */
  refresh(device: VhostDevice): void {
    const port = this.ports.find((candidate) => candidate.device === device);
    if (port === undefined) return;
    port.lanes = [];
    for (let rx = 0; rx + 1 < device.numberOfQueues; rx += 2) {
      if (device.isRunning(rx) && device.isRunning(rx + 1)) port.lanes.push(laneOf(rx));
    }
    port.nextPair = 0;
  }

  /** One burst from every guest. @param now seconds, for ageing. @returns packets taken. */
  turn(now: number): number {
    const { ports } = this;
    let taken = 0;
    for (let i = 0; i < ports.length; i++) {
      const port = ports[i]!;
      if (port.lanes.length === 0) continue;
      const own = port.lanes[port.nextPair]!;
      port.nextPair = (port.nextPair + 1) % port.lanes.length;
      const n = port.device.dequeueBurst(own.ring + 1, this.pool, this.pkts, BURST);
      if (n === 0) continue;
      taken += n;
      this.reached.fill(0, 0, n);
      if (this.isLoopback) for (let k = 0; k < n; k++) put(own, this.pkts[k]!, k);
      else this.distribute(port, n, now);
      for (let p = 0; p < ports.length; p++) this.deliver(ports[p]!);
      port.txTotal += n;
      for (let k = 0; k < n; k++) if (this.reached[k] === 0) port.txDropped++;
      this.pool.freeBulk(this.pkts, 0, n);
    }
    return taken;
  }

  /** Distributes the burst's packets to their destinations. */
  private distribute(from: SwitchPort, n: number, now: number): void {
    const { ports, pool, table, pkts } = this;
    const { u8, dataLen } = pool;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      const at = pool.dataStart(m);
      table.learn(high(u8, at + 6), low(u8, at + 6), from.id, now);
      const to = table.lookup(high(u8, at), low(u8, at), now);
      for (let p = 0; p < ports.length; p++) {
        const port = ports[p]!;
        // no forwarding to the port from which the packet came (802.1D filtering)
        if (port === from || (to !== FLOOD && port.id !== to)) continue;
        const { lanes } = port;
        const lane = lanes.length > 1 ? lanes[flowHash(u8, at, dataLen[m]!) % lanes.length] : lanes[0];
        if (lane !== undefined) {
          put(lane, m, i);
        } else {
          port.rxTotal++;
          port.rxDropped++;
        }
      }
    }
  }

  private deliver(to: SwitchPort): void {
    const { lanes } = to;
    for (let l = 0; l < lanes.length; l++) {
      const lane = lanes[l]!;
      const { count } = lane;
      if (count === 0) continue;
      lane.count = 0;
      const sent = to.device.enqueueBurst(lane.ring, this.pool, lane.pkts, count);
      to.rxTotal += count;
      to.rxDropped += count - sent;
      for (let k = 0; k < sent; k++) this.reached[lane.places[k]!] = 1;
    }
  }
}

const laneOf = (ring: number): Lane => ({
  ring,
  pkts: new Uint32Array(BURST),
  places: new Uint8Array(BURST),
  count: 0,
});

function put(lane: Lane, m: number, place: number): void {
  lane.pkts[lane.count] = m;
  lane.places[lane.count++] = place;
}

const high = (u8: Uint8Array, at: number) => (u8[at]! << 8) | u8[at + 1]!;
const low = (u8: Uint8Array, at: number) =>
  ((u8[at + 2]! << 24) | (u8[at + 3]! << 16) | (u8[at + 4]! << 8) | u8[at + 5]!) >>> 0;
