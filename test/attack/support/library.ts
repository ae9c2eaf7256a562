/**
 * The smallest program on the vhost library: every guest of a socket gets its own packets back, on the main thread.
 * `library.ts SOCKET`
 */
import { VhostDriver, type VhostDevice } from '../../../driver/vhost/index.js';
import { createEal } from '../../../driver/eal/eal.js';

const eal = createEal({ noHuge: true, pinMain: false, log: () => {} });
const pool = eal.mempool(eal.createMempool({ count: 2048 }));
const devices = new Set<VhostDevice>();
const driver = new VhostDriver(
  process.argv[2]!,
  { log: (level, line) => level === 'debug' || process.stdout.write(`${line}\n`) },
  { newDevice: (device) => void devices.add(device), destroyDevice: (device) => void devices.delete(device) },
);
driver.start();

let stopped = false;
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => (stopped = true));
const pkts = new Uint32Array(32);
const turn = () => {
  if (stopped) {
    driver.close();
    eal.close();
    return;
  }
  driver.poll();
  for (let i = 0; i < 64; i++) {
    for (const device of devices) {
      if (!device.isRunning(0) || !device.isRunning(1)) continue;
      const n = device.dequeueBurst(1, pool, pkts, 32);
      device.enqueueBurst(0, pool, pkts, n);
      pool.freeBulk(pkts, 0, n);
    }
  }
  setImmediate(turn);
};
turn();
