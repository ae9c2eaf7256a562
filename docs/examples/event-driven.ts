// Answers ARP and ping for an IPv4 address, asleep in between: `event-driven.ts SOCKET 192.168.1.2`.
import { attach, createEal } from '../../driver/index.js';
import { answering } from './arp-and-ping.js';

const eal = createEal();
const mempool = eal.createMempool({ count: 4096 });
const port = await attach(eal, `net_virtio_user0,path=${process.argv[2]}`);
port.configure({ mempool, rxInterrupts: true });
port.start();
process.once('SIGTERM', () => port.close()); // ends the loop

const pool = eal.mempool(mempool);
const answer = answering(pool, port.mac, process.argv[3]!);
const pkts = new Uint32Array(32);
for await (const [queue] of port.rxReady()) {
  const n = port.rx(queue!).recv(pkts, 32);
  let answers = 0;
  for (let i = 0; i < n; i++) {
    if (answer(pkts[i]!)) pkts[answers++] = pkts[i]!;
    else pool.free(pkts[i]!);
  }
  const sent = port.tx(0).xmit(pkts, answers);
  pool.freeBulk(pkts, sent, answers - sent); // the ring was full
}
eal.close();
