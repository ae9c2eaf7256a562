/** A port on a device that is no virtio at all: what a driver has to supply, and what a port makes of parts that are absent. */
import test, { type ExecutionContext } from 'ava';
import { createEal, processCpus } from '../../../driver/eal/eal.js';
import type { PortHost } from '../../../driver/port/device.js';
import { Port } from '../../../driver/port/port.js';
import { loadQueues, openRx, type PortQueueSpec } from '../../../driver/port/queue.js';
import { createEventFd } from '../../../native/event.js';
import { soon } from '../../support/wire.js';
import { Loop, type LoopOptions } from './support/loop-device.js';

const JOBS = new URL('./support/loop-job.js', import.meta.url);

function loopPort(t: ExecutionContext, options: LoopOptions = {}) {
  const cpus = processCpus();
  const lcores = new Map([0, 1].map((id) => [id, [cpus.at(-id)!]]));
  const eal = createEal({ noHuge: true, memoryMiB: 32, lcores, pinMain: false, log: () => undefined });
  t.teardown(() => eal.close());
  const mempool = eal.createMempool({ count: 512 });
  let device: Loop;
  const open = (host: PortHost) => (device = new Loop(host, options));
  const port = new Port({ eal, id: 0, name: 'net_loop0', devargs: 'net_loop0', open, log: () => undefined });
  return { eal, mempool, port, device: device! };
}

test.serial('bursts, statistics and questions, with queues that a module opens', async (t) => {
  const { eal, mempool, port } = loopPort(t);
  port.configure({ mempool, rxQueues: 2 });
  const specs = port.spec().rx;
  t.throws(() => port.rx(0), { code: 'ESTATE', message: /is not loaded on this thread: await loadQueues/ });
  await loadQueues(specs);
  port.start();
  const pool = eal.mempool(mempool);
  const pkts = Uint32Array.of(pool.get(), pool.get(), pool.get());
  t.is(port.tx(1).xmit(pkts, 3), 3);
  const got = new Uint32Array(4);
  t.is(port.rx(0).recv(got, 4), 0, 'another queue');
  t.is(port.rx(1).recv(got, 4), 3);
  t.deepEqual([...got.subarray(0, 3)], [...pkts]);
  pool.freeBulk(pkts, 0, 3);
  t.like(port.stats(), { ipackets: 3, opackets: 3 });
  t.deepEqual(port.xstats().at(0), { name: 'rx_good_packets', value: 3 });
  t.deepEqual(port.xstats().at(-1), { name: 'turns', value: 7 });
  t.like(port.info(), { driver: 'net_loop', maxRxQueues: 2, promiscuous: false, privateInfo: [['mtu', '1500']] });
  t.like(port.rxQueueInfo(1), { queueId: 1, burstMode: 'Loop', started: true });
  t.throws(() => port.configure({ mempool, rxQueues: 3 }), { code: 'ESTATE' });
  port.stop();
  t.throws(() => port.configure({ mempool, rxQueues: 3 }), { code: 'ECONFIG', message: /nb_rx_queues=3 > 2/ });
  port.close();
  t.deepEqual(eal.leaks(), []);
});

test.serial('a stream on an lcore, between queues of such a port', async (t) => {
  const { eal, mempool, port } = loopPort(t);
  port.configure({ mempool, rxQueues: 2 });
  await loadQueues(port.spec().rx);
  port.start();
  const pool = eal.mempool(mempool);
  port.tx(0).xmit(Uint32Array.of(pool.get(), pool.get()), 2);
  const { rx, tx } = port.spec();
  eal.lcores.launch(1, JOBS, 'passOn', { rx: rx[0]!, tx: tx[1]! });
  const got = new Uint32Array(2);
  let n = 0;
  await soon('both packets', () => (n += port.rx(1).recv(got.subarray(n), 2 - n)), () => n === 2); // prettier-ignore
  pool.freeBulk(got, 0, 2);
  t.like(port.stats(), { ipackets: 4, opackets: 4 });
  port.close();
});

test.serial(
  'an lcore that sleeps on such a queue: woken by packets, and by the event that it has another descriptor',
  async (t) => {
    const { eal, mempool, port, device } = loopPort(t, { interrupts: true });
    port.configure({ mempool, rxQueues: 2, rxInterrupts: true });
    await loadQueues(port.spec().rx);
    port.start();
    const pool = eal.mempool(mempool);
    const { rx, tx } = port.spec();
    const words = new Int32Array(new SharedArrayBuffer(8));
    eal.lcores.launch(1, JOBS, 'sleepAndPassOn', { rx: rx[0]!, tx: tx[1]!, words: words.buffer });
    const asleep = async (sleeps: number) => {
      await soon('it sleeps', () => Atomics.load(words, 0), (n) => n >= sleeps); // prettier-ignore
      await new Promise((resolve) => setTimeout(resolve, 20));
    };
    const passes = async () => {
      const began = performance.now();
      port.tx(0).xmit(Uint32Array.of(pool.get()), 1);
      const got = new Uint32Array(1);
      await soon('the packet', () => port.rx(1).recv(got, 1), (n) => n === 1); // prettier-ignore
      pool.free(got[0]!);
      return performance.now() - began;
    };
    await asleep(1);
    const usual = await passes();
    await asleep(2);
    device.setFd(0, createEventFd());
    device.host.emit('queueState', 'rx', 0, true);
    await asleep(3);
    const after = await passes();
    t.log(`${usual.toFixed()} and ${after.toFixed()} ms`);
    eal.lcores.stop(1);
    eal.lcores.wait(1);
    t.is(Atomics.load(words, 1), 0, 'no interrupt was missed');
    port.close();
  },
);

test.serial('parts that the device has not got: the reason, and nothing else happens', (t) => {
  const { mempool, port, device } = loopPort(t);
  t.is(port.lacks('filters'), 'a loop receives everything');
  t.throws(() => port.setPromiscuous(true), {
    code: 'ECONFIG',
    message: 'port 0 (net_loop0) has no filters: a loop receives everything',
  });
  t.throws(() => port.rss.rssConf(), { code: 'ECONFIG', message: /has no receive-side scaling: a loop has one/ });
  t.throws(() => port.configure({ mempool, rxInterrupts: true }), {
    code: 'ECONFIG',
    message: /nobody signals a loop/,
  });
  t.deepEqual(device.calls, []);
  t.throws(() => port.configure({ mempool, rxQueues: 2, rss: true }), {
    code: 'ECONFIG',
    message: /has no receive-side scaling: a loop has one/,
  });
  t.deepEqual(device.calls, []);
  t.throws(() => port.path(), { code: 'ESTATE' });
  port.configure({ mempool, rxQueues: 2 });
  t.false(port.config?.rss, 'several queues do not ask for what it has not got');
  t.throws(() => port.path(), { code: 'ECONFIG', message: /has no report of its path: there is no choice/ });
  t.deepEqual(port.info().rss, { keySize: 0, retaSize: 0, flowTypes: 0n });
});

test.serial(
  'the port calls its device in order: nothing twice, nothing before it is configured or after close',
  (t) => {
    const { mempool, port, device } = loopPort(t);
    t.throws(() => port.start(), { code: 'ESTATE' });
    port.stop();
    port.configure({ mempool });
    port.configure({ mempool });
    port.start();
    port.start();
    port.stop();
    port.stop();
    port.reset();
    port.close();
    port.close();
    t.throws(() => port.start(), { code: 'ESTATE', message: /is closed/ });
    const once = ['release', 'configure', 'start', 'stop'];
    t.deepEqual(device.calls, [...once, 'release', 'release', 'configure', 'release', 'close']);
  },
);

test.serial('the MTU: the configured one, then the one that is set, which a reset keeps', (t) => {
  const { mempool, port, device } = loopPort(t);
  port.configure({ mempool, mtu: 1400 });
  t.deepEqual([port.config?.mtu, port.info().mtu], [1400, 1400]);
  port.setMtu(1300);
  t.is(device.calls.at(-1), 'mtu 1300');
  t.deepEqual([port.config?.mtu, port.info().mtu], [1300, 1300]);
  port.reset();
  t.is(port.info().mtu, 1300);
  t.throws(() => port.setMtu(60), { code: 'ECONFIG' });
});

test.serial('limits: those of virtio, where the device does not say its own', (t) => {
  const usual = loopPort(t).port.info();
  t.like(usual, { minRxBufSize: 64, maxRxPktLen: 9728, maxMtu: 9710, maxMacAddrs: 64 });
  const { eal, port } = loopPort(t, { limits: { minRxBufSize: 128, maxRxPktLen: 0xffffffff, maxMacAddrs: 1 } });
  t.like(port.info(), { minRxBufSize: 128, maxRxPktLen: 0xffffffff, maxMtu: 65535, maxMacAddrs: 1 });
  const mempool = eal.createMempool({ count: 64, dataRoom: 64 });
  t.throws(() => port.configure({ mempool }), { code: 'ECONFIG', message: /64 bytes, at least 128 are needed/ });
  const short = loopPort(t, { limits: { maxRxPktLen: 1514 } });
  t.throws(() => short.port.configure({ mempool: short.mempool, mtu: 1500 }), { message: /between 68 and 1496/ });
});

test.serial('the link: told when it changes while the port is started', (t) => {
  const { mempool, port, device } = loopPort(t);
  const told: string[] = [];
  port.on('link', ({ up }, why) => told.push(`${up} ${why}`));
  port.configure({ mempool });
  device.plug(true);
  port.start();
  device.plug(false);
  device.plug(false);
  device.plug(true);
  t.deepEqual(port.link, { up: true, speed: 10000 });
  port.stop();
  t.false(port.link.up);
  t.deepEqual(told, ['true port started', 'false pulled', 'true plugged in', 'false port stopped']);
});

test.serial('a device that is gone for good: neither configured nor started again, and closed like any other', (t) => {
  const { mempool, port, device } = loopPort(t);
  port.configure({ mempool });
  device.lost = 'was pulled: close it';
  const gone = { code: 'ESTATE', message: 'port 0 (net_loop0) was pulled: close it' };
  t.throws(() => port.start(), gone);
  t.throws(() => port.configure({ mempool, mtu: 1400 }), gone);
  t.notThrows(() => port.info());
  port.close();
  t.is(device.calls.at(-1), 'close');
});

test('a queue that nobody made is refused in a sentence', (t) => {
  t.throws(() => openRx({} as PortQueueSpec, {} as never), { code: 'ECONFIG', message: /openRx/ });
});
