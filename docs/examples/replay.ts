// Sends the packets of a capture file to a guest, as fast as it takes them: `replay.ts FILE SOCKET`.
import { setTimeout } from 'node:timers/promises';
import { attach, createEal } from '../../driver/index.js';

const [, , path, socket] = process.argv;
const eal = createEal();
const mempool = eal.createMempool({ count: 4096 });
const file = await attach(eal, `net_pcap0,rx_pcap=${path}`);
const guest = await attach(eal, `net_vhost0,iface=${socket}`);
for (const port of [file, guest]) port.configure({ mempool });
for (const port of [file, guest]) port.start();
while (!guest.link.up) await setTimeout(10);

let atEnd = false;
file.on('queueState', () => (atEnd = true));
const pkts = new Uint32Array(32);
while (!atEnd) {
  const n = file.rx(0).recv(pkts, 32);
  for (let sent = 0; sent < n;) {
    sent += guest.tx(0).xmit(pkts.subarray(sent, n), n - sent);
    if (sent < n) await setTimeout(1); // its ring is full
  }
  if (n === 0) await setTimeout(10);
}
console.log(`${guest.stats().opackets} packets`);
for (const each of [file, guest, eal]) each.close();
