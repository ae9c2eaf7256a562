/** A back-end on an lcore that sends when it is told to and sleeps in between: what ports under test wait for. */
import type { LcoreContext } from '../../../../driver/eal/types.js';
import { VhostDriver, type VhostDevice } from '../../../../driver/vhost/index.js';
import { packetFrom } from '../../../../paths/mbuf.js';
import { NIL, type MempoolSpec } from '../../../../paths/mempool.js';

const PAIRS = 4;

/** What test and back-end share. */
export class BackendWords {
  private readonly bell: Int32Array;
  /** By Rx queue of the guest: packets that were ordered, and those of them that the guest has. */
  private readonly ordered: Int32Array;
  private readonly sent: Int32Array;

  constructor(readonly shared = new SharedArrayBuffer(4 + 8 * PAIRS)) {
    this.bell = new Int32Array(shared, 0, 1);
    this.ordered = new Int32Array(shared, 4, PAIRS);
    this.sent = new Int32Array(shared, 4 + 4 * PAIRS, PAIRS);
  }

  order(queue = 0, count = 1): void {
    Atomics.add(this.ordered, queue, count);
    Atomics.add(this.bell, 0, 1);
    Atomics.notify(this.bell, 0);
  }

  /** The number of the packet that is due on a queue, or -1. */
  due(queue: number): number {
    const next = this.sent[queue]!;
    return next < Atomics.load(this.ordered, queue) ? next : -1;
  }

  wasSent(queue: number): void {
    Atomics.add(this.sent, queue, 1);
  }

  /** Waits for an order, shortly. @param before what this returned last */
  awaitOrder(before: number): number {
    Atomics.wait(this.bell, 0, before, 2);
    return Atomics.load(this.bell, 0);
  }
}

export interface BackendData {
  readonly path: string;
  readonly mempool: MempoolSpec;
  readonly words: SharedArrayBuffer;
}

/** Each packet begins with its queue and its number. */
export function sendOnDemand(context: LcoreContext, { path, mempool, words: shared }: BackendData): void {
  const words = new BackendWords(shared);
  const pool = context.mempool(mempool);
  const pkts = new Uint32Array(1);
  let device: VhostDevice | undefined;
  const driver = new VhostDriver(
    path,
    { queues: PAIRS },
    { newDevice: (made) => void (device = made), destroyDevice: () => void (device = undefined) },
  );

  function send(queue: number, number: number): boolean {
    const m = packetFrom(
      pool,
      Uint8Array.from({ length: 64 }, (_, i) => [queue, number][i] ?? 0),
    );
    if (m === NIL) return false;
    pkts[0] = m;
    const sent = device?.enqueueBurst(2 * queue, pool, pkts, 1) === 1;
    pool.free(m);
    if (sent) words.wasSent(queue);
    return sent;
  }

  driver.start();
  try {
    for (let bell = 0; context.running(); bell = words.awaitOrder(bell)) {
      driver.poll();
      for (let queue = 0; queue < PAIRS; queue++) {
        for (let due = words.due(queue); due >= 0 && send(queue, due); due = words.due(queue));
      }
    }
  } finally {
    driver.close();
  }
}
