/** The router on one lcore: it polls the lcore's Rx queues, and has its own Tx queue on every port. */
import type { RxQueue, TxQueue } from '../../driver/port/queue.js';
import type { Mempool } from '../../paths/mempool.js';
import type { Forward } from './forward-packet.js';
import { countEmptyPolls } from './heuristics.js';
import {
  BUSY_MS,
  BUSY_SINCE,
  EMPTY_POLLS,
  FULL_POLLS,
  POLLS,
  portBlock,
  TX_DROPPED,
  TX_PACKETS,
  wallMs,
} from './lcore-counters.js';

/** MAX_PKT_BURST */
export const BURST = 32;

/** Buffers packets for a port (rte_eth_tx_buffer). Packets without room in the ring are dropped and counted. */
class TxBuffer {
  private readonly pkts = new Uint32Array(BURST);
  private count = 0;

  constructor(
    private readonly tx: TxQueue,
    private readonly pool: Mempool,
    private readonly counters: Float64Array,
    private readonly block: number,
  ) {}

  add(m: number): void {
    this.pkts[this.count++] = m;
    if (this.count === BURST) this.flush();
  }

  flush(): void {
    const { count, counters, block } = this;
    if (count === 0) return;
    this.count = 0;
    const sent = this.tx.xmit(this.pkts, count);
    counters[block + TX_PACKETS]! += sent;
    if (sent === count) return;
    this.pool.freeBulk(this.pkts, sent, count - sent);
    counters[block + TX_DROPPED]! += count - sent;
  }
}

export class Router {
  /** Empty polls in a row, by Rx queue. */
  readonly emptyPolls: Uint32Array;
  private readonly pkts = new Uint32Array(BURST);
  private readonly outputs: TxBuffer[];
  /** The Tx buffers by port id. */
  private readonly outputOf: TxBuffer[] = [];
  private busy = false;

  /** @param tx the lcore's queue on every enabled port. @param counters see lcore-counters.ts; ports in the order of `tx` */
  constructor(
    private readonly rx: readonly RxQueue[],
    tx: readonly TxQueue[],
    private readonly pool: Mempool,
    private readonly forward: Forward,
    private readonly counters: Float64Array,
  ) {
    this.emptyPolls = new Uint32Array(rx.length);
    this.outputs = tx.map((path, slot) => new TxBuffer(path, pool, counters, portBlock(slot)));
    tx.forEach((path, slot) => (this.outputOf[path.spec.portId] = this.outputs[slot]!));
  }

  /** Receives a burst from every queue, and sends all of it before it returns. @returns packets received */
  turn(): number {
    const { rx, pkts, counters, emptyPolls, outputs } = this;
    let received = 0;
    for (let i = 0; i < rx.length; i++) {
      const path = rx[i]!;
      const n = path.recv(pkts, BURST);
      emptyPolls[i] = countEmptyPolls(emptyPolls[i]!, n);
      if (n === 0) {
        counters[EMPTY_POLLS]!++;
        continue;
      }
      if (n === BURST) counters[FULL_POLLS]!++;
      received += n;
      this.route(n, path.spec.portId);
    }
    counters[POLLS]! += rx.length;
    if (received > 0) for (let i = 0; i < outputs.length; i++) outputs[i]!.flush();
    if (received > 0 !== this.busy) this.toggleBusy();
    return received;
  }

  private route(n: number, inPort: number): void {
    const { pkts, pool, forward, outputOf } = this;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]!;
      const out = forward(m, inPort);
      if (out < 0) pool.free(m);
      else outputOf[out]!.add(m);
    }
  }

  /** Reads the clock only when packets begin and stop to arrive. */
  private toggleBusy(): void {
    const { counters } = this;
    const now = wallMs();
    if (this.busy) counters[BUSY_MS]! += now - counters[BUSY_SINCE]!;
    counters[BUSY_SINCE] = this.busy ? 0 : now;
    this.busy = !this.busy;
  }
}
