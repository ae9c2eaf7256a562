/** A program that sends packets to a capture file until it is killed, and writes after each burst how many: FILE, COUNT_FILE. */
import { openSync, writeSync } from 'node:fs';
import { createEal } from '../../../../driver/eal/eal.js';
import { attach } from '../../../../driver/port/attach.js';
import { loadQueues } from '../../../../driver/port/queue.js';

const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => undefined });
const mempool = eal.createMempool({ count: 512 });
const from = await attach(eal, 'net_null0,size=200,copy=1');
const to = await attach(eal, `net_pcap0,tx_pcap=${process.argv[2]}`);
for (const port of [from, to]) {
  port.configure({ mempool });
  await loadQueues([...port.spec().rx, ...port.spec().tx]);
  port.start();
}
const said = openSync(process.argv[3]!, 'w');
const pkts = new Uint32Array(32);
for (;;) {
  to.tx(0).xmit(pkts, from.rx(0).recv(pkts, 32));
  writeSync(said, String(to.stats().opackets).padStart(12), 0);
}
