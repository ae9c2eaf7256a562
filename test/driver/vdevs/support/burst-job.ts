/** A job that forwards between queues of a port until it is stopped. */
import { openRx, openTx, loadQueues, type PortQueueSpec } from '../../../../driver/port/queue.js';
import type { LcoreContext } from '../../../../driver/eal/types.js';
import { packetFrom } from '../../../../paths/mbuf.js';
import { NIL } from '../../../../paths/mempool.js';

export interface BurstData {
  readonly rx: PortQueueSpec;
  readonly tx: PortQueueSpec;
  /** Sends packets of its own as well. */
  readonly send: boolean;
  /** Two words: how many it received, and how many rounds it made. */
  readonly counts: SharedArrayBuffer;
}

export async function bursts(context: LcoreContext, { rx, tx, send, counts }: BurstData): Promise<void> {
  await loadQueues([rx, tx]);
  const pool = context.mempool(rx.mempool);
  const [from, to] = [openRx(rx, pool), openTx(tx, pool)];
  const words = new Int32Array(counts);
  const pkts = new Uint32Array(32);
  const packet = new Uint8Array(64).fill(2);
  packet.set([0x88, 0xb5], 12);
  while (context.running()) {
    const n = from.recv(pkts, 32);
    Atomics.add(words, 0, n);
    Atomics.add(words, 1, 1);
    pool.freeBulk(pkts, 0, n);
    if (!send) continue;
    const m = packetFrom(pool, packet);
    if (m === NIL) continue;
    pkts[0] = m;
    if (to.xmit(pkts, 1) === 0) pool.free(m);
  }
}
