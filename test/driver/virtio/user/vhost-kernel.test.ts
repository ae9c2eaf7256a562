/** virtio_user on a mock vhost-net: which requests, in which order, with what in them; queue pairs, filters, and a tap that is deleted. */
import { virtqueues } from '../../../support/virtio-port.js';
import test from 'ava';
import { deviceMac } from '../../../../driver/virtio/link.js';
import { has } from '../../../../driver/virtio/features.js';
import { RX_OFFLOAD_TCP_CKSUM, RX_OFFLOAD_TCP_LRO, TX_OFFLOAD_TCP_TSO } from '../../../../driver/port/types.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import { queueState, STARTED } from '../../../../paths/guest/queue.js';
import { splitLayout } from '../../../../paths/layout.js';
import { VHOST_FEATURES } from './support/mock-vhost-net.js';
import { kernelBench, openFds } from './support/kernel-port.js';

test('probe: one vhost-net file for each pair, then a tap with as many queues, of which packets come to the first only', (t) => {
  const { kernel, device, lines } = kernelBench(t);
  device(',queues=2,mac=02:00:00:00:00:07');
  t.deepEqual(kernel.calls, [
    'open /dev/net/tun',
    'tun TUNGETFEATURES',
    'close tun',
    ...['open /dev/vhost-net', 'vhost0 VHOST_SET_OWNER', 'vhost0 VHOST_GET_FEATURES'],
    ...['open /dev/vhost-net', 'vhost1 VHOST_SET_OWNER', 'vhost1 VHOST_GET_FEATURES'],
    ...['open /dev/net/tun', 'tun TUNSETIFF tap%d 0x5112', 'tap0/0 TUNGETIFF'],
    ...['open /dev/net/tun', 'tun TUNSETIFF tap0 0x5112', 'tap0/1 TUNGETIFF'],
    'tap0/1 TUNSETQUEUE detach',
  ]);
  t.false(kernel.taps[0]!.up);
  t.deepEqual(lines, ["info (/dev/vhost-net) the kernel's end is interface tap0"]);
});

test('DRIVER_OK: memory, rings, address, header size, send buffer, offloads, backends; then the interface, with up=1', (t) => {
  const { kernel, port, mempool } = kernelBench(t);
  const { port: p } = port(',mac=02:00:00:00:00:07,up=1');
  kernel.calls.length = 0;
  p.configure({ mempool });
  const features = (1n << 15n) | (1n << 28n) | (1n << 32n);
  const ring = (n: number) => [
    `vhost0 VHOST_SET_VRING_NUM ${n} 256`,
    `vhost0 VHOST_SET_VRING_BASE ${n} 0`,
    `vhost0 VHOST_SET_VRING_ADDR ${n}`,
    `vhost0 VHOST_SET_VRING_KICK ${n}`,
    `vhost0 VHOST_SET_VRING_CALL ${n}`,
  ];
  t.deepEqual(kernel.calls, [
    `vhost0 VHOST_SET_FEATURES 0x${features.toString(16)}`,
    'vhost0 VHOST_SET_MEM_TABLE 1',
    ...ring(0),
    ...ring(1),
    'tap0/0 SIOCSIFHWADDR 02:00:00:00:00:07',
    'tap0/0 TUNSETVNETHDRSZ 12',
    'tap0/0 TUNSETSNDBUF 2147483647',
    'tap0/0 TUNSETOFFLOAD 0',
    'vhost0 VHOST_NET_SET_BACKEND 0',
    'vhost0 VHOST_NET_SET_BACKEND 1',
    ...['tap0/0 TUNGETIFF', 'socket', 'socket SIOCGIFFLAGS tap0', 'socket SIOCSIFFLAGS tap0', 'close socket'],
  ]);
  t.true(kernel.taps[0]!.up);
});

test('what the kernel is told of memory and rings is where they are', (t) => {
  const { kernel, port, mempool, eal } = kernelBench(t);
  const { port: p } = port(',queue_size=512');
  p.configure({ mempool });
  const [vhost] = kernel.vhosts;
  const [run] = eal.dmaRuns;
  t.deepEqual(vhost!.memory, [
    { guest: run!.deviceAddress, size: BigInt(run!.byteLength), user: eal.userAddress(run!.offset) },
  ]);
  const layout = splitLayout(512);
  const { rx, tx } = virtqueues(p);
  [rx[0]!, tx[0]!].forEach((spec, i) => {
    const ring = vhost!.rings[i]!;
    t.is(ring.num, 512);
    t.is(ring.desc, eal.userAddress(spec.ringOff + layout.desc));
    t.is(ring.avail, eal.userAddress(spec.ringOff + layout.driver));
    t.is(ring.used, eal.userAddress(spec.ringOff + layout.device));
    t.deepEqual(spec.doorbell, { kind: 'eventfd', fd: ring.kick });
  });
  t.is(new Set(vhost!.rings.flatMap(({ kick, call }) => [kick, call])).size, 4);
});

test('a packed in-order device that may do anything gets a split ring, and the kernel is never asked for what it must not do', (t) => {
  const { kernel, port, mempool } = kernelBench(t, {
    vhostFeatures: VHOST_FEATURES | (1n << 35n) | (1n << 57n) | (1n << 60n),
  });
  const { port: p, device } = port(',packed_vq=1,queues=2,event_idx=1');
  p.configure({ mempool, rxQueues: 2, txQueues: 2 });
  const { acknowledged, refused } = p.path().features;
  t.true(has(acknowledged, F.VIRTIO_F_EVENT_IDX));
  t.false(has(acknowledged, F.VIRTIO_F_RING_PACKED));
  t.true(refused.some(({ what, why }) => what === 'VIRTIO_F_IOMMU_PLATFORM' && /memory table/.test(why)));
  t.true(refused.some(({ what, why }) => what === 'VIRTIO_F_IN_ORDER' && /leaves out used entries/.test(why)));
  const expected = (1n << 15n) | (1n << 28n) | (1n << 29n) | (1n << 32n);
  t.deepEqual(
    kernel.vhosts.map(({ features }) => features),
    [expected, expected],
  );
  const { bits } = device.readFeatures();
  for (const bit of [27n, 33n, 35n, 57n, 60n]) t.false(has(bits, 1n << bit), String(bit));
});

test('net headers are as long as the features make them', (t) => {
  const { kernel, port, mempool } = kernelBench(t, { vhostFeatures: VHOST_FEATURES & ~(1n << 32n) });
  const { port: p } = port(',mrg_rxbuf=0');
  p.configure({ mempool });
  t.is(kernel.taps[0]!.headerSize, 10);
});

for (const [what, rxOffloads, tun] of [
  ['checksums', RX_OFFLOAD_TCP_CKSUM, 1],
  ['large packets, too', RX_OFFLOAD_TCP_LRO, 7],
] as const) {
  test(`the tap leaves to us what was negotiated: ${what}; and no more after the next start`, (t) => {
    const { kernel, port, mempool } = kernelBench(t);
    const { port: p } = port();
    p.configure({ mempool, rxOffloads, txOffloads: TX_OFFLOAD_TCP_TSO });
    t.is(kernel.taps[0]!.offload, tun);
    t.is(kernel.vhosts[0]!.features & 0x1fffn, 0n);
    p.configure({ mempool });
    t.is(kernel.taps[0]!.offload, 0);
  });
}

test('without mac= the port has the address of the tap, which stays as it is', (t) => {
  const { kernel, port, mempool } = kernelBench(t);
  const { port: p, device } = port();
  t.is(p.mac, '02:FE:00:00:00:09');
  t.is(deviceMac(device, device.readFeatures().bits), '02:FE:00:00:00:09');
  p.configure({ mempool });
  t.false(kernel.calls.some((call) => call.includes('SIOCSIFHWADDR')));
});

test('a second initialisation sets neither address nor interface again: they are the user’s by then', (t) => {
  const { kernel, port, mempool } = kernelBench(t);
  const { port: p } = port(',mac=02:00:00:00:00:07,up=1');
  p.configure({ mempool });
  kernel.calls.length = 0;
  p.reset();
  t.true(kernel.calls.includes('vhost0 VHOST_NET_SET_BACKEND 1'));
  t.false(kernel.calls.some((call) => /SIOCSIFHWADDR|SIOCSIFFLAGS/.test(call)));
});

test('two pairs: the second gets packets when the port uses it, and none after', (t) => {
  const { kernel, port, mempool } = kernelBench(t);
  const { port: p } = port(',queues=2');
  const served = () => kernel.vhosts.map(({ rings }) => rings.map(({ backend }) => backend !== -1));
  p.configure({ mempool, rxQueues: 2, txQueues: 2 });
  t.deepEqual(served(), [
    [true, true],
    [false, false],
  ]);
  t.deepEqual(kernel.attached('tap0'), ['tap0/0']);
  p.start();
  t.deepEqual(served(), [
    [true, true],
    [true, true],
  ]);
  t.deepEqual(kernel.attached('tap0'), ['tap0/0', 'tap0/1']);
  const fds = kernel.vhosts.map(({ rings }) => rings[0].backend);
  t.not(fds[0], fds[1]);
  p.stop();
  p.configure({ mempool, rxQueues: 1, txQueues: 1 });
  p.start();
  t.deepEqual(served()[1], [false, false]);
  t.deepEqual(kernel.attached('tap0'), ['tap0/0']);
});

test('an existing tap without several queues: MQ is withheld, and says why', (t) => {
  const { port, mempool } = kernelBench(t, { taps: [{ name: 'mine', flags: 0x5802 }] });
  const { port: p } = port(',iface=mine,cq=1');
  p.configure({ mempool });
  const mq = p.path().features.refused.find(({ what }) => what === 'VIRTIO_NET_F_MQ');
  t.is(mq?.why, 'tap mine does not support multi queue');
});

test('the receive filter is the tap’s: open until somebody asks, own address and broadcast always get through', (t) => {
  const { kernel, port, mempool } = kernelBench(t);
  const { port: p } = port(',cq=1,mac=02:00:00:00:00:07');
  p.configure({ mempool });
  p.start();
  const [tap] = kernel.taps;
  t.deepEqual(tap!.filter, { flags: 0, addresses: [] });
  p.setPromiscuous(false);
  t.deepEqual(tap!.filter, { flags: 0, addresses: ['02:00:00:00:00:07', 'ff:ff:ff:ff:ff:ff'] });
  p.setAllmulticast(true);
  t.is(tap!.filter.flags, 1);
  p.setPromiscuous(true);
  t.deepEqual(tap!.filter.addresses, []);
  p.setPromiscuous(false);
  p.stop();
  p.reset();
  t.deepEqual(tap!.filter.addresses, ['02:00:00:00:00:07', 'ff:ff:ff:ff:ff:ff'], 'told again after the reset');
});

test('a filter that the kernel refuses is an error of the port, and the log says which', (t) => {
  const { kernel, port, mempool, lines } = kernelBench(t);
  const { port: p } = port(',cq=1');
  p.configure({ mempool });
  p.start();
  kernel.failures.set('TUNSETTXFILTER', { errno: 'EINVAL', after: 0 });
  t.throws(() => p.setPromiscuous(false), { code: 'EPEER' });
  t.true(
    lines.some((line) => /^error .*tap tap0 does not take the receive filter .*stay in promiscuous mode/.test(line)),
  );
});

test('the tap is deleted while packets flow: link down, removed, told once, bursts kept out, everything given back', (t) => {
  const { kernel, port, mempool, lines, eal } = kernelBench(t);
  const before = openFds();
  const { port: p, device, links } = port(',queues=2');
  let removed = 0;
  p.on('removed', () => removed++);
  p.configure({ mempool, rxQueues: 2, txQueues: 2 });
  p.start();
  t.true(p.link.up);
  const { rx } = virtqueues(p);
  kernel.deleteTap('tap0');
  t.false(p.link.up);
  t.deepEqual(links, [true, false]);
  t.is(removed, 1);
  t.false(device.connected);
  t.is(queueState(rx[0]!).words[STARTED], 0);
  t.deepEqual(kernel.leftovers, []);
  const told = lines.filter((line) => line.startsWith('error'));
  t.deepEqual(told, [
    'error port 0: device net_virtio_user0 lost its tap tap0, which was deleted: detach the port, and attach it again',
  ]);
  void p.link;
  p.stop();
  const error = t.throws(() => p.start(), { code: 'ESTATE' });
  t.regex(error.message, /lost its tap tap0, which was deleted: detach the port/);
  t.throws(() => p.configure({ mempool }), { code: 'ESTATE' });
  p.close();
  t.is(openFds(), before);
  t.deepEqual(eal.leaks(), []);
});

test('the tap is deleted between two looks: what is asked of it says so, and close() is safe', (t) => {
  const { kernel, port, mempool, lines } = kernelBench(t);
  const { port: p } = port(',queues=2');
  p.configure({ mempool, rxQueues: 2, txQueues: 2 });
  p.start();
  kernel.deleteTap('tap0');
  t.throws(() => p.setPromiscuous(false), { code: 'EPEER' });
  t.true(lines.some((line) => line.endsWith('tap tap0 was deleted: detach the port')));
  p.close();
  p.close();
  t.deepEqual(kernel.leftovers, []);
});

test('close before anything, and close twice', (t) => {
  const { kernel, device } = kernelBench(t);
  const before = openFds();
  const one = device();
  t.true(openFds() > before);
  one.close();
  one.close();
  t.is(openFds(), before);
  t.deepEqual(kernel.leftovers, []);
  t.is(one.poll(), undefined);
  t.is(kernel.taps.length, 0, 'the tap went with its last descriptor');
});

test('a persistent tap stays', (t) => {
  const { kernel, device } = kernelBench(t, { taps: [{ name: 'mine', flags: 0x5902 }] });
  const one = device(',iface=mine,queues=2');
  t.is(one.interfaceName, 'mine');
  one.close();
  t.deepEqual(
    kernel.taps.map(({ name }) => name),
    ['mine'],
  );
});

test('the kernel chooses the next free name', (t) => {
  const { device } = kernelBench(t, { taps: [{ name: 'tap0', flags: 0x5902 }] });
  t.is(device().interfaceName, 'tap1');
  t.is(device(',iface=exc%d').interfaceName, 'exc0');
});
