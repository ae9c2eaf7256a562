// A learning bridge between a guest and a new interface of the kernel: `bridge.ts SOCKET TAP`.
import { attach, createEal, type Port } from '../../driver/index.js';

const [, , socket, tap] = process.argv;
const eal = createEal();
const mempool = eal.createMempool({ count: 4096 });
const pool = eal.mempool(mempool);
const ports = [await attach(eal, `net_vhost0,iface=${socket}`), await attach(eal, `net_tap0,iface=${tap}`)] as const;
for (const port of ports) port.configure({ mempool, rxInterrupts: true });
for (const port of ports) port.start();
process.once('SIGTERM', () => ports.forEach((port) => port.close())); // ends the loops

const homes = new Map<string, Port>(); // on which side each address is
const addressAt = (at: number) => pool.u8.subarray(at, at + 6).join();
async function bridge(from: Port, to: Port): Promise<void> {
  const pkts = new Uint32Array(32);
  for await (const [queue] of from.rxReady()) {
    let kept = 0;
    for (const m of pkts.subarray(0, from.rx(queue!).recv(pkts, 32))) {
      const at = pool.dataStart(m);
      if ((pool.u8[at + 6]! & 1) === 0 && homes.size < 4096) homes.set(addressAt(at + 6), from);
      if (homes.get(addressAt(at)) !== from) pkts[kept++] = m;
      else pool.free(m); // its receiver has it already
    }
    const sent = to.tx(0).xmit(pkts, kept);
    pool.freeBulk(pkts, sent, kept - sent); // the other side is full
  }
}
await Promise.all([bridge(ports[0], ports[1]), bridge(ports[1], ports[0])]);
eal.close();
