/** vdpa devices that fail or go away at any moment, and what they can reach meanwhile. */
import { virtioPort } from '../../../support/virtio-port.js';
import test from 'ava';
import fc from 'fast-check';
import { isVirtioPmdError } from '../../../../native/errors.js';
import { parseVirtioUser } from '../../../../driver/devargs/devargs.js';
import { createEal } from '../../../../driver/eal/eal.js';
import { rxModeCommand } from '../../../../driver/virtio/control/commands.js';
import { VdpaIotlb } from '../../../../driver/virtio/user/vdpa/iotlb.js';
import { openVhostVdpa } from '../../../../driver/virtio/user/vdpa/vhost-vdpa.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import { BATCH, FAKE_VDPA_OFFER, FakeVdpa, MSG_V2 } from './support/mock-vdpa.js';
import { vdpaFixture } from './support/mock-vdpa-fixture.js';

const MQ = { offered: F.VIRTIO_NET_F_MQ | F.VIRTIO_NET_F_CTRL_VQ | F.VIRTIO_F_VERSION_1, maxPairs: 2, queues: 5 };

for (const [title, errno, forGood] of [
  ['fails', 'EIO', false],
  ['finds the device gone', 'ENODEV', true],
] as const) {
  test(`any call ${title}: an error of one sentence, and nothing stays open or mapped`, (t) => {
    const whole = vdpaFixture(t, MQ);
    const device = whole.open({ queues: 2 });
    whole.init(device);
    const calls = whole.kernel.callCount;
    t.true(calls > 40);
    whole.dispose();
    t.deepEqual(whole.kernel.leftovers, []);
    let errors = 0;
    for (let call = 0; call < calls; call++) {
      const { kernel, open, init, dispose } = vdpaFixture(t, MQ);
      kernel.failAt = { call, errno, forGood };
      try {
        init(open({ queues: 2 }));
      } catch (error) {
        errors++;
        t.true(isVirtioPmdError(error) && !error.message.includes('\n'), `${call}: ${(error as Error).stack}`);
      }
      dispose();
      t.deepEqual(kernel.leftovers, [], `${call}: ${kernel.calls[call]}`);
    }
    t.is(errors, calls);
  });
}

test("a device that is removed: 'lost' once, its file closed at once, and every call says why", (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  init(device);
  t.is(device.poll(), undefined);
  kernel.removed = true;
  t.true(device.connected);
  t.is(device.poll(), 'lost');
  t.false(device.connected);
  // eventfds stay: lcores may still ring
  t.deepEqual([...new Set(kernel.leftovers)], ['eventfd']);
  const calls = kernel.callCount;
  for (let i = 0; i < 3; i++) t.is(device.poll(), undefined);
  for (const call of [
    () => device.readStatus(),
    () => device.writeStatus(0),
    () => device.readFeatures(),
    () => device.writeFeatures(F.VIRTIO_F_VERSION_1),
    () => device.readConfig(0, 6),
    () => device.writeConfig(0, new Uint8Array(6)),
    () => device.control(rxModeCommand(0, true)),
  ]) {
    t.throws(call, { code: 'EPEER', message: /the vdpa device was removed: detach the port$/ });
  }
  t.notThrows(() => device.notify(0));
  device.close();
  device.close();
  t.is(kernel.callCount, calls);
  t.deepEqual(kernel.leftovers, []);
  t.notThrows(() => device.notify(0));
});

test('lost as well: a status of all ones, a status that cannot be read, a request that finds no device', (t) => {
  for (const lose of [
    (kernel: FakeVdpa) => (kernel.status = 0xff),
    (kernel: FakeVdpa) => kernel.failures.set('VHOST_VDPA_GET_STATUS', 'EIO'),
  ]) {
    const { kernel, open } = vdpaFixture(t);
    const device = open();
    lose(kernel);
    t.is(device.poll(), 'lost');
  }
  const { kernel, open } = vdpaFixture(t);
  const device = open();
  kernel.failures.set('VHOST_VDPA_GET_CONFIG', 'ENODEV');
  t.throws(() => device.readConfig(0, 6), { code: 'EPEER', message: /was removed/ });
  t.is(device.poll(), 'lost');
});

test('without sysfs a removal cannot be noticed, and nothing is assumed', (t) => {
  const { kernel, open } = vdpaFixture(t, { noSysfs: true });
  const device = open();
  kernel.removed = true;
  t.is(device.poll(), undefined);
  t.true(device.connected);
});

test('DEVICE_NEEDS_RESET is reported once, and again after a reset', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  for (let i = 0; i < 2; i++) {
    init(device);
    t.is(device.poll(), undefined);
    kernel.status |= F.STATUS_NEEDS_RESET;
    t.is(device.poll(), 'needs-reset');
    t.is(device.poll(), undefined);
  }
});

test('a change of the configuration is reported once', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  init(device);
  t.is(device.poll(), undefined);
  kernel.changeConfig((net) => net.setUint16(6, 0, true));
  t.is(device.poll(), 'config');
  t.is(device.poll(), undefined);
});

test('a device that is given up reaches no memory, for ever', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  init(device);
  device.disconnect();
  t.deepEqual([...new Set(kernel.leftovers)], ['eventfd']);
  t.is(kernel.calls.at(-1), 'write 3');
  t.false(device.connected);
  t.is(device.poll(), undefined);
  t.throws(() => device.writeStatus(1), { code: 'EPEER' });
});

test('a port over its life: configured, started, reset by its device, stopped, configured anew, removed', (t) => {
  const eal = createEal({ noHuge: true, memoryMiB: 32, log: () => undefined, pinMain: false });
  const mempool = eal.createMempool({ count: 1024 });
  const kernel = new FakeVdpa({ offered: FAKE_VDPA_OFFER & ~F.VIRTIO_NET_F_CTRL_RX }); // nobody answers commands here
  const args = parseVirtioUser(`net_virtio_user0,path=${kernel.path},cq=1`);
  const lines: string[] = [];
  const log = (level: string, line: string) => void lines.push(`${level}: ${line}`);
  const transport = openVhostVdpa(eal, { path: kernel.path, queues: 1, queueSize: 256, cq: true, log }, kernel);
  const port = virtioPort({ eal, id: 0, devargs: 'net_virtio_user0', args, transport, log });
  let removed = 0;
  port.on('removed', () => removed++);
  t.teardown(() => {
    port.close();
    eal.close();
  });
  const whole = [{ iova: eal.deviceAddress(0), size: 32n << 20n, uaddr: eal.userAddress(0) }];
  port.configure({ mempool });
  t.is(port.mac, '52:54:00:12:34:56');
  port.start();
  t.deepEqual(kernel.mappings, whole);
  t.true(port.link.up);
  kernel.status |= F.STATUS_NEEDS_RESET;
  t.true(port.link.up);
  t.is(kernel.status, 0xf);
  t.deepEqual(kernel.mappings, whole);
  port.stop();
  port.configure({ mempool, mtu: 1400 });
  port.start();
  t.deepEqual(kernel.mappings, whole);
  kernel.removed = true;
  t.false(port.link.up);
  t.is(removed, 1);
  t.true(lines.some((line) => /net_virtio_user0 was removed: detach the port/.test(line)));
  t.deepEqual(kernel.mappings, []);
  port.stop();
  t.throws(() => port.start(), { code: 'ESTATE', message: /was removed: detach the port/ });
  port.close();
  t.deepEqual(kernel.leftovers, []);
  t.deepEqual(eal.leaks(), []);
});

// ---- the IOTLB ---------------------------------------------------------------------------------------------------------

const GRANULE = 1n << 21n;
/** Pieces of memory that do not overlap, in any order. */
const ranges = fc.uniqueArray(fc.bigInt(1n, 40n), { minLength: 1, maxLength: 6 }).map((places) =>
  places.map((place, i) => ({
    ...{ iova: place * GRANULE, userAddress: 0x7f00_0000_0000n + BigInt(i) * GRANULE, byteLength: GRANULE },
  })),
);
const step = fc.record({
  ranges,
  /** Number of the message that fails. */
  fails: fc.option(fc.nat(8), { nil: undefined }),
});

for (const batch of [true, false]) {
  test(`IOTLB ${batch ? 'with' : 'without'} batches: after any sequence, what is mapped is what was asked for last, or nothing`, (t) => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 6 }), (steps) => {
        const kernel = new FakeVdpa({ backendFeatures: batch ? MSG_V2 | BATCH : MSG_V2 });
        const fd = kernel.open(kernel.path);
        kernel.ioctl(fd, 'VHOST_SET_OWNER', 0);
        const iotlb = new VdpaIotlb(kernel.path, (message) => kernel.write(fd, message), batch);
        for (const { ranges, fails } of steps) {
          if (fails !== undefined) kernel.failAt = { call: kernel.callCount + fails, errno: 'EFAULT' };
          const before = kernel.callCount;
          const expected = ranges.map(({ iova, byteLength, userAddress }) => ({
            ...{ iova, size: byteLength, uaddr: userAddress },
          }));
          try {
            iotlb.map(ranges);
            if (fails !== undefined && kernel.callCount > before + fails) return false;
            t.deepEqual(kernel.mappings, expected);
          } catch (error) {
            if (!isVirtioPmdError(error)) throw error;
            t.deepEqual(kernel.mappings, []);
          }
          t.false(kernel.inBatch);
          kernel.failAt = undefined;
          iotlb.unmap();
          iotlb.unmap();
          t.deepEqual(kernel.mappings, []);
        }
        kernel.close(fd);
        return kernel.leftovers.length === 0;
      }),
      { numRuns: 300 },
    );
  });
}

test('a message that is refused when memory is taken back: the reset fails, and the device is given up', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  init(device);
  kernel.failures.set('write', 'EFAULT');
  t.throws(() => device.writeStatus(0), { code: 'EPEER', message: /IOTLB message 3 \(EFAULT\)/ });
  device.disconnect();
  t.deepEqual(kernel.mappings, []);
});
