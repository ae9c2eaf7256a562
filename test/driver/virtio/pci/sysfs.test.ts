import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import {
  busOf,
  groupMembers,
  isNoIommuGroup,
  listVirtioNet,
  readPciDevice,
  readResources,
  uioName,
} from '../../../../driver/virtio/pci/sysfs.js';
import { pciTree } from './support/pci-tree.js';

const ADDRESS = '0000:00:03.0';

test('virtio-net functions are found by their ids, transitional and modern, in the order of their addresses', (t) => {
  const root = pciTree(t, [
    { address: '0000:0a:00.0', device: 0x1041 },
    { address: '0000:00:03.0', device: 0x1000 },
    { address: '0000:00:04.0', device: 0x1042 }, // a disk
    { address: '0000:00:05.0', vendor: 0x8086, device: 0x1000 },
  ]);
  t.deepEqual(
    listVirtioNet(root).map(({ address }) => address),
    ['0000:00:03.0', '0000:0a:00.0'],
  );
});

test('a machine without PCI has none', (t) => {
  t.deepEqual(listVirtioNet('/nowhere'), []);
});

test('driver, IOMMU group, class and NUMA node of a function', (t) => {
  const root = pciTree(t, [{ address: ADDRESS, driver: 'vfio-pci', group: '7', numaNode: 1 }]);
  t.deepEqual(readPciDevice(ADDRESS, root), {
    address: ADDRESS,
    vendor: 0x1af4,
    device: 0x1041,
    classCode: 0x020000,
    numaNode: 1,
    driver: 'vfio-pci',
    iommuGroup: '7',
  });
});

test('neither driver, nor group, nor NUMA node', (t) => {
  const device = readPciDevice(ADDRESS, pciTree(t, [{ address: ADDRESS }]))!;
  t.deepEqual([device.driver, device.iommuGroup, device.numaNode], [undefined, undefined, undefined]);
});

test('a function that is unplugged while it is read, or was never there, is none', (t) => {
  const root = pciTree(t, [{ address: ADDRESS }]);
  rmSync(join(root, 'sys/bus/pci/devices', ADDRESS, 'device'));
  t.is(readPciDevice(ADDRESS, root), undefined);
  t.deepEqual(listVirtioNet(root), []);
  t.is(readPciDevice('0000:00:09.0', root), undefined);
});

test('which bus driver is for which kernel driver', (t) => {
  t.is(busOf({ driver: 'vfio-pci' }), 'vfio');
  t.is(busOf({ driver: 'uio_pci_generic' }), 'uio');
  t.is(busOf({ driver: 'igb_uio' }), 'uio');
  for (const driver of ['virtio-pci', 'pci-stub', undefined]) t.is(busOf({ driver }), undefined);
});

test('resources: I/O, memory, memory of 64 bits with nothing behind it, and what is not there', (t) => {
  const none = '0x0000000000000000 0x0000000000000000 0x0000000000000000';
  const resources = [
    '0x000000000000c040 0x000000000000c05f 0x0000000000040101',
    '0x00000000febd1000 0x00000000febd1fff 0x0000000000040200',
    none,
    none,
    '0x0000380000000000 0x0000380000003fff 0x000000000014220c',
    none,
    '0x00000000feb80000 0x00000000febbffff 0x0000000000046200', // the ROM
  ];
  const root = pciTree(t, [{ address: ADDRESS, resources }]);
  t.deepEqual(readResources(ADDRESS, root), [
    { kind: 'io', byteLength: 32 },
    { kind: 'memory', byteLength: 4096 },
    undefined,
    undefined,
    { kind: 'memory', byteLength: 16384 },
    undefined,
  ]);
});

test('a resource file of rubbish, of too few lines, or none', (t) => {
  const resources = ['what', '0x10 0x1f', '0x20 0x10 0x200', '0x10 0x1f 0x0'];
  const root = pciTree(t, [{ address: ADDRESS, resources }]);
  const none = Array.from({ length: 6 }, () => undefined);
  t.deepEqual(readResources(ADDRESS, root), none);
  rmSync(join(root, 'sys/bus/pci/devices', ADDRESS, 'resource'));
  t.deepEqual(readResources(ADDRESS, root), none);
});

test('the uio device of a function', (t) => {
  const root = pciTree(t, [{ address: ADDRESS, uio: 'uio12' }, { address: '0000:00:04.0' }]);
  for (const other of ['power', 'device', 'uio', 'uio1x', 'auio1']) {
    mkdirSync(join(root, 'sys/bus/pci/devices', ADDRESS, 'uio', other));
  }
  t.is(uioName(ADDRESS, root), 'uio12', 'whatever else is beside it');
  t.is(uioName('0000:00:04.0', root), undefined);
  writeFileSync(join(root, 'sys/bus/pci/devices/0000:00:04.0/uio'), '');
  t.is(uioName('0000:00:04.0', root), undefined);
});

test('the members of an IOMMU group', (t) => {
  const root = pciTree(t, [
    { address: ADDRESS, group: '7', driver: 'vfio-pci' },
    { address: '0000:00:03.1', group: '7', driver: 'e1000e', vendor: 0x8086 },
    { address: '0000:00:04.0', group: '8' },
  ]);
  t.deepEqual(
    groupMembers('7', root).map(({ address, driver }) => [address, driver]),
    [
      ['0000:00:03.0', 'vfio-pci'],
      ['0000:00:03.1', 'e1000e'],
    ],
  );
  t.deepEqual(groupMembers('9', root), []);
});

test('a group of the no-IOMMU mode is known by its name', (t) => {
  const root = pciTree(t, [
    { address: ADDRESS, group: '7', groupName: 'vfio-noiommu' },
    { address: '0000:00:04.0', group: '8' },
    { address: '0000:00:05.0', group: '9', groupName: 'other' },
  ]);
  t.deepEqual(
    ['7', '8', '9', '10'].map((group) => isNoIommuGroup(group, root)),
    [true, false, false, false],
  );
});
