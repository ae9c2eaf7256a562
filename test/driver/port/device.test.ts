/** A port on a device that is no virtio at all: what a driver has to supply, and what a port makes of parts that are absent. */
import test, { type ExecutionContext } from 'ava';
import { createEal, processCpus } from '../../../driver/eal/eal.js';
import type { PortLimits, ResolvedConfig } from '../../../driver/port/config.js';
import { Absent, type PortDevice, type PortHost } from '../../../driver/port/device.js';
import { Port } from '../../../driver/port/port.js';
import { loadQueues, openRx, type PortQueueSpec } from '../../../driver/port/queue.js';
import type { Link, PortStats } from '../../../driver/port/types.js';
import { soon } from '../../support/wire.js';
import { counts, loopBytes, LOOP_SIZE, STARTED, type LoopSpec } from './support/loop-queue.js';

const MODULE = new URL('./support/loop-queue.js', import.meta.url).href;
const JOBS = new URL('./support/loop-job.js', import.meta.url);

/** Everything that a driver supplies, at its smallest. */
class Loop implements PortDevice {
  readonly driverName = 'net_loop';
  readonly mac = '02:00:00:00:00:01';
  readonly calls: string[] = [];
  lost: string | undefined;
  intact = true;
  link: Link = { up: true, speed: 10000 };
  readonly filters = new Absent('a loop receives everything');
  readonly rss = new Absent('a loop has one queue for each that sends');
  readonly interrupts = new Absent('nobody signals a loop');
  readonly path = new Absent('there is no choice');
  private specs: LoopSpec[] = [];
  private config: ResolvedConfig | undefined;

  constructor(private readonly host: PortHost) {}

  limits(): PortLimits {
    return {
      ...{ portId: this.host.id, maxRxQueues: 2, maxTxQueues: 2, queueSize: LOOP_SIZE, hdrSize: 0 },
      ...{ rxOffloadCapa: 0, txOffloadCapa: 0 },
    };
  }

  configure(config: ResolvedConfig): void {
    this.calls.push('configure');
    this.config = config;
    this.specs = Array.from({ length: Math.max(config.rxQueues, config.txQueues) }, (_, queueId) => ({
      ...{ portId: this.host.id, queueId, path: 'loop', mempool: config.mempool, module: MODULE },
      shared: new SharedArrayBuffer(loopBytes),
    }));
  }

  release(): void {
    this.calls.push('release');
    this.specs = [];
  }

  private let(through: boolean): void {
    for (const { shared } of this.specs) Atomics.store(new Int32Array(shared), STARTED, through ? 1 : 0);
  }

  start(): void {
    this.calls.push('start');
    this.let(true);
  }

  stop(): void {
    this.calls.push('stop');
    this.let(false);
    this.host.eal.lcores.quiesce();
  }

  close(): void {
    this.calls.push('close');
  }

  look(): void {}

  queues(kind: 'rx' | 'tx'): readonly PortQueueSpec[] {
    return this.specs.slice(0, this.config![`${kind}Queues`]);
  }

  queueInfo(_: 'rx' | 'tx', queueId: number) {
    const { mempool } = this.specs[queueId]!;
    const nothing = { freeThresh: 0, offloads: 0, scattered: false, broken: undefined };
    return { queueId, mempool: mempool.name, nbDesc: LOOP_SIZE, burstMode: 'Loop', ...nothing };
  }

  stats(): PortStats {
    const sum = (what: 'sent' | 'received') => this.specs.reduce((total, spec) => total + counts(spec)[what], 0);
    const nothing = { ibytes: 0, obytes: 0, imissed: 0, ierrors: 0, oerrors: 0, rxNombuf: 0 };
    return { ipackets: sum('received'), opackets: sum('sent'), ...nothing };
  }

  xstats() {
    return [{ name: 'turns', value: 7 }];
  }

  resetStats(): void {}

  privateInfo(mtu: number): [string, string][] {
    return [['mtu', `${mtu}`]];
  }

  /** A cable that is pulled, or plugged in. */
  plug(up: boolean): void {
    this.link = { up, speed: up ? 10000 : undefined };
    this.host.linkChanged(up ? 'plugged in' : 'pulled');
  }
}

function loopPort(t: ExecutionContext) {
  const cpus = processCpus();
  const lcores = new Map([0, 1].map((id) => [id, [cpus.at(-id)!]]));
  const eal = createEal({ noHuge: true, memoryMiB: 32, lcores, pinMain: false, log: () => undefined });
  t.teardown(() => eal.close());
  const mempool = eal.createMempool({ count: 512 });
  let device: Loop;
  const open = (host: PortHost) => (device = new Loop(host));
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
  t.throws(() => port.path(), { code: 'ESTATE' });
  port.configure({ mempool });
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
  const { mempool, port } = loopPort(t);
  port.configure({ mempool, mtu: 1400 });
  t.deepEqual([port.config?.mtu, port.info().mtu], [1400, 1400]);
  port.setMtu(1300);
  t.deepEqual([port.config?.mtu, port.info().mtu], [1300, 1300]);
  port.reset();
  t.is(port.info().mtu, 1300);
  t.throws(() => port.setMtu(60), { code: 'ECONFIG' });
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
