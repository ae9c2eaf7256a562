/** Devices that come and go by bus and name while another port forwards. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../driver/eal/eal.js';
import { hotplugAdd, hotplugRemove, type Bus } from '../../../driver/port/hotplug.js';
import { portsOf, type Port } from '../../../driver/port/port.js';
import { vhostCounterBytes, type VhostJobData } from '../../../driver/vhost/index.js';
import { isListening } from '../../../native/socket.js';
import { packetFrom, readPacket } from '../../../paths/mbuf.js';
import type { Mempool } from '../../../paths/mempool.js';
import { ourCpu, peerCpu, temporaryDirectory } from '../../support/peers.js';
import type { ForwardingData } from './support/hotplug-jobs.js';

const JOBS = new URL('./support/hotplug-jobs.js', import.meta.url);
const EMBEDDED = new URL('../../../driver/vhost/embedded.js', import.meta.url);

async function until(holds: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 20_000; !holds(); await sleep(1)) {
    if (Date.now() > deadline) throw new Error(`${what}: not within 20 s`);
  }
}

/** Lcore 1 forwards, lcores 2 and 3 are back-ends that return every packet, on the sockets `a` and `b`. */
async function bench(t: ExecutionContext) {
  const directory = temporaryDirectory(t);
  const lcores = new Map([
    [0, [peerCpu]],
    [1, [ourCpu]],
    [2, [ourCpu]],
    [3, [peerCpu]],
  ]);
  const eal = createEal({ noHuge: true, memoryMiB: 32, lcores, log: () => undefined });
  t.teardown(() => {
    for (const port of portsOf(eal)) port.close();
    eal.close();
  });
  const mempool = eal.createMempool({ count: 2048 });
  const back = eal.createMempool({ count: 1024 });
  const sockets = ['a', 'b'].map((name) => join(directory, name));
  sockets.forEach((path, i) => {
    const counters = new SharedArrayBuffer(vhostCounterBytes);
    const data: VhostJobData = { path, mode: 'loopback', mempool: back, counters };
    eal.lcores.launch(2 + i, EMBEDDED, 'vhostJob', data);
  });
  await until(() => sockets.every(isListening), 'the back-ends listen');
  return { eal, mempool, pool: eal.mempool(mempool), a: `path=${sockets[0]}`, b: `path=${sockets[1]}` };
}

/** A port of the first back-end, with packets that go round. @returns how many have been sent. */
async function forwardingPort(eal: Eal, mempool: ForwardingData['mempool'], args: string): Promise<() => number> {
  const port = await hotplugAdd(eal, 'vdev', 'virtio_user0', args);
  port.configure({ mempool });
  port.start();
  const words = new SharedArrayBuffer(4);
  eal.lcores.launch(1, JOBS, 'keepForwarding', { port: port.spec(), mempool, words } satisfies ForwardingData);
  return () => Atomics.load(new Int32Array(words), 0);
}

async function roundTrip(port: Port, pool: Mempool, tag: number): Promise<Uint8Array> {
  const pkts = Uint32Array.of(packetFrom(pool, new Uint8Array(60).fill(tag)));
  await until(() => port.tx(0).xmit(pkts, 1) === 1, 'a packet is sent');
  await until(() => port.rx(0).recv(pkts, 1) === 1, 'it comes back');
  const bytes = readPacket(pool, pkts[0]!);
  pool.free(pkts[0]!);
  return bytes;
}

const openFds = () => readdirSync('/proc/self/fd').length;
const threads = () => readdirSync('/proc/self/task').length;

test.serial('100 devices come and go while another port forwards: nothing is left of them', async (t) => {
  const { eal, mempool, pool, a, b } = await bench(t);
  const sent = await forwardingPort(eal, mempool, a);
  await until(() => sent() > 0, 'packets go round');
  /** Where the next piece of packet memory would be: behind whatever is still reserved. */
  const firstFree = () => {
    const probe = eal.reserve('probe', 1 << 20);
    eal.release(probe);
    return probe.offset;
  };
  const cycle = async (i: number) => {
    const port = await hotplugAdd(eal, 'vdev', 'net_virtio_user7', `${b},packed_vq=${i % 2},queue_size=64`);
    t.is(port.id, 1);
    port.configure({ mempool });
    port.start();
    t.deepEqual(await roundTrip(port, pool, i), new Uint8Array(60).fill(i));
    hotplugRemove(eal, 'vdev', 'net_virtio_user7');
    t.deepEqual(
      portsOf(eal).map(({ name }) => name),
      ['virtio_user0'],
    );
  };
  for (let i = 0; i < 3; i++) await cycle(i); // what is made once and kept
  await sleep(50); // the back-end takes its time to see the last connection end
  const [fds, tasks, free] = [openFds(), threads(), firstFree()];
  const before = sent();
  for (let i = 0; i < 100; i++) await cycle(i);
  t.true(sent() > before, 'the other port forwarded meanwhile');
  await until(() => openFds() <= fds, `no more descriptors than ${fds}`);
  t.is(threads(), tasks);
  t.is(firstFree(), free);

  for (const lcore of [1, 2, 3]) eal.lcores.stop(lcore);
  for (const lcore of [1, 2, 3]) eal.lcores.wait(lcore);
  hotplugRemove(eal, 'vdev', 'virtio_user0');
  t.deepEqual(portsOf(eal), []);
  t.deepEqual(eal.leaks(), []);
});

test.serial(
  'a port is removed from under the lcore that forwards on it: its bursts are empty from then on',
  async (t) => {
    const { eal, mempool, pool, a, b } = await bench(t);
    const sent = await forwardingPort(eal, mempool, a);
    await until(() => sent() > 100, 'packets go round');
    hotplugRemove(eal, 'vdev', 'virtio_user0');
    t.is(eal.lcores.state(1), 'running');
    const other = await hotplugAdd(eal, 'vdev', 'virtio_user0', b); // its rings lie where the old ones were
    other.configure({ mempool });
    other.start();
    const before = sent();
    for (let i = 0; i < 10; i++) t.deepEqual(await roundTrip(other, pool, i), new Uint8Array(60).fill(i));
    t.is(sent(), before);
    hotplugRemove(eal, 'vdev', 'virtio_user0');
  },
);

const anEal = (t: ExecutionContext) => {
  const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => undefined, pinMain: false });
  t.teardown(() => eal.close());
  return eal;
};

const wrongAdds: readonly (readonly [bus: string, name: string, args: string, says: RegExp])[] = [
  ['usb', 'virtio_user0', 'path=/tmp/s', /^"usb" is no bus: expected vdev or pci$/],
  ['vdev', '0000:00:03.0', '', /^"0000:00:03.0" is not on the bus vdev: expected net_virtio_user<N>.* or the bus pci$/],
  ['vdev', 'qtest:/tmp/s', 'ram=/tmp/r', /^"qtest:\/tmp\/s" is not on the bus vdev/],
  ['vdev', 'net_memif0', 'socket=x', /^"net_memif0" names no device that this driver knows/],
  ['vdev', 'virtio_user0', '', /path/],
  ['vdev', 'virtio_user0', 'path=/nonexistent/s,quues=2', /did you mean "?queues/],
  ['pci', 'virtio_user0', 'path=/tmp/s', /^"virtio_user0" is no PCI address: expected/],
  ['pci', '0000:00:03.0', 'path=/tmp/s', /path/],
];
for (const [bus, name, args, says] of wrongAdds) {
  test(`not added: ${name} with "${args}" on the bus ${bus}`, async (t) => {
    const eal = anEal(t);
    const error = await t.throwsAsync(hotplugAdd(eal, bus as Bus, name, args), { code: 'EDEVARGS' });
    t.regex(error.message, says);
    t.deepEqual(portsOf(eal), []);
  });
}

test.serial('not added: a name that is there already', async (t) => {
  const { eal, a, b } = await bench(t);
  await hotplugAdd(eal, 'vdev', 'virtio_user0', a);
  const error = await t.throwsAsync(hotplugAdd(eal, 'vdev', 'virtio_user0', b), { code: 'ECONFIG' });
  t.regex(error.message, /^virtio_user0 is attached already/);
  t.is(portsOf(eal).length, 1);
});

test.serial('removed: only a device of this name and bus, and only once', async (t) => {
  const { eal, a, b } = await bench(t);
  await hotplugAdd(eal, 'vdev', 'virtio_user0', a);
  await hotplugAdd(eal, 'vdev', 'net_virtio_user1', b);
  const says = (bus: string, name: string) => t.throws(() => hotplugRemove(eal, bus as Bus, name))!.message;
  t.is(
    says('vdev', 'virtio_user1'),
    'there is no device virtio_user1 on the bus vdev to remove: attached: virtio_user0, net_virtio_user1',
  );
  t.is(says('pci', 'virtio_user0'), 'there is no device virtio_user0 on the bus pci to remove: none is attached');
  t.is(says('usb', 'virtio_user0'), '"usb" is no bus: expected vdev or pci');
  hotplugRemove(eal, 'vdev', 'virtio_user0');
  t.regex(says('vdev', 'virtio_user0'), /attached: net_virtio_user1$/);
});
