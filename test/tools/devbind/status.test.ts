/** devbind --status: the text of dpdk-devbind.py, and where each word of it comes from. */
import { spawnSync } from 'node:child_process';
import test from 'ava';
import { devbind } from '../../../tools/devbind/devbind.js';
import { belongs, groups } from '../../../tools/devbind/groups.js';
import { machineAt } from '../../../tools/devbind/machine.js';
import { modulesFor } from '../../../tools/devbind/modules.js';
import { deviceName } from '../../../tools/devbind/names.js';
import { routedInterfaces } from '../../../tools/devbind/routes.js';
import { down, FakeMachine, RELEASE, up } from './support/machine.js';
import { lacks, needs } from '../../support/needs.js';

const pciIds = `# a comment
1af4  Red Hat, Inc.
\t1000  Virtio network device
\t\t01de fffb  Propolis Virtio network device
# another
\t1041  Virtio 1.0 network device
1af5  Netezza Corp.
\t10d3  Not this one
8086  Intel Corporation
\t10d3  82574L Gigabit Network Connection
C 02  Network controller
\t00  Ethernet controller
`;

const route = (...lines: string[]) =>
  ['Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT', ...lines].join('\n') + '\n';
const defaultRoute = (name: string) => `${name}\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0`;
const zeros = '0'.repeat(32);
const route6 = (destination: string, flags: string, name: string) =>
  `${destination.padEnd(32, '0')} 40 ${zeros} 00 ${zeros} 00000100 00000001 00000000 ${flags} ${name.padStart(8)}\n`;

test('the three sections of a group, to the letter', (t) => {
  const machine = new FakeMachine(t, {
    drivers: ['virtio-pci', 'vfio-pci', 'e1000e', 'pcieport'],
    devices: {
      '0000:00:07.0': { id: '8086:10d3', driver: 'e1000e', interfaces: [down('eth1'), down('eth2')] },
      '0000:00:00.0': { id: '8086:0d57', classCode: '0x060000', driver: 'pcieport' },
      '0000:00:03.0': { id: '1af4:1000', driver: 'virtio-pci', virtio: 'virtio0', interfaces: [up('eth0')] },
      '0000:00:04.0': { driver: 'vfio-pci' },
      '0000:00:05.0': {},
      '0000:00:06.0': { id: '1af4:ffff', driver: 'virtio-pci' },
    },
    files: { '/usr/share/misc/pci.ids': pciIds, '/proc/net/route': route(defaultRoute('eth0')) },
  });
  const { code, out, err } = machine.run('--status-dev', 'net');
  t.is(code, 0);
  t.is(err, '');
  t.is(
    out,
    `
Network devices using DPDK-compatible driver
============================================
0000:00:04.0 'Virtio 1.0 network device 1041' drv=vfio-pci unused=

Network devices using kernel driver
===================================
0000:00:03.0 'Virtio network device 1000' if=eth0 drv=virtio-pci unused=vfio-pci *Active*
0000:00:06.0 'Device ffff' if= drv=virtio-pci unused=vfio-pci ${''}
0000:00:07.0 '82574L Gigabit Network Connection 10d3' if=eth1,eth2 drv=e1000e unused=vfio-pci ${''}

Other Network devices
=====================
0000:00:05.0 'Virtio 1.0 network device 1041' unused=vfio-pci
`,
  );
});

test('a machine without PCI has nine groups of no devices', (t) => {
  const { code, out } = new FakeMachine(t, { devices: {}, drivers: [] }).run('-s');
  t.is(code, 0);
  const titles = ['Network', 'Baseband', 'Crypto', 'DMA', 'Eventdev', 'Mempool', 'Compress', 'Misc (rawdev)', 'Regex'];
  const sections = titles.map((title) => `No '${title}' devices detected`);
  t.is(out, sections.map((line) => `\n${line}\n${'='.repeat(line.length)}\n`).join(''));
});

test('a disk is a raw device, without interfaces', (t) => {
  const machine = new FakeMachine(t, {
    devices: { '0000:00:02.0': { id: '1af4:1042', classCode: '0x010000', driver: 'virtio-pci' } },
  });
  const { out } = machine.run('--status');
  t.true(
    out.includes(`
Misc (rawdev) devices using kernel driver
=========================================
0000:00:02.0 'Device 1042' drv=virtio-pci unused=vfio-pci ${''}
`),
  );
});

test('modules that claim a device come before the drivers of DPDK that are loaded, without its own driver', (t) => {
  const alias = `# Aliases extracted from modules themselves.
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e
alias pci:v*d*sv*sd*bc02sc00i* anything
alias virtio:d00000001v* virtio_net
`;
  const machine = new FakeMachine(t, {
    drivers: ['e1000e', 'virtio-pci', 'uio_pci_generic', 'igb_uio'],
    devices: {
      '0000:00:03.0': { id: '8086:10d3', driver: 'e1000e' },
      '0000:00:04.0': { driver: 'uio_pci_generic' },
      '0000:00:05.0': { driver: 'virtio-pci' },
    },
    files: { [`/lib/modules/${RELEASE}/modules.alias`]: alias },
  });
  const { out } = machine.run('--status-dev', 'net');
  t.deepEqual(
    [...out.matchAll(/unused=(\S*)/g)].map(([, modules]) => modules),
    ['virtio_pci,anything,igb_uio', 'anything,igb_uio,uio_pci_generic', 'virtio_pci,anything,igb_uio,uio_pci_generic'],
  );
  t.deepEqual(modulesFor('pci:v00001AF4d00001041sv0sd0bc01sc00i00', alias), ['virtio_pci']);
  t.deepEqual(modulesFor('', alias), []);
});

test('names of devices: of the right vendor, the last of the file, and unknown ones', (t) => {
  t.is(deviceName(pciIds, '1af4', '1041'), 'Virtio 1.0 network device');
  t.is(deviceName(pciIds, '8086', '10d3'), '82574L Gigabit Network Connection');
  t.is(deviceName(pciIds, '1af4', '10d3'), 'Device');
  t.is(deviceName(pciIds, '01de', 'fffb'), 'Device', 'a subsystem is no vendor');
  t.is(deviceName('1af4  Red Hat, Inc.\n\t1041  Last', '1af4', '1041'), 'Last');
  t.is(deviceName('', '1af4', '1041'), 'Device');
  t.is(deviceName(pciIds, '', ''), 'Device');
});

test('routes: those that come with every interface that is up do not make it active', (t) => {
  const active = (ipv4: string, ipv6: string) => [...routedInterfaces(ipv4, ipv6)].sort();
  t.deepEqual(active('', ''), []);
  t.deepEqual(active(route(), ''), []);
  t.deepEqual(active(route(defaultRoute('eth0'), 'eth1\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0'), ''), [
    'eth0',
    'eth1',
  ]);
  t.deepEqual(active(route('eth0\t0000FEA9\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0'), ''), [], '169.254.0.0/16');
  t.deepEqual(
    active(route('*\t0000000A\t00000000\t0200\t0\t0\t0\t000000FF\t0\t0\t0'), ''),
    [],
    'unreachable 10.0.0.0/8',
  );
  t.deepEqual(active('', route6('', '00000003', 'eth0')), ['eth0'], 'the default route');
  t.deepEqual(active('', route6('fd00', '00000001', 'eth0')), ['eth0']);
  const ofEveryInterface =
    route6('fe80', '00000001', 'eth0') +
    route6('ff00', '00000001', 'eth0') +
    route6('fd000000000000000000000000000002', '80200001', 'eth0') +
    route6('', '00200200', 'lo');
  t.deepEqual(active('', ofEveryInterface), []);
  t.deepEqual(active('a line\nof nonsense and more\n', 'x y\n'), []);
});

test('interfaces of virtual functions are theirs alone', (t) => {
  const machine = new FakeMachine(t, {
    drivers: ['ixgbe', 'ixgbevf'],
    devices: {
      '0000:01:00.0': { driver: 'ixgbe', interfaces: [down('pf')] },
      '0000:01:10.0': { driver: 'ixgbevf', interfaces: [down('vf')] },
    },
  });
  machine.link('0000:01:00.0', 'virtfn0', '../0000:01:10.0');
  const { out } = machine.run('-s');
  t.regex(out, /0000:01:00\.0 .* if=pf drv/);
  t.regex(out, /0000:01:10\.0 .* if=vf drv/);
});

test('each group takes its classes, vendors and devices, and a device may be in two', (t) => {
  const of = (classCode: string, vendor: string, device: string) =>
    groups.filter((group) => belongs(group, { classCode, vendor, device })).map(({ name }) => name);
  t.deepEqual(of('020000', '1af4', '1041'), ['net']);
  t.deepEqual(of('028000', '10ec', '8168'), ['net'], 'any network controller');
  t.deepEqual(of('050000', '1af4', '1110'), ['net']);
  t.deepEqual(of('120000', '8086', '0b30'), ['net', 'baseband']);
  t.deepEqual(of('120000', '177d', 'a037'), ['baseband', 'compress']);
  t.deepEqual(of('100000', '1234', '5678'), ['crypto']);
  t.deepEqual(of('0b4000', '8086', '2710'), ['crypto', 'event']);
  t.deepEqual(of('088000', '8086', '0b25'), ['dma']);
  t.deepEqual(of('088000', '19e5', 'a122'), ['dma']);
  t.deepEqual(of('088000', '177d', 'a053'), ['mempool']);
  t.deepEqual(of('088000', '177d', 'a0f4'), ['regex']);
  t.deepEqual(of('010000', '1af4', '1001'), ['misc']);
  t.deepEqual(of('010000', '1af4', '1004'), []);
  t.deepEqual(of('060000', '8086', '0d57'), []);
});

needs(lacks('dpdk-devbind.py', 'lspci', 'ip'))('on this machine the status is that of dpdk-devbind.py', (t) => {
  const theirs = spawnSync('dpdk-devbind.py', ['--status'], { encoding: 'utf8' });
  t.is(theirs.status, 0, theirs.stderr);
  let ours = '';
  const code = devbind(['--status'], machineAt('/'), { out: (text) => (ours += text), err: t.fail });
  t.is(code, 0);
  t.is(ours, theirs.stdout);
});
