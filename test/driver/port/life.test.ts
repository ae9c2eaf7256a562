/** A port on a fake device: configuration rules, life cycle, statistics and reports. */
import { virtioPort, virtqueues } from '../../support/virtio-port.js';
import test, { type ExecutionContext } from 'ava';
import { createEal } from '../../../driver/eal/eal.js';
import { parseVirtioUser } from '../../../driver/devargs/devargs.js';
import { portsOf } from '../../../driver/port/port.js';
import {
  RX_OFFLOAD_SCATTER,
  RX_OFFLOAD_TCP_LRO,
  TX_OFFLOAD_TCP_CKSUM,
  type PortConfig,
} from '../../../driver/port/types.js';
import * as F from '../../../driver/wire/virtio-features.js';
import { BROKEN, BROKEN_ID, queueState, STARTED } from '../../../paths/guest/queue.js';
import { BYTES, ERRORS, NOMBUF, PACKETS } from '../../../paths/stats.js';
import { FAKE_OFFER, FakeTransport, type FakeOptions } from '../../support/mock-transport.js';

function fakePort(t: ExecutionContext, options: FakeOptions = {}, args = '', mbufs = 1024) {
  const eal = createEal({ noHuge: true, memoryMiB: 32, log: () => undefined });
  const mempool = eal.createMempool({ count: mbufs });
  const device = new FakeTransport(options);
  const lines: string[] = [];
  const devargs = `net_virtio_user0,path=/nowhere${args}`;
  const port = virtioPort({
    eal,
    id: 0,
    devargs,
    args: parseVirtioUser(devargs),
    transport: device,
    log: (level, line) => lines.push(`${level} ${line}`),
  });
  t.teardown(() => {
    port.close();
    eal.close();
  });
  return { eal, mempool, device, port, lines };
}

test('configure, start, stop, start, close: the device sees one initialisation and one reset; nothing leaks', (t) => {
  const { eal, mempool, device, port, lines } = fakePort(t);
  port.configure({ mempool });
  const once = device.trace.length;
  t.is(device.trace.at(-1), 'status 0xf');
  port.start();
  t.deepEqual(device.trace.slice(once), ['notify 0']);
  t.true(lines.includes('info virtio: using inorder Rx path on port 0'));
  t.true(lines.includes('info virtio: using inorder Tx path on port 0'));
  t.true(port.link.up);
  t.is(eal.mempool(mempool).inUse(), 256);
  port.stop();
  t.is(eal.mempool(mempool).inUse(), 256); // the device keeps its buffers
  port.start();
  port.close();
  t.deepEqual(device.trace.slice(-2), ['status 0x0', 'close']);
  t.deepEqual(eal.leaks(), []);
  t.deepEqual(portsOf(eal), []);
  port.close();
});

test('calls in the wrong order', (t) => {
  const { mempool, port } = fakePort(t);
  t.throws(() => port.start(), { code: 'ESTATE', message: /must be configured/ });
  t.throws(() => port.spec(), { code: 'ESTATE' });
  t.throws(() => port.path(), { code: 'ESTATE' });
  port.configure({ mempool });
  port.start();
  t.throws(() => port.configure({ mempool }), { code: 'ESTATE', message: /must be stopped/ });
  t.throws(() => port.reset(), { code: 'ESTATE' });
  port.start(); // as in DPDK: says so and goes on
  port.close();
  t.throws(() => port.start(), { code: 'ESTATE', message: /is closed/ });
});

const refused: [string, Omit<PortConfig, 'mempool'>, RegExp][] = [
  ['more Rx queues than granted', { rxQueues: 2 }, /nb_rx_queues=2 > 1/],
  ['more Tx queues than granted', { txQueues: 3 }, /nb_tx_queues=3 > 1/],
  ['no queue at all', { rxQueues: 0 }, /at least one queue/],
  [
    '31 descriptors',
    { rxDesc: 31 },
    /Invalid value for nb_rx_desc\(=31\), should be: <= 32768, >= 32, and a product of 1/,
  ],
  ['32769 descriptors', { txDesc: 32769 }, /Invalid value for nb_tx_desc\(=32769\)/],
  ['rxFreeThresh not a multiple of 4', { rxFreeThresh: 30 }, /rx_free_thresh must be multiples of four/],
  ['rxFreeThresh of the whole ring', { rxFreeThresh: 256 }, /rx_free_thresh must be less than/],
  [
    'txFreeThresh of the ring less 3',
    { txFreeThresh: 253 },
    /tx_free_thresh must be less than the number of TX entries minus 3/,
  ],
  ['an MTU below 68', { mtu: 67 }, /MTU should be between 68 and 9698/],
  ['an MTU above the longest packet', { mtu: 9699 }, /MTU should be between 68 and 9698/],
  [
    'an MTU larger than the mbufs without scatter',
    { mtu: 2019 },
    /Rx scatter is disabled and RxQ mbuf pool object size is too small/,
  ],
  [
    'an Rx offload that the device lacks',
    { rxOffloads: RX_OFFLOAD_TCP_LRO },
    /requested Rx offloads 0x10 doesn't match/,
  ],
  [
    'a Tx offload that the device lacks',
    { txOffloads: TX_OFFLOAD_TCP_CKSUM },
    /requested Tx offloads 0x8 doesn't match/,
  ],
];
for (const [what, config, message] of refused) {
  test(`configure refuses ${what}, and the port can be configured after that`, (t) => {
    const { mempool, port, device } = fakePort(t);
    t.throws(() => port.configure({ mempool, ...config }), { code: 'ECONFIG', message });
    t.deepEqual(device.trace, []);
    port.configure({ mempool });
    port.start();
    t.true(port.link.up);
  });
}

test('limits that just fit', (t) => {
  const { mempool, port } = fakePort(t);
  port.configure({ mempool, mtu: 2018, rxDesc: 32, txDesc: 32768, rxFreeThresh: 252, txFreeThresh: 252 });
  t.is(port.rxQueueInfo(0).nbDesc, 32);
  t.is(port.txQueueInfo(0).nbDesc, 256); // more than the ring: the ring
  port.configure({ mempool, mtu: 9698, rxOffloads: RX_OFFLOAD_SCATTER });
  t.true(port.rxQueueInfo(0).scattered);
  t.is(port.rxQueueInfo(0).freeThresh, 32);
});

test('interrupts: every Rx queue gets its own, or the port is refused and can be configured without', (t) => {
  const { mempool, port, device } = fakePort(t, { maxQueuePairs: 4, interrupts: 3 }, ',queues=4');
  t.throws(() => port.configure({ mempool, rxQueues: 4, rxInterrupts: true }), {
    code: 'ECONFIG',
    message: /^port 0: its device \(.*\) has no interrupt for Rx queue 3: configure it without rxInterrupts and poll$/,
  });
  t.deepEqual(device.trace, []);
  const fds = () => [...virtqueues(port).rx, ...virtqueues(port).tx].map((spec) => spec.interruptFd);
  port.configure({ mempool, rxQueues: 3, txQueues: 1, rxInterrupts: true });
  t.deepEqual(fds(), [1_000_000, 1_000_001, 1_000_002, undefined]);
  port.configure({ mempool, rxQueues: 4, txQueues: 1 });
  t.deepEqual(fds(), Array(5).fill(undefined));
});

test('free thresholds default to a quarter of a small ring', (t) => {
  const { mempool, port } = fakePort(t, { queueSize: 64 });
  port.configure({ mempool });
  t.is(port.rxQueueInfo(0).freeThresh, 16);
  t.is(port.txQueueInfo(0).freeThresh, 16);
});

test('a mempool without a free mbuf: start says which one; the port can start once there are some', (t) => {
  const { eal, mempool, port } = fakePort(t);
  port.configure({ mempool });
  const pool = eal.mempool(mempool);
  const held: number[] = [];
  for (let m = pool.get(); m >= 0; m = pool.get()) held.push(m);
  t.throws(() => port.start(), { code: 'EMEMORY', message: /Failed to fill Rx queue 0 of port 0: mempool mb_pool_0/ });
  t.false(port.started);
  for (const m of held) pool.put(m);
  port.start();
  t.true(port.link.up);
});

test('several pairs: the MQ command asks for as many as are used, and asymmetric counts work', (t) => {
  const { mempool, device, port } = fakePort(t, { maxQueuePairs: 4 }, ',queues=4');
  port.configure({ mempool, rxQueues: 1, txQueues: 3 });
  t.is(device.queues.size, 8);
  port.start();
  t.is(device.enabledPairs, 3);
  t.is(virtqueues(port).rx.length, 1);
  t.is(virtqueues(port).tx.length, 3);
  t.throws(() => port.tx(3), { code: 'ECONFIG', message: /has no tx queue 3: 3 are configured/ });
});

test('a device whose initialisation fails leaves the port unconfigured, with its memory free', (t) => {
  const { eal, mempool, port } = fakePort(t, { drops: F.STATUS_FEATURES_OK });
  t.throws(() => port.configure({ mempool }), { code: 'EPEER' });
  t.false(port.configured);
  t.deepEqual(eal.leaks(), []);
  t.throws(() => port.configure({ mempool }), { code: 'EPEER' }); // no "there is one of this name already"
});

test('link and reconnect follow the device; queues are opened to bursts accordingly', (t) => {
  const { mempool, device, port, lines } = fakePort(t);
  const events: string[] = [];
  port.on('link', ({ up }) => events.push(up ? 'up' : 'down'));
  port.on('reconnect', (n) => events.push(`reconnect ${n}`));
  port.configure({ mempool });
  port.start();
  const { words } = queueState(virtqueues(port).rx[0]!);
  device.events.push('lost');
  t.false(port.link.up);
  t.is(words[STARTED], 0);
  device.events.push('back');
  t.true(port.link.up);
  t.is(words[STARTED], 1);
  t.deepEqual(events, ['up', 'down', 'up', 'reconnect 1']);
  t.true(lines.includes('error virtio-user port 0 is down'));
});

test('a stopped port has no link, and comes up on start', (t) => {
  const { mempool, port } = fakePort(t);
  port.configure({ mempool });
  t.false(port.link.up);
  port.start();
  port.stop();
  t.false(port.link.up);
});

test('a queue that stopped trusting its ring is told once; stop and start resets the device and cures it', (t) => {
  const { mempool, device, port } = fakePort(t);
  const events: string[] = [];
  port.on('broken', (queue, why) => events.push(`${queue}: ${why}`));
  port.configure({ mempool });
  port.start();
  queueState(virtqueues(port).rx[0]!).words[BROKEN] = BROKEN_ID;
  t.true(port.link.up);
  t.true(port.link.up);
  t.deepEqual(events, ['rx_q0: the device used a descriptor id that does not exist']);
  t.regex(port.rxQueueInfo(0).broken!, /does not exist/);
  port.stop();
  const before = device.trace.length;
  port.start();
  t.is(device.trace[before], 'status 0x0');
  t.is(port.rxQueueInfo(0).broken, undefined);
  t.is(queueState(virtqueues(port).rx[0]!).words[STARTED], 1);
});

test('statistics: sums, DPDK names in DPDK order, and a reset that writes no counter', (t) => {
  const { mempool, port } = fakePort(t, { maxQueuePairs: 2 }, ',queues=2');
  port.configure({ mempool, rxQueues: 2 });
  const { rx, tx } = virtqueues(port);
  rx.forEach((spec, i) => {
    const { stats } = queueState(spec);
    stats[PACKETS] = 10 + i;
    stats[BYTES] = 640;
    stats[ERRORS] = 1;
    stats[NOMBUF] = 2;
  });
  queueState(tx[1]!).stats[PACKETS] = 5;
  t.deepEqual(port.stats(), {
    ipackets: 21,
    opackets: 5,
    ibytes: 1280,
    obytes: 0,
    imissed: 0,
    ierrors: 2,
    oerrors: 0,
    rxNombuf: 4,
  });
  const names = port.xstats().map(({ name }) => name);
  t.deepEqual(names.slice(0, 8), [
    'rx_good_packets',
    'tx_good_packets',
    'rx_good_bytes',
    'tx_good_bytes',
    'rx_missed_errors',
    'rx_errors',
    'tx_errors',
    'rx_mbuf_allocation_errors',
  ]);
  const perQueue = [
    'good_packets',
    'good_bytes',
    'errors',
    'multicast_packets',
    'broadcast_packets',
    'undersize_packets',
    'size_64_packets',
    'size_65_127_packets',
    'size_128_255_packets',
    'size_256_511_packets',
    'size_512_1023_packets',
    'size_1024_1518_packets',
    'size_1519_max_packets',
  ];
  const txPerQueue = perQueue.filter((name) => name !== 'errors');
  t.deepEqual(names.slice(8, 8 + 2 * 13 + 2 * 12), [
    ...perQueue.map((name) => `rx_q0_${name}`),
    ...perQueue.map((name) => `rx_q1_${name}`),
    ...txPerQueue.map((name) => `tx_q0_${name}`),
    ...txPerQueue.map((name) => `tx_q1_${name}`),
  ]);
  t.is(new Set(names).size, names.length);
  port.resetStats();
  t.is(port.stats().ipackets, 0);
  t.is(queueState(rx[0]!).stats[PACKETS], 10);
  queueState(rx[0]!).stats[PACKETS]! += 3;
  t.is(port.xstats()[0]!.value, 3);
});

test('info, path and private dump', (t) => {
  const { mempool, port } = fakePort(t, {}, ',packed_vq=1,mrg_rxbuf=0');
  port.configure({ mempool });
  const info = port.info();
  t.is(info.devargs, 'path=/nowhere,packed_vq=1,mrg_rxbuf=0');
  t.is(info.maxMtu, 9698);
  t.deepEqual(
    info.privateInfo.map(([name]) => name),
    [
      'guest_features',
      'vtnet_hdr_size',
      'use_vec',
      'use_inorder',
      'intr_lsc',
      'max_mtu',
      'max_rx_pkt_len',
      'max_queue_pairs',
      'req_guest_features',
    ],
  );
  t.deepEqual(info.privateInfo[6], ['max_rx_pkt_len', '1530']);
  const path = port.path();
  t.is(path.recipe, 'packed in-order non-mergeable');
  t.is(path.rx, 'virtio_recv_pkts_packed');
  t.true(path.rejected.some(({ what }) => what === 'virtio_recv_pkts_packed_vec'));
  t.is(path.features.offered, FAKE_OFFER);
  t.is(port.rxQueueInfo(0).burstMode, 'Scalar standard packed ring');
  t.is(port.txQueueInfo(0).burstMode, 'Scalar packed ring');
});

test('promiscuous mode needs CTRL_RX, and is a command when there is', (t) => {
  const without = fakePort(t);
  without.port.configure({ mempool: without.mempool });
  t.throws(() => without.port.setPromiscuous(true), { code: 'ECONFIG', message: /^host does not support rx control/ });
  const { mempool, device, port } = fakePort(t, {}, ',cq=1');
  port.configure({ mempool });
  port.setPromiscuous(true);
  port.setAllmulticast(true);
  t.deepEqual(device.trace.slice(-2), ['control 0/0', 'control 0/1']);
  t.true(port.info().promiscuous && port.info().allmulticast);
});

test('setMtu keeps to the limits and to the mbufs', (t) => {
  const { mempool, port } = fakePort(t);
  port.configure({ mempool });
  port.setMtu(68);
  t.is(port.info().mtu, 68);
  t.throws(() => port.setMtu(9699), { code: 'ECONFIG' });
  t.throws(() => port.setMtu(9000), { code: 'ECONFIG', message: /Rx scatter is disabled/ });
  t.is(port.info().mtu, 68);
});

test('port reset: reset and initialised as before', (t) => {
  const { mempool, device, port } = fakePort(t);
  port.configure({ mempool, rxDesc: 64 });
  const before = device.trace.length;
  port.reset();
  t.is(device.trace[before], 'status 0x0');
  t.is(device.trace.at(-1), 'status 0xf');
  t.is(port.rxQueueInfo(0).nbDesc, 64);
});

test('a listener that throws does not keep the others from hearing, and off() works', (t) => {
  const { mempool, port } = fakePort(t);
  const heard: string[] = [];
  const listener = () => heard.push('gone');
  port.on('link', listener).off('link', listener);
  port.on('link', () => heard.push('heard'));
  port.configure({ mempool });
  port.start();
  t.deepEqual(heard, ['heard']);
});
