/**
 * Attaches a port on vhost-net and gives it up again, over and over: `attach-cycles.mjs CYCLES`. Prints a line of JSON with what
 * the process held after a tenth of the cycles and after the last: descriptors, threads, resident memory in KiB, mappings.
 */
import { readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { createEal, hotplugAdd, hotplugRemove } from '/app/dist/driver/index.js';

const cycles = Number(process.argv[2]);
const eal = createEal();
const mempool = eal.createMempool({ count: 2048 });

async function held() {
  for (let i = 0; i < 3; i++) {
    globalThis.gc();
    await setImmediate();
  }
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)[1]);
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    threads: field('Threads'),
    memory: field('VmRSS'),
    mappings: readFileSync('/proc/self/maps', 'utf8').split('\n').length,
  };
}

let early;
for (let cycle = 1; cycle <= cycles; cycle++) {
  const port = await hotplugAdd(eal, 'vdev', 'virtio_user0', 'path=/dev/vhost-net,up=1,iface=cycle');
  port.configure({ mempool });
  port.start();
  hotplugRemove(eal, 'vdev', 'virtio_user0');
  if (cycle === Math.ceil(cycles / 10)) early = await held();
}
const late = await held();
const open = readdirSync('/proc/self/fd').map((fd) => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return ''; // of the listing itself
  }
});
eal.close();
console.log(JSON.stringify({ early, late, open: open.filter((path) => /vhost-net|tun/.test(path)) }));
