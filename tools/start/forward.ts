/**
 * The jobs of the two lcores. At the net_virtio_user port: sends packets with known content, receives them again, and forwards
 * them again and again; it checks a sample of them. At the net_vhost port: sends back what comes. Neither loses a packet.
 */
import type { LcoreContext } from '../../driver/eal/types.js';
import type { PortSpec } from '../../driver/port/types.js';
import { loadQueues, openRx, openTx, type RxQueue, type TxQueue } from '../../driver/port/queue.js';
import { NIL, type Mempool, type MempoolSpec } from '../../paths/mempool.js';
import { readPacket, writePacket } from './content.js';

/** One port with one queue pair. */
export interface EndData {
  readonly port: PortSpec;
  readonly mempool: MempoolSpec;
}

export interface ForwardData extends EndData {
  /** PROGRESS_BYTES bytes, which the main thread reads meanwhile. */
  readonly progress: SharedArrayBuffer;
}

/** Indices in the progress array, a Float64Array. */
export const FORWARDED = 0;
export const VERIFIED = 1;
export const CORRUPT = 2;
export const LOST = 3;
export const PROGRESS_BYTES = 4 * 8;

const SIZES = [64, 128, 256, 512, 1024, 1518];
const PACKET = 64;
const IN_FLIGHT = 192;
const BURST = 32;
/** In one of so many bursts, one packet is checked and gets new content. */
const SAMPLE = 64;
/** Time limit for the other end, which may share our CPU with many processes. */
const PATIENCE_MS = 60_000;
/** Turns without progress before the thread sleeps for a moment. */
const SPINS = 1000;

const sleeper = new Int32Array(new SharedArrayBuffer(4));

/** A job that does nothing: it makes the lcore start its thread and load this module. */
export function load(): void {}

/** The job of the net_virtio_user port's lcore. */
export async function forwardAndVerify(context: LcoreContext, data: ForwardData): Promise<void> {
  const end = await openEnd(context, data, new Float64Array(data.progress));
  for (const length of SIZES) end.exchange(length);
  end.forward();
}

/** The job of the net_vhost port's lcore. */
export async function sendBack(context: LcoreContext, data: EndData): Promise<void> {
  const end = await openEnd(context, data, new Float64Array(PROGRESS_BYTES / 8));
  end.sendBack();
}

async function openEnd(context: LcoreContext, { port, mempool }: EndData, counts: Float64Array): Promise<End> {
  await loadQueues([...port.rx, ...port.tx]);
  const pool = context.mempool(mempool);
  return new End(context, pool, openRx(port.rx[0]!, pool), openTx(port.tx[0]!, pool), counts);
}

/** One end of the loop of our Tx queue, the other end and our Rx queue. It keeps the order of packets. */
class End {
  private readonly pkts = new Uint32Array(BURST);
  private sequence = 0;
  private idle = 0;

  constructor(
    private readonly context: LcoreContext,
    private readonly pool: Mempool,
    private readonly rx: RxQueue,
    private readonly tx: TxQueue,
    private readonly counts: Float64Array,
  ) {}

  /** Sends one burst of packets of `length` bytes and checks each one that comes back: content, order, number. */
  exchange(length: number): void {
    const { pool, pkts, counts } = this;
    const first = this.sequence;
    this.inject(BURST, length);
    let expected = first;
    this.collect(BURST, (n) => {
      for (let i = 0; i < n; i++) {
        if (readPacket(pool, pkts[i]!, length) === expected) counts[VERIFIED]!++;
        else counts[CORRUPT]!++;
        expected++;
      }
    });
  }

  /** Forwards until the lcore has to stop, then receives and frees all packets. */
  forward(): void {
    const { context, pool, rx, tx, pkts, counts } = this;
    this.inject(IN_FLIGHT, PACKET);
    let bursts = 0;
    let forwarded = 0;
    while (context.running()) {
      const n = rx.recv(pkts, BURST);
      if (n === 0) continue;
      if (bursts++ % SAMPLE === 0) {
        if (readPacket(pool, pkts[0]!, PACKET) < 0) counts[CORRUPT]!++;
        else counts[VERIFIED]!++;
        writePacket(pool, pkts[0]!, PACKET, this.sequence++);
      }
      this.send(tx, n);
      forwarded += n;
      counts[FORWARDED] = forwarded;
    }
    this.collect(IN_FLIGHT, (n) => {
      for (let i = 0; i < n; i++) if (readPacket(pool, pkts[i]!, PACKET) < 0) counts[CORRUPT]!++;
    });
  }

  /** Sends every packet back until the lcore has to stop. */
  sendBack(): void {
    const { context, pool, rx, tx, pkts } = this;
    let held = 0;
    while (context.running()) {
      if (held === 0) held = rx.recv(pkts, BURST);
      if (held === 0) continue;
      const sent = tx.xmit(pkts, held);
      if (sent > 0 && sent < held) pkts.copyWithin(0, sent, held);
      held -= sent;
    }
    pool.freeBulk(pkts, 0, held);
  }

  /** Sends `count` new packets of `length` bytes. */
  private inject(count: number, length: number): void {
    for (let left = count; left > 0;) {
      const n = Math.min(BURST, left);
      for (let i = 0; i < n; i++) {
        const m = this.pool.get();
        if (m === NIL) throw new Error('the mempool is too small for the packets in flight');
        writePacket(this.pool, m, length, this.sequence++);
        this.pkts[i] = m;
      }
      this.send(this.tx, n);
      left -= n;
    }
  }

  /** Sends the first `n` of `pkts`, waiting for room in the ring while it is full. */
  private send(tx: TxQueue, n: number): void {
    const { pkts } = this;
    let sent = tx.xmit(pkts, n);
    const deadline = sent < n ? performance.now() + PATIENCE_MS : 0;
    while (sent < n) {
      pkts.copyWithin(0, sent, n);
      n -= sent;
      if (performance.now() > deadline) {
        this.pool.freeBulk(pkts, 0, n);
        this.counts[LOST]! += n;
        return;
      }
      this.giveWay(sent);
      sent = tx.xmit(pkts, n);
    }
  }

  /** Receives `count` packets, calls `look` for each burst in `pkts`, and frees it. */
  private collect(count: number, look: (n: number) => void): void {
    const { rx, pkts, pool } = this;
    const deadline = performance.now() + PATIENCE_MS;
    while (count > 0 && performance.now() < deadline) {
      const n = rx.recv(pkts, Math.min(BURST, count));
      look(n);
      pool.freeBulk(pkts, 0, n);
      count -= n;
      this.giveWay(n);
    }
    this.counts[LOST]! += count;
  }

  /** Sleeps a little after many turns without progress. */
  private giveWay(moved: number): void {
    this.idle = moved > 0 ? 0 : this.idle + 1;
    if (this.idle >= SPINS) Atomics.wait(sleeper, 0, 0, 1);
  }
}
