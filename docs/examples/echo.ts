// Sends every packet back to where it came from, on the main thread: `echo.ts SOCKET`.
import { setImmediate } from 'node:timers/promises';
import { attach, createEal } from '../../driver/index.js';

const eal = createEal();
const spec = eal.createMempool({ count: 4096 });
const port = await attach(eal, `net_virtio_user0,path=${process.argv[2]}`);
port.configure({ mempool: spec });
port.start();

const [pool, rx, tx] = [eal.mempool(spec), port.rx(0), port.tx(0)];
const pkts = new Uint32Array(32);
const address = new Uint8Array(6);
let stopped = false;
process.once('SIGTERM', () => (stopped = true));
for (let turn = 0; !stopped; turn++) {
  const n = rx.recv(pkts, 32);
  for (let i = 0; i < n; i++) {
    const at = pool.dataStart(pkts[i]!);
    for (let k = 0; k < 6; k++) address[k] = pool.u8[at + k]!;
    pool.u8.copyWithin(at, at + 6, at + 12);
    pool.u8.set(address, at + 6);
  }
  const sent = tx.xmit(pkts, n);
  pool.freeBulk(pkts, sent, n - sent); // the ring was full
  if (turn % 64 === 0) await setImmediate(); // signals and reconnects live in the event loop
}
port.close();
eal.close();
