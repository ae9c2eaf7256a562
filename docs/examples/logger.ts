// Forwards between two ports, and writes what passes to a capture file: `logger.ts DEVARGS DEVARGS OUT.pcap`.
import { attach, copyPacket, createEal, NIL, type Port } from '../../driver/index.js';

const [, , first, second, path] = process.argv;
const eal = createEal();
const mempool = eal.createMempool({ count: 8192 });
const pool = eal.mempool(mempool);
const [a, b] = [await attach(eal, first!), await attach(eal, second!)];
const file = await attach(eal, `net_pcap9,tx_pcap=${path}`);
for (const port of [a, b, file]) port.configure({ mempool, rxInterrupts: port !== file });
for (const port of [a, b, file]) port.start();
process.once('SIGTERM', () => [a, b].forEach((port) => port.close())); // ends the loops

async function forward(from: Port, to: Port): Promise<void> {
  const [pkts, copies] = [new Uint32Array(32), new Uint32Array(32)];
  for await (const [queue] of from.rxReady()) {
    const n = from.rx(queue!).recv(pkts, 32);
    let copied = 0;
    for (const m of pkts.subarray(0, n)) {
      const copy = copyPacket(pool, m); // a packet that is sent is not ours any more
      if (copy !== NIL) copies[copied++] = copy;
    }
    file.tx(0).xmit(copies, copied);
    const sent = to.tx(0).xmit(pkts, n);
    pool.freeBulk(pkts, sent, n - sent); // the other side is full
  }
}
await Promise.all([forward(a, b), forward(b, a)]);
for (const each of [file, eal]) each.close();
