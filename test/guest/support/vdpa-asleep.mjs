/**
 * Sends broadcasts through the simulator behind a vhost-vdpa, which gives them back, and sleeps until each is there:
 * `vdpa-asleep.mjs PATH ROUNDS`. Prints a line of JSON with what came back and how the sleeps ended.
 */
import { setTimeout as later } from 'node:timers';
import { attach, createEal, packetFrom, RxInterrupts } from '/app/dist/driver/index.js';

const [path, rounds] = process.argv.slice(2);
const eal = createEal();
const mempool = eal.createMempool({ count: 1024 });
const port = await attach(eal, `net_virtio_user0,path=${path}`);
port.configure({ mempool, rxInterrupts: true });
port.start();

const pool = eal.mempool(mempool);
const pkts = new Uint32Array(32);
// without zeros, at which the simulator stops to compare
const broadcast = Uint8Array.from({ length: 100 }, (_, i) => (i < 6 ? 0xff : i + 1));
const send = () => {
  pkts[0] = packetFrom(pool, broadcast);
  port.tx(0).xmit(pkts, 1);
};

const interrupts = new RxInterrupts();
let received = 0;
later(send, 100);
for await (const [queue] of port.rxReady(undefined, { interrupts })) {
  const n = port.rx(queue).recv(pkts, 32);
  for (let i = 0; i < n; i++) if (pool.pktLen[pkts[i]] === broadcast.length) received++;
  pool.freeBulk(pkts, 0, n);
  if (received >= Number(rounds)) break;
  later(send, 100); // long after it has fallen asleep
}
const { sleeps, wakeups, spurious, missed } = interrupts;
port.close();
eal.close();
console.log(JSON.stringify({ received, sleeps, wakeups, spurious, missed }));
