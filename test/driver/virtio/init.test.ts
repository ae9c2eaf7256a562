/** The initialisation sequence (virtio 1.2 section 3.1.1) against a fake device: right order, and every way to fail. */
import test from 'ava';
import fc from 'fast-check';
import { negotiate, requestFeatures } from '../../../driver/virtio/features.js';
import { initDevice, resetDevice, type InitPlan } from '../../../driver/virtio/init.js';
import * as F from '../../../driver/wire/virtio-features.js';
import { FakeTransport, type FakeOptions } from '../../support/mock-transport.js';

const wishes = {
  mrgRxbuf: true,
  inOrder: true,
  packedVq: true,
  cq: false,
  eventIdx: false,
  rxOffloads: 0,
  txOffloads: 0,
};

function planFor(device: FakeTransport): InitPlan {
  return {
    negotiate: (offer) => negotiate(offer, requestFeatures(wishes), device.supported),
    setupQueues: () => {
      for (const index of [0, 1]) device.setupQueue({ index, size: 256, desc: 0, driver: 0, device: 0, base: 0 });
    },
    resetAttempts: 3,
  };
}

const FEATURES = F.VIRTIO_F_VERSION_1 | F.VIRTIO_NET_F_MRG_RXBUF;

function run(options: FakeOptions) {
  const device = new FakeTransport({ offered: FEATURES, ...options });
  return { device, init: () => initDevice(device, planFor(device)) };
}

test('a modern device sees reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK, queues, DRIVER_OK', (t) => {
  const { device, init } = run({});
  const { acknowledged } = init();
  t.is(acknowledged, FEATURES);
  t.deepEqual(device.trace, [
    'status 0x0',
    'status 0x1',
    'status 0x3',
    `features 0x${FEATURES.toString(16)}`,
    'status 0xb',
    'queue 0',
    'queue 1',
    'status 0xf',
  ]);
});

test('a legacy device (no VERSION_1) never sees FEATURES_OK', (t) => {
  const { device, init } = run({ offered: F.VIRTIO_NET_F_MRG_RXBUF });
  init();
  t.deepEqual(device.trace, [
    'status 0x0',
    'status 0x1',
    'status 0x3',
    'features 0x8000',
    'queue 0',
    'queue 1',
    'status 0x7',
  ]);
});

test('a device that refuses FEATURES_OK is told FAILED, and no queue is set up', (t) => {
  const { device, init } = run({ drops: F.STATUS_FEATURES_OK });
  const error = t.throws(init, { code: 'EPEER' });
  t.regex(error.message, /Failed to set FEATURES_OK status!.*mrg_rxbuf=0/);
  t.is(device.trace.at(-1), 'status 0x83');
  t.false(device.trace.some((line) => line.startsWith('queue')));
});

test('a device that asks for a reset during the negotiation is told FAILED', (t) => {
  const { device, init } = run({ shows: F.STATUS_NEEDS_RESET });
  const error = t.throws(init, { code: 'EPEER' });
  t.regex(error.message, /asks for a reset/);
  t.is(device.trace.at(-1), 'status 0xcb');
});

test('a reset that takes a while is waited for', (t) => {
  const { device, init } = run({ resetTakes: 2 });
  init();
  t.is(device.trace.at(-1), 'status 0xf');
});

test('a reset that never completes is a time-out that names the status', (t) => {
  const { device, init } = run({ resetTakes: Infinity });
  const error = t.throws(init, { code: 'ETIMEOUT' });
  t.regex(error.message, /did not complete its reset.*0x4/);
  t.deepEqual(device.trace, ['status 0x0']);
});

test('resetDevice on an idle device writes 0 once', (t) => {
  const device = new FakeTransport();
  resetDevice(device);
  t.deepEqual(device.trace, ['status 0x0']);
});

test('wherever the device fails, status bits are only added, FAILED is last and DRIVER_OK is never written', (t) => {
  const complete = run({}).device;
  initDevice(complete, planFor(complete));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: complete.trace.length - 1 }), (failAt) => {
      const { device, init } = run({ failAt });
      t.throws(init, { code: 'EPEER' });
      const statuses = device.trace.filter((line) => line.startsWith('status')).map((line) => Number(line.slice(7)));
      let previous = 0;
      for (const status of statuses.slice(1)) {
        t.is(previous & ~status, 0);
        previous = status;
      }
      t.true((statuses.at(-1)! & F.STATUS_FAILED) !== 0);
      t.is(statuses.at(-1)! & F.STATUS_DRIVER_OK, 0);
    }),
  );
});
