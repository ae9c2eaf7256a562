/** A modern virtio PCI device: registers, features, queues, notifications. The fake insists on the width of every access. */
import test from 'ava';
import * as F from '../../../../driver/wire/virtio-features.js';
import { MODERN_CAPS } from './support/mock-function.js';
import { FAKE_NET_OFFER } from './support/mock-virtio-net.js';
import { pciFixture } from './support/pci-fixture.js';

const FOUR_GIB = 0x1_0000_0000n;

test("found and initialised: the log in DPDK's words, every register in the order of the specification", (t) => {
  const { fn, lines, probe, init, eal } = pciFixture(t, { offered: FAKE_NET_OFFER & ~F.VIRTIO_NET_F_CTRL_VQ });
  const device = probe();
  t.deepEqual(lines, ['info: found modern virtio pci device.', 'info: modern virtio pci detected.']);
  t.is(device.driverName, 'net_virtio');
  t.is(device.maxQueuePairs, 1);
  t.is(fn.status, 0);

  fn.trace.length = 0;
  const { acknowledged } = init(device);
  t.is(acknowledged, FAKE_NET_OFFER & ~F.VIRTIO_NET_F_CTRL_VQ & ~F.VIRTIO_F_RING_PACKED);
  t.is(fn.driverFeatures, acknowledged);
  const queue = (index: number, ring: number) => [
    ...[`select=${index}`, `select=${index}`], // its size, then its set-up
    ...[`desclo=${ring}`, 'deschi=1', `availlo=${ring + 4096}`, 'availhi=1', `usedlo=${ring + 8192}`, 'usedhi=1'],
    'enable=1',
  ];
  t.deepEqual(fn.trace, [
    ...['status=0', 'status=1', 'status=3', 'dfselect=0', 'dfselect=1'],
    ...['gfselect=0', `gf=${Number(acknowledged & 0xffffffffn)}`, 'gfselect=1', 'gf=1', 'status=11'],
    `dma true ${eal.memory!.byteLength} 0x100000000`,
    ...queue(0, 0),
    ...queue(1, 12288),
    'status=15',
  ]);
});

test('features of both words are read and written', (t) => {
  const offered =
    FAKE_NET_OFFER | F.VIRTIO_NET_F_SPEED_DUPLEX | F.VIRTIO_NET_F_RSS | (1n << 40n) | F.VIRTIO_F_ORDER_PLATFORM;
  const { fn, probe } = pciFixture(t, { offered });
  const device = probe();
  t.is(device.readFeatures().bits, offered);
  const bits = F.VIRTIO_F_VERSION_1 | F.VIRTIO_NET_F_SPEED_DUPLEX | F.VIRTIO_NET_F_MAC;
  device.writeFeatures(bits);
  t.is(fn.driverFeatures, bits);
});

test('a device without VERSION_1 is refused', (t) => {
  const { fn, probe } = pciFixture(t, { offered: F.VIRTIO_NET_F_MAC });
  const error = t.throws(probe, { code: 'EPEER' });
  t.regex(error.message, /^Version 1\+ required with modern devices/);
  t.is(fn.closes, 1);
});

test('the configuration is read field by field, and reads as all ones behind its end', (t) => {
  const { probe } = pciFixture(t, { caps: MODERN_CAPS.map((cap) => (cap.type === 4 ? { ...cap, length: 12 } : cap)) });
  const device = probe();
  t.deepEqual([...device.readConfig(0, 6)], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
  t.deepEqual([...device.readConfig(4, 4)], [0x34, 0x56, 1, 0]);
  t.deepEqual([...device.readConfig(10, 6)], [0xdc, 0x05, 0xff, 0xff, 0xff, 0xff]);
});

test('a field of 4 bytes', (t) => {
  const { probe } = pciFixture(t);
  t.is(new DataView(probe().readConfig(12, 4).buffer).getUint32(0, true), 25000);
});

test('a configuration that changes for ever: a bounded number of attempts', (t) => {
  const { fn, probe } = pciFixture(t, { restless: true });
  const device = probe();
  const before = fn.accesses;
  const error = t.throws(() => device.readConfig(0, 6), { code: 'ETIMEOUT' });
  t.regex(error.message, /changed during each of 100 attempts/);
  t.true(fn.accesses - before < 1000);
});

test('only the configuration that there is can be written', (t) => {
  const { fn, probe } = pciFixture(t);
  const device = probe();
  device.writeConfig(0, Uint8Array.of(2, 0, 0, 0, 0, 9));
  t.deepEqual([...device.readConfig(0, 6)], [2, 0, 0, 0, 0, 9]);
  t.throws(() => device.writeConfig(0x0fff, Uint8Array.of(1, 2)), { code: 'ECONFIG' });
  t.is(fn.trace.filter((line) => line.startsWith('net@')).length, 6);
});

test('more than one queue pair: as many as the device says, has virtqueues for, and DPDK allows', (t) => {
  const offered = FAKE_NET_OFFER | F.VIRTIO_NET_F_MQ;
  const pairs = (maxPairs: number, queues: number) => {
    const { probe } = pciFixture(t, { offered, maxPairs, sizes: Array.from({ length: queues }, () => 256) });
    const device = probe();
    return { pairs: device.maxQueuePairs, offer: device.readFeatures() };
  };
  t.is(pairs(4, 9).pairs, 4);
  t.is(pairs(1, 3).pairs, 1);
  t.is(pairs(200, 401).pairs, 128);

  const few = pairs(8, 3);
  t.is(few.pairs, 1);
  t.is(few.offer.bits, offered & ~F.VIRTIO_NET_F_MQ);
  t.is(
    few.offer.withheld.get(F.VIRTIO_NET_F_MQ),
    'the device has fewer virtqueues than max_virtqueue_pairs, 8, calls for',
  );
  for (const impossible of [0, 0x8001]) {
    const { pairs: one, offer } = pairs(impossible, 9);
    t.is(one, 1);
    t.is(offer.withheld.get(F.VIRTIO_NET_F_MQ), `the device says max_virtqueue_pairs is ${impossible}`);
  }
});

test('virtqueues are counted while all features are acknowledged: a device may lay them out by features', (t) => {
  const { fn, probe } = pciFixture(t, {
    offered: FAKE_NET_OFFER | F.VIRTIO_NET_F_MQ,
    maxPairs: 2,
    sizes: [256, 256, 64, 0, 0],
  });
  // what QEMU does: 0, 1 and a control queue, until a driver takes MQ
  const { queues } = fn;
  const size = (index: number) => {
    if ((fn.driverFeatures & F.VIRTIO_NET_F_MQ) === 0n) return [256, 256, 64, 0, 0][index]!;
    return [256, 256, 256, 256, 64][index]!;
  };
  queues.forEach((queue, index) => Object.defineProperty(queue, 'size', { get: () => size(index) }));
  const device = probe();
  t.is(device.maxQueuePairs, 2);
  t.deepEqual(
    [0, 1, 2, 3, 4].map((index) => device.maxQueueSize(index)),
    [256, 256, 256, 256, 0],
  );
});

test('no virtqueue to send with: refused', (t) => {
  const { probe } = pciFixture(t, { sizes: [256, 0] });
  t.regex(t.throws(probe, { code: 'EPEER' }).message, /virtqueue does not exist/);
});

test('a virtqueue of 65535 descriptors: refused before any memory is taken for it', (t) => {
  const { probe } = pciFixture(t, { sizes: [65535, 256, 64] });
  t.regex(t.throws(probe, { code: 'EPEER' }).message, /virtqueue 0 has 65535 descriptors, more than the 32768/);
});

test("a split virtqueue of 3 descriptors: refused in DPDK's words; a packed one is fine", (t) => {
  const split = pciFixture(t, { sizes: [3, 256, 64] });
  const error = t.throws(() => split.init(split.probe()), { code: 'EPEER' });
  t.regex(error.message, /split virtqueue size is not power of 2: virtqueue 0 has 3 descriptors/);
  t.is(split.fn.status & F.STATUS_FAILED, F.STATUS_FAILED);
  const packed = pciFixture(t, { sizes: [3, 256, 64] });
  t.notThrows(() => packed.init(packed.probe(), { packed: true }));
});

test('a device that changes the size of a queue: not beyond the ring that was made for it', (t) => {
  const { fn, probe, init } = pciFixture(t);
  const device = probe();
  fn.queues[0]!.size = 1024;
  const rings = [0, 1].map((index) => ({ index, size: 256, desc: 0, driver: 0, device: 0, base: 0 }));
  const error = t.throws(() => init(device, { rings }), { code: 'EPEER' });
  t.regex(error.message, /virtqueue 0 has 1024 descriptors now, its ring 256/);
});

test('a queue that is not enabled when told to be', (t) => {
  const { probe, init } = pciFixture(t, { neverEnables: true });
  t.regex(t.throws(() => init(probe()), { code: 'EPEER' }).message, /did not enable virtqueue/);
});

test('addresses above 4 GiB are written in halves', (t) => {
  const { fn, probe, init, eal } = pciFixture(t);
  init(probe());
  const [low, high] = fn.queues[1]!.words;
  t.is(BigInt(low!) | (BigInt(high!) << 32n), eal.deviceAddress(0) + 4096n * 3n);
  t.true(eal.deviceAddress(0) >= FOUR_GIB);
});

test('notifications: the queue number, 2 bytes, at queue_notify_off times the multiplier', (t) => {
  const { fn, probe, init } = pciFixture(t, { notifyOff: (index) => 10 - index });
  const device = probe();
  init(device);
  fn.trace.length = 0;
  device.notify(1);
  t.deepEqual(fn.trace, ['select=1', 'notify@24=1']);
  t.deepEqual(device.doorbell(1, fn.driverFeatures), { kind: 'none' });
  t.deepEqual(fn.doorbells, [{ offset: 0x3024, virtqueue: 1, notificationData: false }]);
});

test('multiplier 0: one register for all queues; page-per-vq: one page each', (t) => {
  for (const [multiplier, offset] of [
    [0, 0x3000],
    [0x400, 0x3400],
  ] as const) {
    const caps = MODERN_CAPS.map((cap) => (cap.type === 2 ? { ...cap, multiplier } : cap));
    const { fn, probe } = pciFixture(t, { caps });
    probe().doorbell(1, 0n);
    t.is(fn.doorbells[0]!.offset, offset);
  }
});

test('a notification register outside its structure is never stored to', (t) => {
  for (const off of [1024, 1025, 0xfffe]) {
    const { fn, probe, init } = pciFixture(t, { notifyOff: (index) => (index === 0 ? off : index) });
    const device = probe();
    const error = t.throws(() => device.doorbell(0, 0n), { code: 'EPEER' });
    t.regex(error.message, /places the notification register of virtqueue 0 at byte \d+, where/);
    t.is(fn.doorbells.length, 0);
    init(device);
    t.throws(() => device.notify(0), { code: 'EPEER' });
  }
});

test('NOTIFICATION_DATA: 4 bytes, which say where the driver is', (t) => {
  const { fn, probe, init, eal } = pciFixture(t, { offered: FAKE_NET_OFFER | F.VIRTIO_F_NOTIFICATION_DATA });
  const device = probe();
  init(device, { packed: true });
  fn.doorbells.length = 0;
  device.doorbell(1, fn.driverFeatures);
  t.deepEqual(fn.doorbells, [{ offset: 0x3004, virtqueue: 1, notificationData: true }]);
  const notified: number[] = [];
  fn.onNotify = (_, value) => notified.push(value);
  device.notify(1);
  t.deepEqual(notified, [1 + 0x8000 * 0x10000]);
  t.truthy(eal.memory);
});

test('NOTIFICATION_DATA on a bus that has no such doorbells: not offered on, and why', (t) => {
  const offered = FAKE_NET_OFFER | F.VIRTIO_F_NOTIFICATION_DATA;
  const { probe } = pciFixture(t, { offered, noNotificationData: true });
  const { bits, withheld } = probe().readFeatures();
  t.is(bits, FAKE_NET_OFFER);
  t.is(withheld.get(F.VIRTIO_F_NOTIFICATION_DATA), 'this bus has no 4-byte doorbells');
});
