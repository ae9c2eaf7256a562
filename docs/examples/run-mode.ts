// Runs a forwarding mode without testpmd: a port's packets through reflector.ts on an lcore: `run-mode.ts SOCKET`.
import { isMainThread } from 'node:worker_threads';
import { attach, createEal, openStream, parseLcores } from '../../driver/index.js';
import { readStreamCounts, streamCountersBytes } from '../../driver/index.js';
import type { LcoreContext, StreamSpec } from '../../driver/index.js';
import reflect from './reflector.js';

export function forward(context: LcoreContext, spec: StreamSpec): void {
  const turn = reflect(openStream(context, spec));
  while (context.running()) turn();
}

if (isMainThread) {
  const eal = createEal({ lcores: parseLcores('--lcores', process.argv[3] ?? '0@0,1@1') });
  const port = await attach(eal, `net_virtio_user0,path=${process.argv[2]}`);
  port.configure({ mempool: eal.createMempool({ count: 4096 }) });
  port.start();
  const { rx, tx } = port.spec();
  const counters = new SharedArrayBuffer(streamCountersBytes());
  eal.lcores.onFailure = (_, error) => console.error(error.message);
  eal.lcores.launch(1, import.meta.url, 'forward', { rx: rx[0]!, tx: tx[0]!, counters } satisfies StreamSpec);
  process.once('SIGTERM', () => {
    [port, eal].forEach((each) => each.close());
    console.log(readStreamCounts(counters));
  });
}
