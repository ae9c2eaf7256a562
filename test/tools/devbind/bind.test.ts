/** devbind --bind and --unbind: what is written, what is refused, and what a failure leaves behind. */
import test from 'ava';
import { readDevice } from '../../../tools/devbind/devices.js';
import { bindWrites, restoreWrites } from '../../../tools/devbind/plan.js';
import { down, FakeMachine, free, machineWith, NIC, nic, up } from './support/machine.js';

const bindPath = (driver: string) => `/sys/bus/pci/drivers/${driver}/bind`;
const unbindPath = (driver: string) => `/sys/bus/pci/drivers/${driver}/unbind`;
const overridePath = `/sys/bus/pci/devices/${NIC}/driver_override`;

const toVfio = [
  `devices/${NIC}/driver_override: vfio-pci`,
  `drivers/virtio-pci/unbind: ${NIC}`,
  `drivers/vfio-pci/bind: ${NIC}`,
  `devices/${NIC}/driver_override: `,
];

test('to vfio-pci: the override first, and taken back in the end', (t) => {
  const machine = machineWith(t, nic());
  t.deepEqual(machine.run('-b', 'vfio-pci', NIC), { code: 0, out: '', err: '' });
  t.deepEqual(machine.writes, toVfio);
  t.is(machine.driverOf(NIC), 'vfio-pci');
  t.is(machine.overrideOf(NIC), '(null)');
});

test('by the name of its interface, without a domain, in capitals and by wildcards', (t) => {
  for (const name of ['eth0', '00:03.0', '0:0:3.0', '0000:00:03.*', '00:0[3-4].?']) {
    const machine = machineWith(t, nic());
    t.is(machine.run('-b', 'vfio-pci', name).err, '');
    t.deepEqual(machine.writes, toVfio, name);
  }
});

test('back to the kernel: no override, so that the driver takes only what it knows', (t) => {
  const machine = machineWith(t, nic({ driver: 'vfio-pci', interfaces: [] }));
  t.is(machine.run('-b', 'virtio-pci', NIC).code, 0);
  t.deepEqual(machine.writes, [`drivers/vfio-pci/unbind: ${NIC}`, `drivers/virtio-pci/bind: ${NIC}`]);
});

test('an override that somebody else left does not keep the kernel driver away', (t) => {
  const machine = machineWith(t, nic({ driver: 'vfio-pci', interfaces: [], override: 'vfio-pci' }));
  t.is(machine.run('-b', 'virtio-pci', NIC).code, 0);
  t.is(machine.writes[0], `devices/${NIC}/driver_override: `);
  t.is(machine.driverOf(NIC), 'virtio-pci');
});

test('a device without a driver is bound without an unbind', (t) => {
  const machine = machineWith(t, free);
  t.is(machine.run('-b', 'vfio-pci', '00:03.0').code, 0);
  t.false(machine.writes.some((line) => line.includes('unbind')));
  t.is(machine.driverOf(NIC), 'vfio-pci');
});

test('a device that is bound already is left alone, also when it is in use', (t) => {
  const machine = machineWith(t, nic({ interfaces: [up('eth0')] }));
  t.deepEqual(machine.run('-b', 'virtio-pci', NIC), {
    code: 0,
    out: '',
    err: `Notice: ${NIC} already bound to driver virtio-pci, skipping\n`,
  });
  t.deepEqual(machine.writes, []);
});

test('unbind, and unbind of nothing', (t) => {
  for (const line of [
    ['-u', NIC],
    ['-b', 'none', NIC],
  ]) {
    const machine = machineWith(t, nic());
    t.deepEqual(machine.run(...line), { code: 0, out: '', err: '' });
    t.deepEqual(machine.writes, [`drivers/virtio-pci/unbind: ${NIC}`]);
    t.is(machine.driverOf(NIC), undefined);
    t.deepEqual(machine.run(...line), {
      code: 0,
      out: '',
      err: `Notice: ${NIC} is not currently managed by any driver\n`,
    });
  }
});

test('-u dpdk is every device that a driver of DPDK has, or none', (t) => {
  const machine = new FakeMachine(t, {
    drivers: ['virtio-pci', 'vfio-pci', 'uio_pci_generic'],
    devices: {
      '0000:00:03.0': nic(),
      '0000:00:04.0': { ...free, driver: 'vfio-pci' },
      '0000:00:05.0': { ...free, driver: 'uio_pci_generic' },
      '0000:00:06.0': free,
    },
  });
  t.is(machine.run('-u', 'dpdk').code, 0);
  t.deepEqual(machine.writes, [
    'drivers/vfio-pci/unbind: 0000:00:04.0',
    'drivers/uio_pci_generic/unbind: 0000:00:05.0',
  ]);
  t.deepEqual(machine.run('-u', 'dpdk'), {
    code: 0,
    out: '',
    err: "Notice: no device is with one of DPDK's drivers\n",
  });
});

test('several devices: one in use, one that fails; the others go through, each is done once', (t) => {
  const machine = new FakeMachine(t, {
    devices: {
      '0000:00:03.0': nic({ interfaces: [up('eth0')] }),
      '0000:00:04.0': nic({ interfaces: [down('eth1')] }),
      '0000:00:05.0': nic({ interfaces: [down('eth2')] }),
    },
  });
  machine.failures.set('/sys/bus/pci/devices/0000:00:04.0/driver_override', 'EACCES');
  const { code, err } = machine.run('-b', 'vfio-pci', 'eth0', 'eth1', '00:05.0', 'eth2', '0000:00:05.0');
  t.is(code, 1);
  t.is(err.match(/^error\[E\w+\]: /gm)?.length, 2);
  t.is(machine.driverOf('0000:00:03.0'), 'virtio-pci');
  t.is(machine.driverOf('0000:00:04.0'), 'virtio-pci');
  t.is(machine.driverOf('0000:00:05.0'), 'vfio-pci');
  t.is(machine.writes.filter((line) => line === 'drivers/vfio-pci/bind: 0000:00:05.0').length, 1);
});

test('one unknown device among several: nothing is touched', (t) => {
  const unknown: readonly [string, RegExp][] = [
    ['eth9', /^error\[E\w+\]: Unknown device: eth9\. Please specify device in "bus:slot\.func" format\n$/],
    [
      '00:09.0',
      /^error\[E\w+\]: Unknown device: 00:09\.0; no PCI device has the address 0000:00:09\.0, see --status\n$/,
    ],
    ['00:1f.*', /Unknown device: 00:1f\.\*/],
    ['00:03', /Unknown device: 00:03\./],
    ['dpdk', /Unknown device: dpdk\./],
    [
      '00:00.0',
      /^error\[E\w+\]: 0000:00:00\.0 is of PCI class 0x060000, which is none of the devices that --status lists\n$/,
    ],
  ];
  for (const [word, sentence] of unknown) {
    const machine = new FakeMachine(t, {
      devices: { [NIC]: nic(), '0000:00:00.0': { classCode: '0x060000', id: '8086:0d57' } },
    });
    const { code, err } = machine.run('-b', 'vfio-pci', NIC, word, '-s');
    t.is(code, 1);
    t.regex(err, sentence);
    t.deepEqual(machine.writes, []);
  }
});

test('--status shows how it is after the bind, also after one that failed', (t) => {
  const machine = machineWith(t, nic());
  t.regex(
    machine.run('-b', 'vfio-pci', 'eth0', '--status-dev', 'net').out,
    /DPDK-compatible driver\n=+\n0000:00:03\.0 .* drv=vfio-pci/,
  );
  machine.failures.set(unbindPath('vfio-pci'), 'EPERM');
  const { code, out, err } = machine.run('-su', NIC);
  t.is(code, 1);
  t.regex(out, /drv=vfio-pci/);
  t.is(
    err,
    `error[ESYSTEM]: unbind failed for ${NIC} - cannot write to ${unbindPath('vfio-pci')}: permission denied, run as root [EPERM]\n`,
  );
});

test('a bind that fails gives the device back to its driver, interface and all', (t) => {
  const machine = machineWith(t, nic());
  machine.failures.set(bindPath('vfio-pci'), 'EBUSY');
  const { code, err } = machine.run('-b', 'vfio-pci', NIC);
  t.is(code, 1);
  t.is(
    err,
    `error[ESYSTEM]: bind failed for ${NIC} - Cannot bind to driver vfio-pci: cannot write to ${bindPath('vfio-pci')}: ` +
      'the device is in use [EBUSY]; the device is with virtio-pci, as before\n',
  );
  t.is(machine.driverOf(NIC), 'virtio-pci');
  t.is(machine.overrideOf(NIC), '(null)');
  t.deepEqual(readDevice(machine.files, NIC).interfaces, [{ name: 'eth0', up: false }]);
});

test('from one driver of DPDK to another that fails: back with the override that this takes', (t) => {
  const machine = machineWith(t, nic({ driver: 'uio_pci_generic', interfaces: [], override: 'uio_pci_generic' }));
  machine.failures.set(bindPath('vfio-pci'), 'EINVAL');
  t.regex(
    machine.run('-b', 'vfio-pci', NIC).err,
    /dmesg says why \[EINVAL\]; the device is with uio_pci_generic, as before\n$/,
  );
  t.is(machine.driverOf(NIC), 'uio_pci_generic');
  t.is(machine.overrideOf(NIC), 'uio_pci_generic');
});

test('a driver that does not know the device', (t) => {
  const machine = machineWith(t, nic());
  const { code, err } = machine.run('-b', 'e1000e', NIC);
  t.is(code, 1);
  t.regex(err, /the driver does not take this device \[ENODEV\]; the device is with virtio-pci, as before/);
});

test('a device that had no driver has none after a bind that failed, and no override', (t) => {
  const machine = machineWith(t, free);
  machine.failures.set(bindPath('vfio-pci'), 'EINVAL');
  t.regex(machine.run('-b', 'vfio-pci', NIC).err, /the device has no driver, as before\n$/);
  t.is(machine.overrideOf(NIC), '(null)');
});

test('when the way back fails too, the sentence says where the device is', (t) => {
  const machine = machineWith(t, nic());
  machine.failures.set(bindPath('vfio-pci'), 'EINVAL');
  machine.failures.set(bindPath('virtio-pci'), 'EBUSY');
  const { code, err } = machine.run('-b', 'vfio-pci', NIC);
  t.is(code, 1);
  t.regex(
    err,
    /; the device has no driver now, it was with virtio-pci before \(cannot write to .*virtio-pci\/bind: .*\[EBUSY\]\)\n$/,
  );
});

test('a kernel that takes what is written and does nothing is found out', (t) => {
  const machine = machineWith(t, nic());
  machine.ignored.add(bindPath('vfio-pci'));
  t.regex(
    machine.run('-b', 'vfio-pci', NIC).err,
    /the kernel left it with no driver; the device is with virtio-pci, as before\n$/,
  );
  machine.ignored.add(unbindPath('virtio-pci'));
  const { code, err } = machine.run('-u', NIC);
  t.is(code, 1);
  t.is(err, `error[ESYSTEM]: unbind failed for ${NIC} - the kernel left it with virtio-pci\n`);
});

test('without the right to write nothing has changed', (t) => {
  for (const [errno, words] of [
    ['EACCES', 'run as root'],
    ['EROFS', 'mounted read-only'],
    ['EIO', 'EIO'],
  ] as const) {
    const machine = machineWith(t, nic());
    machine.failures.set(overridePath, errno);
    const { code, err } = machine.run('-b', 'vfio-pci', NIC);
    t.is(code, 1);
    t.true(err.includes(words) && err.endsWith('the device is with virtio-pci, as before\n'), err);
    t.deepEqual(machine.writes, [`devices/${NIC}/driver_override: vfio-pci`]);
  }
});

test('the way back from every state that a failed bind can leave', (t) => {
  for (const before of [nic(), free, nic({ driver: 'vfio-pci', override: 'vfio-pci', interfaces: [] })]) {
    for (const target of ['vfio-pci', 'virtio-pci', 'uio_pci_generic']) {
      if (target === before.driver) continue;
      const machine = machineWith(t, before);
      const device = readDevice(machine.files, NIC);
      const writes = bindWrites(device, target);
      for (let done = 0; done <= writes.length; done++) {
        for (const { path, text } of writes.slice(0, done)) machine.write(path, text);
        const left = readDevice(machine.files, NIC);
        for (const { path, text } of restoreWrites(left, device)) machine.write(path, text);
        t.deepEqual(readDevice(machine.files, NIC), device, `${before.driver} to ${target}, ${done} writes`);
      }
    }
  }
});
