/** Several devices in one process, and what goes wrong on the way to one; on a mock kernel (support/fake-vfio.ts). */
import test, { type ExecutionContext } from 'ava';
import { isVirtioPmdError } from '../../../../native/errors.js';
import { openPciFunction } from '../../../../driver/virtio/pci/open.js';
import type { VfioRequest } from '../../../../driver/virtio/pci/system.js';
import { Vfio } from '../../../../driver/virtio/pci/vfio/group.js';
import { FakeVfio, type FakeVfioOptions } from './support/mock-vfio.js';
import { addPci, configSpace, pciTree } from './support/pci-tree.js';

const FIRST = '0000:00:03.0';
const SECOND = '0000:00:04.0';
const HUGEPAGE = 2 << 20;
const BASE = 0x1_0000_0000n;
const VADDR = 0x7f00_0000_0000n;

function kernel(t: ExecutionContext, groups: [string, string], change: Partial<FakeVfioOptions> = {}) {
  const root = pciTree(t, [
    { address: FIRST, driver: 'vfio-pci', group: groups[0] },
    { address: SECOND, driver: 'vfio-pci', group: groups[1] },
  ]);
  const fake = new FakeVfio(t, root, { config: configSpace(), groups: ['7', '8'], irqs: { 2: 2, 4: 1 }, ...change });
  const vfio = new Vfio(fake);
  const open = (address: string) => {
    const fn = openPciFunction(address, () => {}, vfio);
    t.teardown(() => fn.close());
    return fn;
  };
  return { root, fake, open };
}

const count = (fake: FakeVfio, call: string) => fake.calls.filter((other) => other === call).length;

test('two groups share a container, and memory is mapped once for both', (t) => {
  const { fake, open } = kernel(t, ['7', '8']);
  const [a, b] = [open(FIRST), open(SECOND)];
  t.is(count(fake, 'open /dev/vfio/vfio'), 1);
  t.is(count(fake, 'VFIO_SET_IOMMU'), 1);
  for (const fn of [a, b]) fn.mapDma(VADDR, HUGEPAGE, BASE);
  t.deepEqual([...fake.dma], [[BASE, { vaddr: VADDR, size: BigInt(HUGEPAGE) }]]);
  a.close();
  t.is(fake.dma.size, 1, 'the other still uses it');
  t.deepEqual(fake.leftovers, ['container', 'group', 'device', 'eventfd', 'DMA']);
  b.close();
  t.deepEqual(fake.leftovers, []);
});

test('the container is made anew when all devices have been closed', (t) => {
  const { fake, open } = kernel(t, ['7', '8']);
  for (let i = 0; i < 3; i++) {
    const fn = open(FIRST);
    fn.mapDma(VADDR, HUGEPAGE, BASE);
    fn.close();
  }
  t.is(count(fake, 'open /dev/vfio/vfio'), 3);
  t.deepEqual(fake.leftovers, []);
});

test('two devices of one group: the group is opened once', (t) => {
  const { fake, open } = kernel(t, ['7', '7']);
  const [a, b] = [open(FIRST), open(SECOND)];
  t.is(count(fake, 'open /dev/vfio/7'), 1);
  b.close();
  t.true(a.present);
  a.close();
  t.deepEqual(fake.leftovers, []);
});

test('a device is attached once', (t) => {
  const { fake, open } = kernel(t, ['7', '8']);
  const fn = open(FIRST);
  t.throws(() => open(FIRST), { code: 'ESTATE', message: `${FIRST} is attached already: detach it first` });
  t.true(fn.present);
  fn.close();
  t.deepEqual(fake.leftovers, []);
  t.true(open(FIRST).present);
});

test('a device behind an IOMMU and one without do not share a container', (t) => {
  const { fake, open } = kernel(t, ['7', '9'], { groups: ['7', 'noiommu-9'], extensions: [3, 8] });
  t.deepEqual([open(FIRST).bus, open(SECOND).bus], ['vfio', 'vfio-noiommu']);
  t.is(count(fake, 'open /dev/vfio/vfio'), 2);
});

test('other memory, or the same at another address, is mapped beside it', (t) => {
  const { fake, open } = kernel(t, ['7', '8']);
  const fn = open(FIRST);
  fn.mapDma(VADDR, HUGEPAGE, BASE);
  fn.mapDma(VADDR + BigInt(HUGEPAGE), HUGEPAGE, BASE + BigInt(HUGEPAGE));
  t.is(fake.dma.size, 2);
  t.throws(() => fn.mapDma(VADDR, 4096, BASE), { code: 'EMEMORY', message: /these addresses are mapped already/ });
  fn.close();
  t.deepEqual(fake.leftovers, []);
});

test('memory that this user may not lock', (t) => {
  const { fake, open } = kernel(t, ['7', '8']);
  const fn = open(FIRST);
  fake.failures.set('VFIO_IOMMU_MAP_DMA', 'ENOMEM');
  t.throws(() => fn.mapDma(VADDR, 64 << 20, BASE), {
    code: 'EMEMORY',
    message:
      /^64 MiB of packet memory at 0x100000000 cannot be mapped for DMA \(.*ENOMEM.*\): more memory would be locked.*ulimit -l/,
  });
});

test('a group part of which another driver has: the sentence names the others and the command', (t) => {
  const { root, fake, open } = kernel(t, ['7', '8'], { viable: false });
  addPci(root, { address: '0000:00:03.1', vendor: 0x8086, driver: 'e1000e', group: '7' });
  addPci(root, { address: '0000:00:03.2', vendor: 0x8086, driver: 'pcieport', group: '7' });
  addPci(root, { address: '0000:00:03.3', vendor: 0x8086, group: '7' });
  t.throws(() => open(FIRST), {
    code: 'ECONFIG',
    message:
      'IOMMU group 7 is not viable, as other drivers have part of it: 0000:00:03.1 (e1000e); bind all of it: devbind -b vfio-pci 0000:00:03.1',
  });
  t.deepEqual(fake.leftovers, []);
});

const refusals: [title: string, change: Partial<FakeVfioOptions>, message: RegExp][] = [
  ['an API of another version', { apiVersion: 1 }, /^vfio has API version 1, 0 is expected/],
  ['no driver for the IOMMU', { extensions: [] }, /modprobe vfio_iommu_type1/],
  [
    'a no-IOMMU group, and the mode switched off',
    { groups: ['noiommu-7'], extensions: [3] },
    /^vfio's no-IOMMU mode is switched off: switch it on \(echo 1 >\/sys\/module\/vfio\/.*enable_unsafe_noiommu_mode\)$/,
  ],
  ['a device that is not on PCI', { deviceFlags: 4 }, /no PCI device/],
];

for (const [title, change, message] of refusals) {
  test(`refused, with everything closed: ${title}`, (t) => {
    const { fake, open } = kernel(t, ['7', '8'], change);
    t.throws(() => open(FIRST), { code: 'ECONFIG', message });
    t.deepEqual(fake.leftovers, []);
  });
}

const requests: VfioRequest[] = [
  'VFIO_GET_API_VERSION',
  'VFIO_CHECK_EXTENSION',
  'VFIO_SET_IOMMU',
  'VFIO_GROUP_GET_STATUS',
  'VFIO_GROUP_SET_CONTAINER',
  'VFIO_GROUP_GET_DEVICE_FD',
  'VFIO_IOMMU_GET_INFO',
  'VFIO_DEVICE_GET_INFO',
  'VFIO_DEVICE_GET_REGION_INFO',
  'VFIO_DEVICE_GET_IRQ_INFO',
  'VFIO_DEVICE_SET_IRQS',
];

for (const request of requests) {
  test(`${request} fails: an error of ours, everything closed, and another attempt works`, (t) => {
    const { fake, open } = kernel(t, ['7', '8']);
    fake.failures.set(request, 'EIO');
    const error = t.throws(() => open(FIRST));
    t.true(isVirtioPmdError(error), error?.message);
    t.deepEqual(fake.leftovers, []);
    t.true(open(FIRST).present);
  });

  test(`${request} fails for the second device: the first one keeps all it has`, (t) => {
    const { fake, open } = kernel(t, ['7', '8']);
    const fn = open(FIRST);
    fn.mapDma(VADDR, HUGEPAGE, BASE);
    const before = fake.leftovers;
    fake.failures.set(request, 'EIO');
    const onlyOnce = ['VFIO_GET_API_VERSION', 'VFIO_CHECK_EXTENSION', 'VFIO_SET_IOMMU'].includes(request);
    if (onlyOnce) t.notThrows(() => open(SECOND).close());
    else t.throws(() => open(SECOND));
    t.deepEqual(fake.leftovers, before);
  });
}

test('a reset that fails is no reason to give up: virtio has its own', (t) => {
  const { fake, open } = kernel(t, ['7', '8']);
  fake.failures.set('VFIO_DEVICE_RESET', 'EAGAIN');
  t.true(open(FIRST).present);
  t.is(fake.resets.length, 0);
});

test('a device that cannot be reset is not asked to', (t) => {
  const { fake, open } = kernel(t, ['7', '8'], { deviceFlags: 2 });
  open(FIRST);
  t.false(fake.calls.includes('VFIO_DEVICE_RESET'));
});
