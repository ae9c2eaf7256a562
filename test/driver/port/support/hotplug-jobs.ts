/** The job that the hotplug tests leave running. */
import { openRx, openTx } from '../../../../driver/port/queue.js';
import { packetFrom } from '../../../../paths/mbuf.js';
import { NIL, type MempoolSpec } from '../../../../paths/mempool.js';
import type { LcoreContext } from '../../../../driver/eal/types.js';
import type { PortSpec } from '../../../../driver/port/types.js';

export interface ForwardingData {
  readonly port: PortSpec;
  readonly mempool: MempoolSpec;
  /** Packets sent so far, in word 0. */
  readonly words: SharedArrayBuffer;
}

/** Keeps eight packets going round through a loopback back-end. */
export function keepForwarding(context: LcoreContext, { port, mempool, words }: ForwardingData): void {
  const pool = context.mempool(mempool);
  const [rx, tx] = [openRx(port.rx[0]!, pool), openTx(port.tx[0]!, pool)];
  const sentSoFar = new Int32Array(words);
  const pkts = new Uint32Array(8);
  let n = 0;
  for (; n < 8; n++) {
    pkts[n] = packetFrom(pool, new Uint8Array(64).fill(n));
    if (pkts[n] === NIL) throw new Error('no mbuf to begin with');
  }
  while (context.running()) {
    const sent = tx.xmit(pkts, n);
    pool.freeBulk(pkts, sent, n - sent);
    Atomics.add(sentSoFar, 0, sent);
    n = rx.recv(pkts, 8);
  }
  pool.freeBulk(pkts, 0, n);
  pool.flushCache();
}
