/** Ready-made forwarding between a guest's own rings: for the embedded back-end, loopback ports, benchmarks and tests. */
import { ETHER_HDR_LEN } from '../../paths/layout.js';
import { NIL, type Mempool } from '../../paths/mempool.js';
import type { VhostDevice } from './types.js';

/**
 * loopback: the guest's packets are sent back to it on the same queue pair, unchanged and without loss; while the guest's Rx ring
 * is full, its Tx ring waits. mac: the same with new Ethernet addresses. txonly: generated packets are sent to the guest.
 * rxonly: the guest's packets are counted and freed.
 */
export type VhostMode = 'loopback' | 'mac' | 'txonly' | 'rxonly';

/** Indices of the counters, which are 64-bit floats in the caller's SharedArrayBuffer. */
export const VHOST_COUNTERS = {
  /** Packets taken from guests. */
  rxPackets: 0,
  /** Packets given to guests. */
  txPackets: 1,
  /** Queue pairs that run now. */
  pairs: 2,
  /** Devices that are ready now. */
  devices: 3,
  /** Devices that have become ready since the start: more than one after a reconnect. */
  connections: 4,
} as const;

/** Bytes of that SharedArrayBuffer. */
export const vhostCounterBytes = 8 * 8;

const BURST = 32;

/** One queue pair of a device. */
interface Lane {
  readonly device: VhostDevice;
  /** Virtqueue indices: `rx` receives in the guest, `tx` transmits in the guest. */
  readonly rx: number;
  readonly tx: number;
  readonly pkts: Uint32Array;
  /** Packets in `pkts` for which the guest's Rx ring had no room yet. */
  pending: number;
}

/** Options of a Forwarder. */
export interface ForwarderOptions {
  readonly mode: VhostMode;
  /** txonly: bytes of a packet, without CRC. Default 64. */
  readonly packetSize?: number;
}

/** Forwards for all queue pairs of some devices, on the thread that polls them. */
export class Forwarder {
  private readonly counters: Float64Array;
  private lanes: Lane[] = [];
  private readonly template: Uint32Array;

  constructor(
    private readonly pool: Mempool,
    private readonly options: ForwarderOptions,
    counters: SharedArrayBuffer,
  ) {
    this.counters = new Float64Array(counters);
    this.template = new Uint32Array(options.mode === 'txonly' ? BURST : 0);
    for (let i = 0; i < this.template.length; i++) this.template[i] = makePacket(pool, options.packetSize ?? 64, i);
  }

  /** Call it after a change of rings: from now on the running pairs of `devices` are served. Packets of other pairs are freed. */
  update(devices: readonly VhostDevice[]): void {
    const fresh: Lane[] = [];
    for (const device of devices) {
      if (!device.ready) continue;
      for (let rx = 0; rx + 1 < device.numberOfQueues; rx += 2) {
        if (!device.isRunning(rx) || !device.isRunning(rx + 1)) continue;
        const known = this.lanes.find((lane) => lane.device === device && lane.rx === rx);
        fresh.push(known ?? { device, rx, tx: rx + 1, pkts: new Uint32Array(BURST), pending: 0 });
      }
    }
    for (const lane of this.lanes) {
      if (!fresh.includes(lane)) this.pool.freeBulk(lane.pkts, 0, lane.pending);
    }
    this.lanes = fresh;
    this.counters[VHOST_COUNTERS.pairs] = fresh.length;
    this.counters[VHOST_COUNTERS.devices] = devices.filter((device) => device.ready).length;
  }

  /** One burst on every pair. @returns the number of packets moved. */
  turn(): number {
    const { lanes } = this;
    const { mode } = this.options;
    let moved = 0;
    for (let i = 0; i < lanes.length; i++) {
      if (mode === 'txonly') moved += this.transmit(lanes[i]!);
      else if (mode === 'rxonly') moved += this.receive(lanes[i]!);
      else moved += this.reflect(lanes[i]!, mode === 'mac');
    }
    return moved;
  }

  private reflect(lane: Lane, newAddresses: boolean): number {
    const { pool, counters } = this;
    const { device, pkts } = lane;
    if (lane.pending === 0) {
      const n = device.dequeueBurst(lane.tx, pool, pkts, BURST);
      if (n === 0) return 0;
      counters[VHOST_COUNTERS.rxPackets]! += n;
      if (newAddresses) for (let i = 0; i < n; i++) setAddresses(pool, pkts[i]!);
      lane.pending = n;
    }
    const sent = device.enqueueBurst(lane.rx, pool, pkts, lane.pending);
    if (sent === 0) return 0;
    pool.freeBulk(pkts, 0, sent);
    if (sent < lane.pending) pkts.copyWithin(0, sent, lane.pending);
    lane.pending -= sent;
    counters[VHOST_COUNTERS.txPackets]! += sent;
    return sent;
  }

  private receive(lane: Lane): number {
    const { pool, counters } = this;
    const n = lane.device.dequeueBurst(lane.tx, pool, lane.pkts, BURST);
    if (n === 0) return 0;
    pool.freeBulk(lane.pkts, 0, n);
    counters[VHOST_COUNTERS.rxPackets]! += n;
    return n;
  }

  // enqueueing copies, so the same mbufs are sent again and again
  private transmit(lane: Lane): number {
    const sent = lane.device.enqueueBurst(lane.rx, this.pool, this.template, BURST);
    this.counters[VHOST_COUNTERS.txPackets]! += sent;
    return sent;
  }

  /** Frees every mbuf that is held. */
  close(): void {
    this.update([]);
    this.pool.freeBulk(this.template, 0, this.template.length);
  }
}

/** Destination 02:00:00:00:00:00 (testpmd's first default peer), source 02:00:00:00:ff:00: this back-end. */
function setAddresses(pool: Mempool, m: number): void {
  const u8 = pool.u8;
  const at = pool.dataStart(m);
  u8[at] = u8[at + 6] = 0x02;
  for (let i = 1; i < 6; i++) u8[at + i] = u8[at + 6 + i] = 0;
  u8[at + 10] = 0xff;
}

/** A frame of `size` bytes with the local experimental EtherType 0x88b5 and bytes that count up from `seed`. */
function makePacket(pool: Mempool, size: number, seed: number): number {
  const m = pool.get();
  if (m === NIL) throw new RangeError(`the mempool ${pool.spec.name} has no mbufs for the packets of txonly`);
  pool.dataOff[m] = pool.headroom;
  pool.dataLen[m] = pool.pktLen[m] = Math.min(Math.max(size, ETHER_HDR_LEN), pool.dataRoom);
  const at = pool.dataStart(m);
  setAddresses(pool, m);
  pool.u8[at + 12] = 0x88;
  pool.u8[at + 13] = 0xb5;
  for (let i = ETHER_HDR_LEN; i < pool.dataLen[m]!; i++) pool.u8[at + i] = seed + i;
  return m;
}
