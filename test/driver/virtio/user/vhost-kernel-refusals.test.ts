/** Everything that can be in the way of a vhost-kernel back-end: one sentence with the remedy, and nothing stays open. */
import test from 'ava';
import { isVirtioPmdError } from '../../../../native/errors.js';
import { readdirSync } from 'node:fs';
import { TUN_FEATURES, VHOST_FEATURES, type FakeKernelOptions } from './support/mock-vhost-net.js';
import { kernelBench, openFds } from './support/kernel-port.js';

interface Refusal {
  readonly title: string;
  readonly kernel?: FakeKernelOptions;
  /** A call that fails, after how many good ones, and the errno. */
  readonly fails?: readonly [call: string, errno: string, after?: number];
  readonly args?: string;
  readonly code: string;
  readonly says: RegExp;
}

const refusals: readonly Refusal[] = [
  {
    title: 'the file of vhost-net is there, the module is not',
    fails: ['open /dev/vhost-net', 'ENODEV'],
    code: 'ESYSTEM',
    says: /^vhost-net cannot be opened .*: load the module with "modprobe vhost_net"$/,
  },
  {
    title: 'no permission on vhost-net',
    fails: ['open /dev/vhost-net', 'EACCES', 1],
    args: ',queues=2',
    code: 'ESYSTEM',
    says: /permission denied .*: run as root, or have root allow it with "chmod 666 \/dev\/vhost-net"$/,
  },
  {
    title: 'no tun driver',
    fails: ['open /dev/net/tun', 'ENOENT'],
    code: 'ESYSTEM',
    says: /^tap devices are not available .*: load the module with "modprobe tun"$/,
  },
  {
    title: 'no permission on tun',
    fails: ['open /dev/net/tun', 'EACCES', 1],
    code: 'ESYSTEM',
    says: /^tap devices are not available .*"chmod 666 \/dev\/net\/tun"$/,
  },
  {
    title: 'a tun driver of before net headers',
    kernel: { tunFeatures: TUN_FEATURES & ~0x4000 },
    code: 'ECONFIG',
    says: /^TAP does not support IFF_VNET_HDR: /,
  },
  {
    title: 'no CAP_NET_ADMIN, and no name',
    fails: ['TUNSETIFF', 'EPERM'],
    code: 'ESYSTEM',
    says: /^a tap cannot be made .*CAP_NET_ADMIN: run as root, or .*"ip tuntap add dev NAME mode tap user \$USER multi_queue vnet_hdr" and give iface=NAME$/,
  },
  {
    title: 'no CAP_NET_ADMIN, with a name',
    fails: ['TUNSETIFF', 'EPERM'],
    args: ',iface=mine',
    code: 'ESYSTEM',
    says: /"ip tuntap add dev mine mode tap .*give iface=mine$/,
  },
  {
    title: 'a tap that another program has open, with one queue',
    kernel: { taps: [{ name: 'mine', flags: 0x5802, others: 1 }] },
    args: ',iface=mine',
    code: 'ECONFIG',
    says: /^tap mine is in use by another port or program: choose another iface=$/,
  },
  {
    title: 'a tap with several queues that another program has made: it would share packets with us',
    kernel: { taps: [{ name: 'mine', flags: 0x5102, others: 1 }] },
    args: ',iface=mine',
    code: 'ECONFIG',
    says: /^tap mine is in use by another port or program/,
  },
  {
    title: 'an interface that is no tap',
    kernel: { others: ['eth0'] },
    args: ',iface=eth0',
    code: 'ECONFIG',
    says: /^eth0 is an interface already, and not a tap: choose another iface=$/,
  },
  {
    title: 'a tap with one queue for two pairs',
    kernel: { taps: [{ name: 'mine', flags: 0x5802 }] },
    args: ',iface=mine,queues=2',
    code: 'ECONFIG',
    says: /^tap mine does not support multi queue: use queues=1, or .*"ip tuntap add dev mine mode tap multi_queue vnet_hdr"$/,
  },
  {
    title: 'a kernel that knows taps with one queue only',
    kernel: { tunFeatures: TUN_FEATURES & ~0x100 },
    args: ',queues=2',
    code: 'ECONFIG',
    says: /^tap tap0 does not support multi queue/,
  },
  {
    title: 'more queues than a tap has',
    fails: ['TUNSETIFF', 'E2BIG', 1],
    args: ',queues=2',
    code: 'ESYSTEM',
    says: /: it has no more queues: use fewer with queues=$/,
  },
  {
    title: 'a name of 16 bytes, which the kernel would cut short',
    args: ',iface=sixteen-bytes-xx',
    code: 'EDEVARGS',
    says: /^iface=sixteen-bytes-xx cannot name an interface: it has 16 bytes, the kernel takes 15; choose a shorter one$/,
  },
  {
    title: 'a name with a slash',
    args: ',iface=a/b',
    code: 'EDEVARGS',
    says: /no spaces, slashes or colons/,
  },
  {
    title: 'a name with a pattern that the kernel does not know',
    args: ',iface=tap%s',
    code: 'EDEVARGS',
    says: /the only % there may be is one %d/,
  },
  { title: 'a name that is a directory', args: ',iface=..', code: 'EDEVARGS', says: /it means a directory/ },
  {
    title: 'a character device that knows no owner',
    fails: ['VHOST_SET_OWNER', 'ENOTTY'],
    code: 'ECONFIG',
    says: /^\/dev\/vhost-net is a device of another kind than vhost-net: give path=\/dev\/vhost-net, or the socket of/,
  },
  {
    title: 'another device of vhost: vsock',
    kernel: { vhostFeatures: VHOST_FEATURES & ~(1n << 15n) },
    code: 'ECONFIG',
    says: /of another kind than vhost-net/,
  },
  {
    title: 'a descriptor that somebody owns',
    fails: ['VHOST_SET_OWNER', 'EBUSY'],
    code: 'ESYSTEM',
    says: /has an owner already .*: close it in the program that has it open$/,
  },
  {
    title: 'no memory for an owner’s thread',
    fails: ['VHOST_SET_OWNER', 'ENOMEM'],
    code: 'ESYSTEM',
    says: /cannot be owned .*out of memory.*: look at the limits of this process$/,
  },
];

for (const { title, kernel: options = {}, fails, args = '', code, says } of refusals) {
  test(`refused when it is opened: ${title}`, (t) => {
    const { kernel, device } = kernelBench(t, options);
    const before = openFds();
    if (fails !== undefined) kernel.failures.set(fails[0], { errno: fails[1], after: fails[2] ?? 0 });
    const error = t.throws(() => device(args), { code });
    t.regex(error.message, says);
    t.false(error.message.includes('\n'));
    t.deepEqual(kernel.leftovers, []);
    t.is(openFds(), before, readdirSync('/proc/self/fd').join(' '));
  });
}

const laterRefusals: readonly Omit<Refusal, 'kernel'>[] = [
  {
    title: 'features',
    fails: ['VHOST_SET_FEATURES', 'EOPNOTSUPP'],
    code: 'ESYSTEM',
    says: /^vhost-net does not take the features .*: it does not know all of VIRTIO_NET_F_MRG_RXBUF, .*mrg_rxbuf=0$/,
  },
  {
    title: 'the memory table',
    fails: ['VHOST_SET_MEM_TABLE', 'E2BIG'],
    code: 'ESYSTEM',
    says: /raise max_mem_regions of the module vhost$/,
  },
  {
    title: 'the size of a ring',
    fails: ['VHOST_SET_VRING_NUM', 'EINVAL', 1],
    code: 'ESYSTEM',
    says: /^vhost-net does not take a ring of 256 descriptors .*queue_size=$/,
  },
  {
    title: 'the second ring’s backend',
    fails: ['VHOST_NET_SET_BACKEND', 'EFAULT', 1],
    code: 'ESYSTEM',
    says: /^vhost-net does not connect ring 1 with the tap/,
  },
  {
    title: 'an address',
    args: ',mac=02:00:00:00:00:01',
    fails: ['SIOCSIFHWADDR', 'EADDRNOTAVAIL'],
    code: 'ESYSTEM',
    says: /^tap tap0 does not take the MAC address .*: give a unicast address with mac=$/,
  },
  {
    title: 'offloads',
    fails: ['TUNSETOFFLOAD', 'EINVAL'],
    code: 'ESYSTEM',
    says: /: configure the port without Rx offloads$/,
  },
  {
    title: 'up=1 without CAP_NET_ADMIN',
    args: ',up=1',
    fails: ['SIOCSIFFLAGS', 'EPERM'],
    code: 'ESYSTEM',
    says: /^tap tap0 cannot be set up .*CAP_NET_ADMIN: leave up=1 out, and have root run "ip link set tap0 up"$/,
  },
];

for (const { title, fails, args, code, says } of laterRefusals) {
  test(`refused at DRIVER_OK: ${title}; the next attempt succeeds`, (t) => {
    const { kernel, port, mempool } = kernelBench(t);
    const { port: p } = port(args);
    kernel.failures.set(fails![0], { errno: fails![1], after: fails![2] ?? 0 });
    const error = t.throws(() => p.configure({ mempool }), { code });
    t.regex(error.message, says);
    t.deepEqual(
      kernel.vhosts[0]!.rings.map(({ backend }) => backend),
      [-1, -1],
      'the kernel serves no ring',
    );
    p.configure({ mempool });
    p.start();
    t.true(p.link.up);
    p.close();
    t.deepEqual(kernel.leftovers, []);
  });
}

test('more pieces of memory than the kernel takes: says how many it takes', (t) => {
  const { eal, kernel, device } = kernelBench(t, { regionLimit: '2\n' });
  const piece = { offset: 0, byteLength: 4096, deviceAddress: 1n << 32n };
  Object.defineProperty(eal, 'dmaRuns', { value: [piece, piece, piece] });
  const one = device();
  one.writeStatus(1);
  const error = t.throws(() => one.writeStatus(1 | 2 | 4), { code: 'EMEMORY' });
  t.regex(error.message, /lies in 3 pieces .* vhost-net takes 2: use a smaller -m, or load .* max_mem_regions=3$/);
  t.false(kernel.calls.some((call) => call.includes('MEM_TABLE')));
});

test('whichever call fails, probe, start and close leave nothing open and no sentence without words', (t) => {
  const { kernel, port, device, mempool } = kernelBench(t);
  const args = ',queues=2,iface=mine,mac=02:00:00:00:00:01,up=1';
  device(args).close();
  const before = openFds();
  let failures = 0;
  for (let n = 0; ; n++) {
    kernel.failAt = -1;
    const from = kernel.calls.filter((call) => !call.startsWith('close')).length;
    kernel.failAt = from + n;
    let p;
    try {
      p = port(args).port;
      p.configure({ mempool, rxQueues: 2, txQueues: 2 });
      p.start();
      p.setPromiscuous(false);
      p.stop();
      p.close();
      if (kernel.calls.filter((call) => !call.startsWith('close')).length <= kernel.failAt) break;
    } catch (error) {
      t.true(isVirtioPmdError(error), String(error));
      failures++;
      p?.close();
    }
    t.deepEqual(kernel.leftovers, [], `call ${n}`);
    t.is(openFds(), before, `call ${n}`);
    t.deepEqual(kernel.taps, [], `call ${n}`);
  }
  t.true(failures > 50, `${failures} failures`);
});
