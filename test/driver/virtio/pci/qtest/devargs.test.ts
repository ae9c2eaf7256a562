/** Devargs of the qtest bus, and the command line that a QEMU is started with. */
import test from 'ava';
import { isQtest, parseQtest } from '../../../../../driver/virtio/pci/qtest/devargs.js';
import { qemuArguments } from '../../../../../driver/virtio/pci/qtest/qemu.js';

test('a socket and a RAM file are enough', (t) => {
  t.like(parseQtest('qtest:/tmp/q,ram=/dev/shm/q'), {
    name: 'qtest:/tmp/q',
    socket: '/tmp/q',
    ram: '/dev/shm/q',
    address: undefined,
    vectorized: false,
    speed: undefined,
    startsQemu: false,
  });
});

test('addresses in every form are one, and part of the name', (t) => {
  for (const addr of ['0a.0', 'a', 'A.0', '0A']) {
    t.like(parseQtest(`qtest:/q,ram=/r,addr=${addr}`), { address: '0a.0', name: 'qtest:/q:0a.0' });
  }
  t.is(parseQtest('qtest:/q,ram=/r,addr=1f.7').address, '1f.7');
});

test('lists for QEMU have semicolons in the place of commas', (t) => {
  const args = parseQtest('qtest:/q,ram=/r,qemu=packed=on;mq=on,netdev=tap;ifname=t0,nics=2,machine=pc');
  const nic = { device: 'packed=on,mq=on', netdev: 'tap,ifname=t0' };
  t.deepEqual(args.qemu, { machine: 'pc', nics: [nic, nic] });
  t.true(args.startsQemu);
});

const refused: [string, RegExp][] = [
  ['qtest:', /names no device on the qtest bus: expected qtest:SOCKET,ram=FILE/],
  ['qtest:,ram=/r', /names no device on the qtest bus/],
  ['qtest:/q', /key "ram" is missing: add ram=</],
  ['qtest:/q,ram=', /ram= is not accepted/],
  ['qtest:/q,ram=/r,addr=20.0', /addr=20.0 is not accepted: expected a device and function number on bus 0/],
  ['qtest:/q,ram=/r,addr=4.8', /addr=4.8/],
  ['qtest:/q,ram=/r,addr=0000:00:04.0', /addr=0000:00:04.0/],
  ['qtest:/q,ram=/r,nics=9', /nics=9 is not accepted: expected a whole number from 0 to 8/],
  ['qtest:/q,ram=/r,machine=virt', /machine=virt is not accepted: expected q35 or pc/],
  ['qtest:/q,ran=/r', /unknown key "ran"; did you mean "ram"\?/],
  ['qtest:/q,ram=/r,ram=/s', /given twice/],
];
for (const [text, message] of refused) {
  test(`refused: ${text}`, (t) => {
    t.throws(() => parseQtest(text), { code: 'EDEVARGS', message });
  });
}

test('only strings that begin with qtest: are of this bus', (t) => {
  t.true(isQtest('qtest:/q'));
  for (const text of ['0000:00:04.0', 'net_virtio_user0,path=/q', 'qtest', '']) t.false(isQtest(text));
});

test('each network function has a netdev and an address; options of the user come last, so that they win', (t) => {
  const nics = [
    { device: '', netdev: 'hubport,hubid=0' },
    { device: 'packed=on', netdev: 'dgram,local.type=unix' },
    { device: 'addr=1e.0,romfile=x', netdev: 'user' },
  ];
  const args = qemuArguments({ socket: '/q', ram: '/r', nics, args: ['-qmp', 'stdio'] }, '/halt.bin');
  const values = (option: string) => args.filter((_, i) => args[i - 1] === option);
  t.deepEqual(values('-netdev'), ['hubport,id=n0,hubid=0', 'dgram,id=n1,local.type=unix', 'user,id=n2']);
  t.deepEqual(values('-device'), [
    'virtio-net-pci,netdev=n0,addr=4,romfile=',
    'virtio-net-pci,netdev=n1,addr=5,romfile=,packed=on',
    'virtio-net-pci,netdev=n2,romfile=,addr=1e.0,romfile=x',
  ]);
  t.deepEqual(values('-object'), ['memory-backend-file,id=m,size=256M,mem-path=/r,share=on']);
  t.deepEqual(args.slice(-2), ['-qmp', 'stdio']);
  t.false(args.includes('-S'), 'a machine that was stopped runs no virtio');
});
