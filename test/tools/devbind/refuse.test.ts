/** What devbind refuses to touch: NICs in use, vfio-pci without an IOMMU, drivers that are not there. */
import test from 'ava';
import { missingDriver } from '../../../tools/devbind/modules.js';
import {
  bare,
  down,
  FakeMachine,
  machineWith,
  NIC,
  nic,
  NOIOMMU,
  RELEASE,
  up,
  type FakeInterface,
} from './support/machine.js';

const defaultRoute = 'Iface\tDestination\tGateway\tFlags\neth0\t00000000\t0100000A\t0003\n';
const defaultRoute6 = `${'0'.repeat(32)} 00 ${'0'.repeat(32)} 00 fe80${'0'.repeat(28)} 400 1 0 00000003 eth0\n`;
const inUse: readonly [what: string, FakeInterface, files: Record<string, string>, sentence: RegExp][] = [
  ['is up', up('eth0'), {}, /interface eth0 is up; take it down \(ip link set dev eth0 down\)/],
  [
    'is up, with a carrier that is not',
    { name: 'eth0', flags: '0x1003', operstate: 'down' },
    {},
    /interface eth0 is up/,
  ],
  ['is up as far as operstate tells', { name: 'eth0', operstate: 'up' }, {}, /interface eth0 is up/],
  [
    'has the default route',
    up('eth0'),
    { '/proc/net/route': defaultRoute },
    /routing table indicates that interface eth0 is active/,
  ],
  ['has the IPv6 default route', down('eth0'), { '/proc/net/ipv6_route': defaultRoute6 }, /routing table indicates/],
];
for (const [what, iface, files, sentence] of inUse) {
  test(`a NIC whose interface ${what} is left alone unless forced`, (t) => {
    for (const line of [
      ['-b', 'vfio-pci', NIC],
      ['-u', 'eth0'],
    ]) {
      const machine = machineWith(t, nic({ interfaces: [iface] }), files);
      const { code, out, err } = machine.run(...line);
      t.is(code, 1);
      t.is(out, '');
      t.regex(err, /^error\[E\w+\]: 0000:00:03\.0: [^\n]+ --force\n$/);
      t.regex(err, sentence);
      t.deepEqual(machine.writes, []);
      t.deepEqual(machine.run('--force', ...line), { code: 0, out: '', err: '' });
      t.not(machine.driverOf(NIC), 'virtio-pci');
    }
  });
}

test('one interface of several that is up is enough', (t) => {
  const machine = machineWith(t, nic({ interfaces: [down('eth0'), up('eth1')] }));
  t.regex(machine.run('-u', 'eth0').err, /interface eth1 is up/);
});

test('no IOMMU: refused, switched on when asked, and not again when it is on', (t) => {
  const parameter = (text: string) => ({ [NOIOMMU]: `${text}\n` });

  const asleep = machineWith(t, bare, parameter('N'));
  const { code, err } = asleep.run('-b', 'vfio-pci', NIC);
  t.is(code, 1);
  t.is(err, `error[ECONFIG]: ${NIC}: IOMMU support is disabled, use --noiommu-mode for binding in noiommu mode\n`);
  t.deepEqual(asleep.writes, []);
  t.deepEqual(asleep.run('-b', 'vfio-pci', NIC, '--noiommu-mode'), {
    code: 0,
    out: '',
    err: 'Warning: enabling unsafe no IOMMU mode for VFIO drivers\n',
  });
  t.is(asleep.text(NOIOMMU), 'Y');
  t.is(asleep.driverOf(NIC), 'vfio-pci');

  const awake = machineWith(t, bare, parameter('Y'));
  t.deepEqual(awake.run('-b', 'vfio-pci', NIC), { code: 0, out: '', err: '' });
  t.false(awake.writes.some((line) => line.startsWith(NOIOMMU)));

  const without = machineWith(t, bare);
  t.regex(
    without.run('--noiommu-mode', '-b', 'vfio-pci', NIC).err,
    /behind no IOMMU.*VFIO_NOIOMMU.*uio_pci_generic\n$/,
  );
  t.deepEqual(without.writes, []);
  t.is(without.run('-b', 'uio_pci_generic', NIC).code, 0, 'which needs none');

  const forbidden = machineWith(t, bare, parameter('N'));
  forbidden.failures.set(NOIOMMU, 'EACCES');
  t.regex(
    forbidden.run('--noiommu-mode', '-b', 'vfio-pci', NIC).err,
    /^error\[E\w+\]: cannot write to .*noiommu_mode: permission denied/,
  );
});

test('with an IOMMU --noiommu-mode changes nothing', (t) => {
  const machine = machineWith(t, nic(), { [NOIOMMU]: 'N\n' });
  t.deepEqual(machine.run('--noiommu-mode', '-b', 'vfio-pci', NIC), { code: 0, out: '', err: '' });
  t.is(machine.text(NOIOMMU), 'N');
});

test('a driver that is not loaded: which module, and how to load it', (t) => {
  const machine = new FakeMachine(t, {
    drivers: ['virtio-pci'],
    devices: { [NIC]: nic() },
    files: {
      [`/lib/modules/${RELEASE}/modules.dep`]:
        'kernel/drivers/vfio/pci/vfio-pci-core.ko.xz: kernel/drivers/vfio/vfio.ko.xz\n' +
        'kernel/drivers/vfio/pci/vfio-pci.ko.xz: kernel/drivers/vfio/pci/vfio-pci-core.ko.xz\n' +
        'kernel/drivers/uio/uio_pci_generic.ko:\n',
      '/sys/module/virtio_net/initstate': 'live\n',
    },
  });
  const missing: readonly [driver: string, sentence: string][] = [
    ['vfio-pci', "Driver 'vfio-pci' is not loaded; load it with: modprobe vfio-pci"],
    ['vfio_pci', "Driver 'vfio_pci' is not loaded; load it with: modprobe vfio-pci"],
    ['uio_pci_generic', "Driver 'uio_pci_generic' is not loaded; load it with: modprobe uio_pci_generic"],
    ['virtio_pci', "Driver 'virtio_pci' is not loaded; did you mean virtio-pci?"],
    [
      'virtio_net',
      "Driver 'virtio_net' is not a PCI driver, though a module of that name is loaded; /sys/bus/pci/drivers has those that are",
    ],
    [
      'igb_uio',
      `Driver 'igb_uio' is not loaded, and kernel ${RELEASE} has no module of that name: ` +
        'build it from dpdk-kmods, then modprobe uio and insmod igb_uio.ko',
    ],
    [
      'ixgbe',
      `Driver 'ixgbe' is not loaded, and kernel ${RELEASE} has no module of that name in /lib/modules/${RELEASE}; ` +
        'install the package with all modules of this kernel',
    ],
    [
      'eth0',
      "Driver 'eth0' does not look like a valid driver. Did you forget to specify the driver to bind devices to?",
    ],
    [
      '00:03.0',
      "Driver '00:03.0' does not look like a valid driver. Did you forget to specify the driver to bind devices to?",
    ],
  ];
  for (const [driver, sentence] of missing) {
    t.deepEqual(machine.run('-b', driver, NIC), { code: 1, out: '', err: `error[ECONFIG]: ${sentence}\n` });
  }
  for (const driver of ['../..', '..', '/etc'])
    t.regex(machine.run('-b', driver, NIC).err, /name of a driver is expected/);
  t.deepEqual(machine.writes, []);
});

test('modules.dep with every compression, and of a kernel that has none', (t) => {
  const facts = { drivers: [], loaded: [], release: 'r' };
  for (const end of ['.ko', '.ko.gz', '.ko.xz', '.ko.zst']) {
    t.regex(
      missingDriver('vfio-pci', { ...facts, modulesDep: `a/vfio-pci${end}: b/other.ko\n` }),
      /modprobe vfio-pci$/,
    );
    t.regex(
      missingDriver('other', { ...facts, modulesDep: `a/vfio-pci${end}: b/other.ko\n` }),
      /has no module of that name/,
    );
  }
  t.regex(missingDriver('vfio-pci', { ...facts, modulesDep: '' }), /has no module of that name/);
});
