/** Functions bound to vfio-pci, on a kernel that the tests make up (support/fake-vfio.ts). */
import test, { type ExecutionContext } from 'ava';
import { signalFd } from '../../../../native/event.js';
import { viewsOf } from '../../../../native/region.js';
import { openPciFunction } from '../../../../driver/virtio/pci/open.js';
import { Vfio } from '../../../../driver/virtio/pci/vfio/group.js';
import { ERR, FakeVfio, INTX, MSIX, REQ, type FakeVfioOptions } from './support/mock-vfio.js';
import { configSpace, pciTree } from './support/pci-tree.js';

const ADDRESS = '0000:00:03.0';
const COMMAND = 4;
const PAGE = 4096;
const SPARSE_MMAP = 1;
const MSIX_MAPPABLE = 3;
const IOVA_RANGE = 1;
const NOIOMMU = 8;

/** A transitional device: I/O ports in BAR 0, MSI-X in BAR 1, the rest in BAR 4. */
const DEVICE: FakeVfioOptions = {
  config: new Uint8Array(0),
  groups: ['7'],
  regions: {
    0: { byteLength: 32, mappable: false },
    1: { byteLength: PAGE, caps: [{ id: MSIX_MAPPABLE }] },
    4: { byteLength: 4 * PAGE },
  },
  irqs: { [INTX]: 1, [MSIX]: 4, [ERR]: 1, [REQ]: 1 },
  iommuCaps: [
    { id: 3, body: [65535] },
    { id: IOVA_RANGE, body: [2, 0, 0x0n, 0xfedfffffn, 0xfef00000n, 0x7fffffffffn] },
  ],
};

function kernel(t: ExecutionContext, change: Partial<FakeVfioOptions> = {}, addresses = [ADDRESS], groups = ['7']) {
  const functions = addresses.map((address, i) => ({ address, driver: 'vfio-pci', group: groups[i]! }));
  const config = configSpace([1, 0, 0, 0, 0xc], { bar: 1, offset: 0, vectors: 4 });
  config[COMMAND + 1] = 4; // the line interrupt is disabled
  const fake = new FakeVfio(t, pciTree(t, functions), { ...DEVICE, config, ...change });
  const vfio = new Vfio(fake);
  const lines: string[] = [];
  const open = (address = ADDRESS) => {
    const fn = openPciFunction(address, (_level, line) => lines.push(line), vfio);
    t.teardown(() => fn.close());
    return fn;
  };
  return { fake, open, lines, config };
}

test('container, group, IOMMU, device, reset: in this order', (t) => {
  const { fake, open, config } = kernel(t);
  const fn = open();
  t.deepEqual(fake.calls.slice(0, 13), [
    'open /dev/vfio/7',
    'VFIO_GROUP_GET_STATUS',
    'open /dev/vfio/vfio',
    'VFIO_GET_API_VERSION',
    'VFIO_GROUP_SET_CONTAINER',
    'VFIO_CHECK_EXTENSION',
    'VFIO_SET_IOMMU',
    'VFIO_GROUP_GET_DEVICE_FD',
    'VFIO_IOMMU_GET_INFO',
    'VFIO_IOMMU_GET_INFO', // its capabilities did not fit
    'VFIO_DEVICE_GET_INFO',
    'VFIO_DEVICE_GET_REGION_INFO',
    'VFIO_DEVICE_RESET',
  ]);
  t.is(new DataView(config.buffer).getUint16(COMMAND, true), 7);
  t.deepEqual([fn.bus, fn.name, fn.vectors, fn.present], ['vfio', ADDRESS, 4, true]);
  t.deepEqual(fn.addressing, {
    kind: 'iova',
    ranges: [
      [0n, 0xfedfffffn],
      [0xfef00000n, 0x7fffffffffn],
    ],
  });
});

test('bus mastering is off after close(), and nothing is left open', (t) => {
  const { fake, open, config } = kernel(t);
  const fn = open();
  fn.bar(0);
  fn.bar(4);
  fn.mapDma(0x7f00_0000_0000n, 1 << 21, 0x1_0000_0000n);
  fn.setVectors([]);
  fn.lineInterrupt();
  fn.close();
  t.deepEqual(fake.leftovers, []);
  t.is(new DataView(config.buffer).getUint16(COMMAND, true), 3);
  fn.close();
  t.false(fn.present);
  t.is(fn.readConfig(0, 2), 0xffff);
});

test('an IOMMU of the first version only; one that tells no ranges gets 39 bits without the interrupts’ addresses', (t) => {
  const { open, fake } = kernel(t, { extensions: [1], iommuCaps: [] });
  t.deepEqual(open().addressing, {
    kind: 'iova',
    ranges: [
      [0n, 0xfedfffffn],
      [0xfef00000n, 0x7fffffffffn],
    ],
  });
  t.is(fake.calls.filter((call) => call === 'VFIO_CHECK_EXTENSION').length, 2);
});

test('no-IOMMU mode: the other device node, physical addresses, and nothing to map', (t) => {
  const { open, fake } = kernel(t, { groups: ['noiommu-7'], extensions: [NOIOMMU] });
  const fn = open();
  t.is(fn.bus, 'vfio-noiommu');
  t.deepEqual(fn.addressing, { kind: 'physical' });
  fn.mapDma(0n, PAGE, 0n);
  t.is(fake.dma.size, 0);
  t.false(fake.calls.includes('VFIO_IOMMU_GET_INFO'), 'there is none to ask');
});

// ---- registers -----------------------------------------------------------------------------------------------------------

test('a memory BAR is mapped: one access of the width, and a doorbell in the mapping', (t) => {
  const { open, fake } = kernel(t);
  const bar = open().bar(4)!;
  t.deepEqual([bar.kind, bar.byteLength], ['memory', 4 * PAGE]);
  fake.accesses.length = 0;
  bar.write(0x1000, 4, 0xffffffff);
  bar.write(0x1002, 1, 0x12);
  t.is(bar.read(0x1000, 4), 0xff12ffff);
  t.is(bar.read(0x1002, 2), 0xff12);
  t.is(bar.read(0x1002, 1), 0x12);
  t.deepEqual(fake.accesses, []);
  const doorbell = bar.doorbell(0x3004, 1, false);
  if (doorbell.kind !== 'mmio') return t.fail(doorbell.kind);
  viewsOf(doorbell.mapping).u16[doorbell.offset / 2] = 0xbeef;
  t.is(bar.read(0x3004, 2), 0xbeef);
  t.is(doorbell.value, 1);
});

test('an I/O BAR: reads and writes of the device’s file, doorbell included', (t) => {
  const { open, fake } = kernel(t);
  const bar = open().bar(0)!;
  t.deepEqual([bar.kind, bar.byteLength], ['io', 32]);
  fake.accesses.length = 0;
  bar.write(18, 1, 7);
  t.is(bar.read(18, 1), 7);
  t.deepEqual(fake.accesses, ['write 1 at 0:18', 'read 1 at 0:18']);
  t.like(bar.doorbell(16, 3, false), { kind: 'port', offset: 16, value: 3 });
  t.throws(() => bar.doorbell(16, 3, true), { code: 'ECONFIG' });
});

test('what cannot be mapped is read and written through the file; its doorbell too', (t) => {
  const areas = [2, 0, BigInt(3 * PAGE), BigInt(PAGE), 0n, BigInt(PAGE)];
  const caps = [
    { id: 99, body: [1, 2, 3] },
    { id: SPARSE_MMAP, body: areas },
  ];
  const { open, fake } = kernel(t, { regions: { 4: { byteLength: 4 * PAGE, caps } } });
  const bar = open().bar(4)!;
  t.deepEqual(
    fake.calls.filter((call) => call.startsWith('map')),
    ['map 4: 0 to 4096', 'map 4: 12288 to 16384'],
  );
  fake.bytes(4).set([1, 2, 3, 4], PAGE);
  fake.accesses.length = 0;
  t.is(bar.read(PAGE, 4), 0x04030201);
  bar.write(PAGE - 4, 4, 5);
  bar.write(3 * PAGE, 4, 6);
  t.deepEqual(fake.accesses, [`read 4 at 4:${PAGE}`]);
  t.deepEqual([fake.bytes(4)[PAGE - 4], fake.bytes(4)[3 * PAGE]], [5, 6]);
  t.like(bar.doorbell(3 * PAGE + 4, 1, false), { kind: 'mmio', offset: 4 });
  t.like(bar.doorbell(PAGE + 4, 1, false), { kind: 'port', value: 1 });
});

test('the table of MSI-X is mapped only where vfio says so; the pages around it always', (t) => {
  const maps = (caps: { id: number }[]) => {
    const { open, fake } = kernel(t, {
      config: configSpace([0, 0, 0, 0, 0xc], { bar: 4, offset: PAGE + 64, vectors: 4 }),
      regions: { 4: { byteLength: 4 * PAGE, caps } },
    });
    t.truthy(open().bar(4));
    return fake.calls.filter((call) => call.startsWith('map'));
  };
  t.deepEqual(maps([]), ['map 4: 0 to 4096', 'map 4: 8192 to 16384']);
  t.deepEqual(maps([{ id: MSIX_MAPPABLE }]), ['map 4: 0 to 16384']);
});

test('areas that are not whole pages, or lie outside of the BAR, are not mapped', (t) => {
  const areas = [
    4,
    0,
    512n,
    BigInt(PAGE),
    0n,
    100n,
    BigInt(8 * PAGE),
    BigInt(PAGE),
    BigInt(3 * PAGE),
    BigInt(9 * PAGE),
  ];
  const caps = [{ id: SPARSE_MMAP, body: areas }];
  const { open, fake } = kernel(t, { regions: { 4: { byteLength: 4 * PAGE, caps } } });
  t.truthy(open().bar(4));
  t.deepEqual(
    fake.calls.filter((call) => call.startsWith('map')),
    ['map 4: 12288 to 16384'],
  );
});

test('a BAR that cannot be mapped after all: the error says so, and the rest can be closed', (t) => {
  const { open, fake } = kernel(t);
  const fn = open();
  fake.failures.set('map', 'EAGAIN');
  t.throws(() => fn.bar(4), { code: 'ESYSTEM', message: /^map: would block \[EAGAIN\]/ });
  t.truthy(fn.bar(4), 'another attempt');
  fn.close();
  t.deepEqual(fake.leftovers, []);
});

test('BARs that are not there', (t) => {
  const fn = kernel(t).open();
  for (const index of [2, 5, 6, -1, 7]) t.is(fn.bar(index), undefined);
});

// ---- answers that make no sense --------------------------------------------------------------------------------------------

const hostile: Record<string, NonNullable<FakeVfioOptions['regions']>[number]> = {
  'an answer that gets longer each time': { byteLength: PAGE, argsz: (asked) => asked + 8 },
  'an answer of gigabytes': { byteLength: PAGE, argsz: () => 0xffffffff },
  'capabilities in a circle': { byteLength: PAGE, caps: [{ id: 9, next: 32 }] },
  'capabilities in a circle of two': { byteLength: PAGE, caps: [{ id: 9 }, { id: 10, next: 32 }] },
  'a capability behind the end': { byteLength: PAGE, caps: [{ id: 9, next: 4000 }] },
  'a capability that does not fit in': { byteLength: PAGE, caps: [{ id: 9, next: 36 }] },
  'more areas than there is room for': { byteLength: PAGE, caps: [{ id: SPARSE_MMAP, body: [1000, 0, 0n, 4096n] }] },
  'areas beyond what numbers hold': { byteLength: PAGE, caps: [{ id: SPARSE_MMAP, body: [1, 0, 1n << 62n, 1n] }] },
  'a list of areas that is cut off': { byteLength: PAGE, caps: [{ id: SPARSE_MMAP }] },
};

for (const [title, region] of Object.entries(hostile)) {
  test(`vfio answers with ${title}`, (t) => {
    const { open, fake } = kernel(t, { regions: { 4: region } });
    const fn = open();
    t.throws(() => fn.bar(4), { code: 'EPEER', message: /^vfio's answer contradicts itself \(.*linux\/vfio\.h$/ });
    fn.close();
    t.deepEqual(fake.leftovers, []);
  });
}

test('ranges of addresses that do not fit into their answer', (t) => {
  for (const body of [[1 << 20, 0, 0n, 1n], []]) {
    const { open, fake } = kernel(t, { iommuCaps: [{ id: IOVA_RANGE, body }] });
    t.throws(() => open(), { code: 'EPEER' });
    t.deepEqual(fake.leftovers, []);
  }
});

// ---- interrupts --------------------------------------------------------------------------------------------------------------

test('MSI-X: eventfds by vector, another number of them, none', (t) => {
  const { open, fake } = kernel(t);
  const fn = open();
  fn.setVectors([40, -1, 41]);
  t.deepEqual(fake.irqFds(MSIX), [40, -1, 41]);
  fn.setVectors([50, 51, 52, 53]);
  t.deepEqual(fake.irqFds(MSIX), [50, 51, 52, 53]);
  fn.setVectors([]);
  fn.setVectors([]);
  t.deepEqual(fake.irqFds(MSIX), []);
});

test('more vectors than the device has, or than the kernel can give', (t) => {
  const fn = kernel(t).open();
  t.throws(() => fn.setVectors([1, 2, 3, 4, 5]), {
    code: 'ECONFIG',
    message:
      /^0000:00:03\.0: 5 interrupt vectors are needed, 4 are available: use fewer queues, or give the device more/,
  });
  const poor = kernel(t, { vectorsToGive: 2 }).open();
  t.throws(() => poor.setVectors([1, 2, 3]), {
    code: 'ECONFIG',
    message: /3 interrupt vectors are needed, 2 are available/,
  });
  poor.setVectors([1, 2]);
  t.pass();
});

test('the line interrupt: seen once, unmasked, and gone while MSI-X is on', (t) => {
  const { open, fake } = kernel(t);
  const fn = open();
  t.false(fn.lineInterrupt());
  const [fd] = fake.irqFds(INTX);
  signalFd(fd!);
  t.true(fn.lineInterrupt());
  t.is(fake.unmasked, 1);
  t.false(fn.lineInterrupt());
  fn.setVectors([40]);
  t.deepEqual(fake.irqFds(INTX), []);
  t.false(fn.lineInterrupt());
  fn.setVectors([]);
  t.false(fn.lineInterrupt());
  t.is(fake.irqFds(INTX).length, 1);
});

test('a device without any interrupt', (t) => {
  const { open, fake } = kernel(t, { irqs: {} });
  const fn = open();
  t.is(fn.vectors, 0);
  t.false(fn.lineInterrupt());
  t.true(fn.present);
  t.throws(() => fn.setVectors([1]), { code: 'ECONFIG' });
  t.false(fake.calls.includes('VFIO_DEVICE_SET_IRQS'));
});

test('a pin that leads nowhere counts as no interrupt', (t) => {
  const { open, fake } = kernel(t, { irqs: { [INTX]: 1 } });
  const fn = open();
  fake.failures.set('VFIO_DEVICE_SET_IRQS', 'ENODEV');
  t.false(fn.lineInterrupt());
  t.false(fn.lineInterrupt());
  fn.close();
  t.deepEqual(fake.leftovers, []);
});

test('the kernel wants the device back: not present any more, logged once', (t) => {
  const { open, fake, lines } = kernel(t);
  const fn = open();
  signalFd(fake.irqFds(REQ)[0]!);
  t.false(fn.present);
  t.false(fn.present);
  t.deepEqual(lines, [`${ADDRESS}: the kernel wants the device back: it is being unplugged, or unbound from vfio-pci`]);
});

test('a device that is wanted back is given back, while other threads may still ring its doorbells', (t) => {
  const { open, fake, config } = kernel(t);
  const fn = open();
  const [io, memory] = [fn.bar(0)!, fn.bar(4)!];
  fn.mapDma(0x7f00_0000_0000n, 1 << 21, 0x1_0000_0000n);
  fn.setVectors([40, 41]);
  signalFd(fake.irqFds(REQ)[0]!);
  t.false(fn.present);
  t.deepEqual(fake.leftovers, ['nothing', 'mapping'], 'neither device, nor group, nor container');
  t.true(fake.calls.includes('hollow out a mapping'));
  t.is(new DataView(config.buffer).getUint16(COMMAND, true), 3);
  memory.write(0x3000, 2, 1);
  io.write(16, 2, 1);
  fn.writeConfig(COMMAND, 2, 7);
  t.deepEqual([memory.read(0x3000, 2), io.read(16, 2), fn.readConfig(0, 4)], [0xffff, 0xffff, 0xffffffff]);
  t.deepEqual([fn.bar(1), fn.lineInterrupt(), fn.setVectors([])], [undefined, false, undefined]);
  t.throws(() => fn.mapDma(0n, 4096, 0n), { code: 'EPEER', message: /the device is gone: detach it$/ });
  const again = open();
  t.true(again.present, 'plugged in again, before the old one is closed');
  fn.close();
  t.true(again.present);
  again.close();
  t.deepEqual(fake.leftovers, []);
});

test('an error on the bus is the end of the device too', (t) => {
  const { open, fake, lines } = kernel(t);
  const fn = open();
  signalFd(fake.irqFds(ERR)[0]!);
  t.false(fn.present);
  t.deepEqual(lines, [`${ADDRESS}: the bus reports an error of the device that cannot be put right`]);
});

test('a device that is gone reads all ones, and can be closed', (t) => {
  const { open, fake } = kernel(t);
  const fn = open();
  const bar = fn.bar(0)!;
  fake.unplugged = true;
  t.deepEqual([fn.readConfig(0, 4), bar.read(0, 2), bar.read(1, 1)], [0xffffffff, 0xffff, 0xff]);
  bar.write(18, 1, 0);
  fn.close();
  t.deepEqual(fake.leftovers, []);
});
