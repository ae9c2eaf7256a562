// A hub for virtual machines: a packet of one guest goes to all other guests of the socket: `hub.ts SOCKET`.
import { setImmediate, setTimeout } from 'node:timers/promises';
import { createEal } from '../../driver/index.js';
import { VhostDriver, type VhostDevice } from '../../driver/vhost/index.js';

const eal = createEal();
const pool = eal.mempool(eal.createMempool({ count: 4096 }));
const guests = new Set<VhostDevice>();
const driver = new VhostDriver(
  process.argv[2]!,
  { maxDevices: 16, log: (level, line) => level !== 'debug' && console.log(line) },
  { newDevice: (guest) => void guests.add(guest), destroyDevice: (guest) => void guests.delete(guest) },
);
driver.start();
let stopped = false;
process.once('SIGTERM', () => (stopped = true));

const pkts = new Uint32Array(32);
for (let idle = 0; !stopped; idle++) {
  driver.poll(); // connections, messages, callbacks
  for (const guest of guests) {
    const n = guest.dequeueBurst(1, pool, pkts, 32); // what it transmits
    for (const other of guests) if (other !== guest) other.enqueueBurst(0, pool, pkts, n); // copies
    pool.freeBulk(pkts, 0, n);
    if (n > 0) idle = 0;
  }
  await (idle < 1000 ? setImmediate() : setTimeout(1));
}
for (const guest of guests) console.log(`guest ${guest.id} sent`, guest.ringStats(1).get('rx_q0_good_packets'));
driver.close();
eal.close();
