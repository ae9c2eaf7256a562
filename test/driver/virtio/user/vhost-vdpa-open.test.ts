/** Files and devices that cannot be used: one sentence each, with what to do, and nothing stays open. */
import test from 'ava';
import { createEventFd } from '../../../../native/event.js';
import { closeFd } from '../../../../native/region.js';
import { createEal } from '../../../../driver/eal/eal.js';
import { openVhostVdpa } from '../../../../driver/virtio/user/vdpa/vhost-vdpa.js';
import { vdpaSystem } from '../../../../driver/virtio/user/vdpa/system.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import { ASID, BATCH, FAKE_VDPA_OFFER, type FakeVdpaOptions } from './support/mock-vdpa.js';
import { vdpaFixture } from './support/mock-vdpa-fixture.js';

const MQ = FAKE_VDPA_OFFER | F.VIRTIO_NET_F_MQ;

for (const [errno, message] of [
  ['EACCES', /run as root, or give this user \/dev\/vhost-vdpa-0$/],
  ['EPERM', /run as root, or give this user \/dev\/vhost-vdpa-0$/],
  ['EBUSY', /another process has it open \(fuser \/dev\/vhost-vdpa-0 says which\): end that, or use another device$/],
  ['ENODEV', /the vdpa device is gone/],
  ['ENXIO', /the vdpa device is gone/],
  ['ENOENT', /load the module vhost_vdpa/],
  ['EIO', /see dmesg$/],
] as const) {
  test(`the file cannot be opened: ${errno}`, (t) => {
    const { kernel, open } = vdpaFixture(t);
    kernel.failures.set('open', errno);
    const error = t.throws(() => open(), { code: 'ESYSTEM' });
    t.true(error.message.startsWith(`/dev/vhost-vdpa-0 cannot be opened (${errno}): `));
    t.regex(error.message, message);
    t.deepEqual(kernel.leftovers, []);
  });
}

test('a second one of the same device: the kernel has one user at a time', (t) => {
  const { open } = vdpaFixture(t);
  open();
  t.throws(() => open(), { code: 'ESYSTEM', message: /another process has it open/ });
});

for (const [title, options, wishes, code, message] of [
  ['a file of another kind', { unknown: ['VHOST_VDPA_GET_DEVICE_ID'] }, {}, 'ECONFIG', /is no vhost-vdpa device/],
  ['a disk', { deviceId: 2 }, {}, 'ECONFIG', /^Invalid vdpa device ID: 2\. .* is no network device/],
  [
    'a kernel without IOTLB_MSG_V2',
    { backendFeatures: BATCH | ASID },
    {},
    'EPEER',
    /^IOTLB_MSG_V2 not supported by the backend\. .*use a newer one$/,
  ],
  ['a kernel without back-end features', { unknown: ['VHOST_GET_BACKEND_FEATURES'] }, {}, 'EPEER', /\(ENOTTY\)/],
  ['no queue pair', { offered: MQ, maxPairs: 0 }, {}, 'EPEER', /max_virtqueue_pairs is 0, 1 to 32768 is expected/],
  ['too many of them', { offered: MQ, maxPairs: 0x8001, queues: 9 }, {}, 'EPEER', /max_virtqueue_pairs is 32769/],
  ['fewer virtqueues', { offered: MQ, maxPairs: 2, queues: 4 }, {}, 'EPEER', /has 4 virtqueues, 2 .* need 5/],
  ['one virtqueue', { queues: 1 }, {}, 'EPEER', /has 1 virtqueues, 1 .* need 3/],
  ['no configuration', { offered: MQ, configSize: 0 }, {}, 'EPEER', /max_virtqueue_pairs is 65535/],
  ['rings of nothing', { ringSize: 0 }, {}, 'EPEER', /rings of 0 descriptors, 1 to 32768 is expected/],
  ['rings of too much', { ringSize: 32769 }, {}, 'EPEER', /rings of 32769 descriptors/],
  ['queues, without MQ', { maxPairs: 8, queues: 17 }, { queues: 2 }, 'ECONFIG', /has one queue pair: use queues=1, or/],
  [
    'more queues than there are',
    { offered: MQ, maxPairs: 2, queues: 5 },
    { queues: 3 },
    'ECONFIG',
    /^queues=3 is too many for .*, which has 2 queue pairs: use queues=2, or .*max_vqp 3/,
  ],
] satisfies [string, FakeVdpaOptions, object, string, RegExp][]) {
  test(`a device that cannot be used: ${title}`, (t) => {
    const { kernel, open } = vdpaFixture(t, options);
    t.throws(() => open(wishes), { code, message });
    t.deepEqual(kernel.leftovers, []);
  });
}

test('a range of addresses that the packet memory lies outside of already', (t) => {
  const { eal, kernel, open } = vdpaFixture(t, { range: [0n, 0xffff_ffffn] });
  eal.reserve('before', 4096);
  t.throws(() => open(), { code: 'EMEMORY', message: /attach this device before any mempool is made/ });
  t.deepEqual(kernel.leftovers, []);
});

test('memory that cannot be mapped: how much, and what the kernel may lack', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  const write = kernel.write.bind(kernel);
  kernel.write = (fd, bytes) => {
    if (bytes[33] === 2) kernel.failures.set('write', 'EFAULT');
    write(fd, bytes);
  };
  const error = t.throws(() => init(device), { code: 'EMEMORY' });
  t.regex(
    error.message,
    /4 MiB of packet memory at 0x100000000 .*\(EFAULT\): raise .*\(ulimit -l unlimited\).* and use hugepages/,
  );
  t.deepEqual(kernel.mappings, []);
  t.false(kernel.inBatch);
});

test('the system as it is: a character device of another kind, and a file that is none', (t) => {
  const eal = createEal({ noHuge: true, pinMain: false });
  t.teardown(() => eal.close());
  const wishes = { queues: 1, queueSize: 256, cq: false, log: () => undefined };
  const before = createEventFd();
  for (const path of ['/dev/null', '/proc/self/oom_score_adj']) {
    t.throws(() => openVhostVdpa(eal, { path, ...wishes }), { code: 'ECONFIG', message: /is no vhost-vdpa device/ });
  }
  t.throws(() => openVhostVdpa(eal, { path: '/dev/vhost-vdpa-none', ...wishes }), { code: 'ESYSTEM' });
  const after = createEventFd();
  t.is(after, before + 1, 'nothing stays open');
  closeFd(before);
  closeFd(after);
});

test('what sysfs calls an open file: by its major and minor number', (t) => {
  const fd = vdpaSystem.open('/dev/null');
  t.is(vdpaSystem.entryOf(fd), '/sys/dev/char/1:3');
  t.true(vdpaSystem.exists('/sys/dev/char/1:3'));
  t.false(vdpaSystem.exists('/sys/dev/char/1:333'));
  vdpaSystem.close(fd);
});
