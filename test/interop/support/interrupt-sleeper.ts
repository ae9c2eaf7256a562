/** An lcore that sleeps when there is nothing to do, and says what its sleep was like. */
import { loadQueues, openRx, openTx } from '../../../driver/port/queue.js';
import type { MempoolSpec } from '../../../paths/mempool.js';
import type { LcoreContext } from '../../../driver/eal/types.js';
import type { PortSpec } from '../../../driver/port/types.js';

const BURST = 32;

// entries of `SleeperData.words`
export const SLEEPS = 0;
export const MISSED = 1;
/** Waits that ended before they slept: packets came between the last empty burst and the look after enabling. */
export const AT_ONCE = 2;
/** 1 while the lcore waits. */
export const WAITING = 3;
export const SLEEPER_BYTES = 4 * 4;

export interface SleeperData {
  readonly port: PortSpec;
  readonly mempool: MempoolSpec;
  /** Sleeps when nothing has come for so long. */
  readonly idleUs: number;
  readonly words: SharedArrayBuffer;
}

/** Sends everything back out of the port of entry. */
export async function forwardAndSleep(context: LcoreContext, data: SleeperData): Promise<void> {
  const { port, idleUs } = data;
  await loadQueues([...port.rx, ...port.tx]);
  const pool = context.mempool(data.mempool);
  const rx = openRx(port.rx[0]!, pool);
  const tx = openTx(port.tx[0]!, pool);
  const words = new Int32Array(data.words);
  const pkts = new Uint32Array(BURST);
  const queues = [rx];
  const { rxInterrupt } = context;
  let last = performance.now();
  while (context.running()) {
    const n = rx.recv(pkts, BURST);
    if (n > 0) {
      const sent = tx.xmit(pkts, n);
      pool.freeBulk(pkts, sent, n - sent);
    } else {
      if (performance.now() - last < idleUs / 1000) continue;
      const { sleeps } = rxInterrupt;
      Atomics.store(words, WAITING, 1);
      const ready = rxInterrupt.wait(queues);
      Atomics.store(words, WAITING, 0);
      if (ready.length > 0 && rxInterrupt.sleeps === sleeps) Atomics.add(words, AT_ONCE, 1);
      Atomics.store(words, SLEEPS, rxInterrupt.sleeps);
      Atomics.store(words, MISSED, rxInterrupt.missed);
    }
    last = performance.now();
  }
  pool.flushCache();
}
