// Forwards between two ports, one lcore for each direction: `l2fwd.ts SOCKET SOCKET [LCORES]`.
import { isMainThread } from 'node:worker_threads';
import { attach, createEal, openRx, openTx, parseLcores } from '../../driver/index.js';
import type { LcoreContext, MempoolSpec, PortSpec } from '../../driver/index.js';

export function forward(context: LcoreContext, way: { from: PortSpec; to: PortSpec; mempool: MempoolSpec }): void {
  const pool = context.mempool(way.mempool);
  const [rx, tx] = [openRx(way.from.rx[0]!, pool), openTx(way.to.tx[0]!, pool)];
  const pkts = new Uint32Array(32);
  while (context.running()) {
    const n = rx.recv(pkts, 32);
    const sent = tx.xmit(pkts, n);
    pool.freeBulk(pkts, sent, n - sent); // the ring was full
  }
}

if (isMainThread) {
  const eal = createEal({ lcores: parseLcores('--lcores', process.argv[4] ?? '0@0,1@0,2@1') });
  const mempool = eal.createMempool({ count: 8192 });
  const devargs = process.argv.slice(2, 4).map((path, i) => `net_virtio_user${i},path=${path}`);
  const ports = await Promise.all(devargs.map((device) => attach(eal, device)));
  for (const port of ports) port.configure({ mempool });
  for (const port of ports) port.start();
  const [a, b] = ports.map((port) => port.spec());
  eal.lcores.launch(1, import.meta.url, 'forward', { from: a, to: b, mempool });
  eal.lcores.launch(2, import.meta.url, 'forward', { from: b, to: a, mempool });
  process.once('SIGTERM', () => [...ports, eal].forEach((each) => each.close()));
}
