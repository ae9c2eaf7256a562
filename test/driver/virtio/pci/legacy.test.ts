/** A legacy virtio PCI device: the fixed layout in I/O BAR 0, with MSI-X on and off. */
import test from 'ava';
import { LegacyRegisters } from '../../../../driver/virtio/pci/legacy.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import { splitLayout } from '../../../../paths/layout.js';
import { FakeFunction, MODERN_CAPS, MSIX_AT } from './support/mock-function.js';
import { FAKE_NET_OFFER } from './support/mock-virtio-net.js';
import { pciFixture } from './support/pci-fixture.js';

const LEGACY = {
  legacy: true,
  modern: false,
  offered: FAKE_NET_OFFER & 0xffffffffn & ~F.VIRTIO_NET_F_CTRL_VQ,
} as const;

test("a device without capabilities: the log in DPDK's words, 32 bits of features, page numbers", (t) => {
  const { fn, lines, probe, init, eal } = pciFixture(t, LEGACY);
  const device = probe();
  t.deepEqual(lines, ['info: no modern virtio pci device found.', 'info: trying with legacy virtio pci.']);
  t.is(device.supported >> 32n, 0n);
  fn.trace.length = 0;
  const { acknowledged } = init(device);
  t.is(acknowledged, LEGACY.offered);
  const page = Number(eal.deviceAddress(0) >> 12n);
  t.deepEqual(fn.trace, [
    ...['status=0', 'status=1', 'status=3', `features=${Number(acknowledged)}`],
    `dma true ${eal.memory!.byteLength} 0x100000000`,
    ...['select=0', 'select=0', `pfn=${page}`, 'select=1', 'select=1', `pfn=${page + 3}`],
    'status=7',
  ]);
});

test('a transitional device is used through its modern interface; through the legacy one when a capability is bad', (t) => {
  const good = pciFixture(t, { legacy: true });
  good.probe();
  t.deepEqual(good.lines, ['info: found modern virtio pci device.', 'info: modern virtio pci detected.']);

  const caps = MODERN_CAPS.map((cap) => (cap.type === 3 ? { ...cap, bar: 2 } : cap));
  const bad = pciFixture(t, { legacy: true, caps });
  bad.probe();
  t.deepEqual(bad.lines, [
    'warning: 0000:00:03.0: ISR status capability at 0x5c: bar 2 base addr is NULL',
    'info: no modern virtio pci device found.',
    'info: trying with legacy virtio pci.',
  ]);
});

test('neither interface: one sentence with every reason', (t) => {
  const caps = MODERN_CAPS.map((cap) => (cap.type === 1 ? { ...cap, bar: 6 } : cap));
  const modernOnly = pciFixture(t, { caps });
  t.is(
    t.throws(modernOnly.probe, { code: 'EPEER' }).message,
    '0000:00:03.0 has no modern interface (missing: common configuration; common configuration capability at 0x4c: invalid bar: 6) and no legacy one (1af4:1041 never has one): it cannot be driven',
  );
  t.is(modernOnly.fn.closes, 1);

  const noBar = pciFixture(t, { modern: false, deviceId: 0x1000 });
  t.regex(t.throws(noBar.probe, { code: 'EPEER' }).message, /its BAR 0 is not an I\/O BAR of 30 bytes or more/);
  const shortBar = pciFixture(t, { ...LEGACY, barLength: 20 });
  t.throws(shortBar.probe, { code: 'EPEER' });
});

test('other devices are refused by their ids', (t) => {
  const { fn, probe } = pciFixture(t, { deviceId: 0x1042 });
  t.is(
    t.throws(probe, { code: 'ECONFIG' }).message,
    '0000:00:03.0 is 1af4:1042; expected a virtio-net device, 1af4:1000 or 1af4:1041',
  );
  t.is(fn.closes, 1);
});

test('features above bit 31 cannot be written', (t) => {
  const { probe } = pciFixture(t, LEGACY);
  const device = probe();
  const error = t.throws(() => device.writeFeatures(F.VIRTIO_F_VERSION_1), { code: 'ECONFIG' });
  t.is(error.message, 'only 32 bit features are allowed for legacy virtio!');
});

test('the configuration moves from 20 to 24 and back as MSI-X is switched', (t) => {
  const { fn, probe, init } = pciFixture(t, LEGACY);
  const device = probe();
  const mac = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
  t.deepEqual([...device.readConfig(0, 6)], mac);
  device.setInterrupts!(1);
  t.deepEqual([...device.readConfig(0, 6)], mac);
  device.writeConfig(5, Uint8Array.of(0x57));
  t.is(fn.net.getUint8(5), 0x57);
  init(device);
  t.is(fn.configVector, 0);
  t.deepEqual(
    fn.queues.map(({ vector }) => vector),
    [1, 0xffff, 0xffff],
  );
  fn.setVectors([]);
  t.deepEqual([...device.readConfig(0, 6)], [...mac.slice(0, 5), 0x57]);
});

test('MSI-X that somebody left switched on moves the configuration, too', (t) => {
  const { fn, probe } = pciFixture(t, LEGACY);
  fn.config.setUint16(MSIX_AT + 2, 0x8003, true);
  t.deepEqual([...probe().readConfig(0, 6)], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
});

test('a configuration that never reads the same twice: a bounded number of attempts', (t) => {
  const { probe } = pciFixture(t, { ...LEGACY, restless: true });
  const device = probe();
  t.regex(t.throws(() => device.readConfig(0, 6), { code: 'ETIMEOUT' }).message, /100 attempts/);
});

test('a configuration that changes once while it is read', (t) => {
  const { fn, probe } = pciFixture(t, LEGACY);
  const device = probe();
  const { net } = fn;
  let reads = 0;
  const original = net.getUint8.bind(net);
  net.getUint8 = (at: number) => {
    if (reads++ === 3) for (let i = 0; i < 6; i++) net.setUint8(i, 0xaa);
    return original(at);
  };
  t.deepEqual([...device.readConfig(0, 6)], [0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa]);
});

test('reading the interrupt status clears it: one change is reported once', (t) => {
  const { fn, probe, init } = pciFixture(t, LEGACY);
  const device = probe();
  init(device);
  fn.changeConfig((net) => net.setUint16(6, 0, true));
  t.is(device.poll(), 'config');
  t.is(device.poll(), undefined);
});

test('notifications are 2 bytes at offset 16', (t) => {
  const { fn, probe, init } = pciFixture(t, LEGACY);
  const device = probe();
  init(device);
  fn.trace.length = 0;
  device.notify(1);
  t.deepEqual(fn.trace, ['notify=1']);
  device.doorbell(1, fn.driverFeatures);
  t.deepEqual(fn.doorbells, [{ offset: 16, virtqueue: 1, notificationData: false }]);
});

test('a ring must be in one piece, at a page, and below 16 TB', (t) => {
  const fn = new FakeFunction(LEGACY);
  const registers = new LegacyRegisters(fn, fn.bar(0)!, undefined);
  const { driver, device, byteLength } = splitLayout(256);
  const queue = (desc: bigint, gap = 0n) => ({
    index: 0,
    size: 256,
    desc,
    driver: desc + BigInt(driver),
    device: desc + BigInt(device) + gap,
  });
  const top = 1n << 44n;
  const last = top - 4096n * BigInt(Math.ceil(byteLength / 4096));
  registers.setupQueue(queue(last));
  t.is(BigInt(fn.queues[0]!.pfn), last >> 12n);
  t.is(
    t.throws(() => registers.setupQueue(queue(last + 4096n)), { code: 'EMEMORY' }).message,
    "vring address shouldn't be above 16TB!",
  );
  t.throws(() => registers.setupQueue(queue(top)), { code: 'EMEMORY' });
  t.regex(t.throws(() => registers.setupQueue(queue(0x10000n, 4096n)), { code: 'EMEMORY' }).message, /not contiguous/);
  t.throws(() => registers.setupQueue(queue(0x10010n)), { code: 'EMEMORY' });
});
