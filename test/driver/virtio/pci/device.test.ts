/** A virtio PCI device over its life: interrupts, control queue, resets, and devices that go away or never answer. */
import test from 'ava';
import { isVirtioPmdError } from '../../../../native/errors.js';
import { drainFd, signalFd } from '../../../../native/event.js';
import { driverPosition } from '../../../../driver/virtio/pci/notification-data.js';
import { rxModeCommand } from '../../../../driver/virtio/control/commands.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import { viewsOf } from '../../../../native/region.js';
import { ControlDevice } from '../support/control-device.js';
import { FAKE_NET_OFFER } from './support/mock-virtio-net.js';
import { pciFixture, RESET_ATTEMPTS, type PciFixture } from './support/pci-fixture.js';

const NO_CTRL = FAKE_NET_OFFER & ~F.VIRTIO_NET_F_CTRL_VQ;
const LEGACY = { legacy: true, modern: false, offered: FAKE_NET_OFFER & 0xffffffffn };
const GONE = /0000:00:03\.0: the device does not answer \(all ones\)/;

// ---- devices that go away --------------------------------------------------------------------------------------------

for (const [kind, options] of [
  ['modern', {}],
  ['legacy', LEGACY],
] as const) {
  test(`a ${kind} device that is pulled at any access during probe and initialisation: an error that says so`, (t) => {
    const whole = pciFixture(t, options);
    whole.init(whole.probe());
    const { accesses } = whole.fn;
    t.true(accesses > 30);
    // the last access is the store of DRIVER_OK, after which nobody looks before the next poll
    for (let lives = 0; lives < accesses - 1; lives++) {
      const { fn, probe, init, dispose } = pciFixture(t, options);
      fn.lives = lives;
      const error = t.throws(() => init(probe()));
      t.true(isVirtioPmdError(error, 'EPEER'), `${lives}: ${error.stack}`);
      dispose();
    }
  });

  test(`a ${kind} device that is pulled while it runs: 'lost' once, no spinning, and every call says why`, (t) => {
    const { fn, probe, init } = pciFixture(t, options);
    const device = probe();
    init(device);
    t.is(device.poll(), undefined);
    fn.pull();
    t.true(device.connected);
    t.is(device.poll(), 'lost');
    t.false(device.connected);
    const { accesses } = fn;
    for (let i = 0; i < 3; i++) t.is(device.poll(), undefined);
    for (const call of [
      () => device.readStatus(),
      () => device.writeStatus(0),
      () => device.readFeatures(),
      () => device.writeFeatures(F.VIRTIO_F_VERSION_1),
      () => device.readConfig(0, 6),
      () => device.control(rxModeCommand(0, true)),
    ]) {
      t.regex(t.throws(call, { code: 'EPEER' }).message, GONE);
    }
    device.notify(0);
    t.true(fn.accesses - accesses < 20);
    t.notThrows(() => device.close());
    t.is(fn.closes, 1);
  });
}

test('a device that the bus knows to be gone is lost although its registers still answer', (t) => {
  const { fn, probe } = pciFixture(t);
  const device = probe();
  fn.present = false;
  t.throws(() => device.readConfig(0, 6), { code: 'EPEER' });
  t.is(device.poll(), 'lost');
  fn.present = true;
  t.is(device.poll(), undefined);
  t.false(device.connected);
});

// ---- resets ----------------------------------------------------------------------------------------------------------

test('a reset that takes a while is waited for; one that never completes has its limit', (t) => {
  const slow = pciFixture(t, { resetTakes: RESET_ATTEMPTS - 1 });
  t.notThrows(() => slow.init(slow.probe()));
  const never = pciFixture(t, { resetTakes: Infinity });
  t.regex(t.throws(never.probe, { code: 'ETIMEOUT' }).message, /did not complete its reset/);
  t.is(never.fn.closes, 1);
});

test('DEVICE_NEEDS_RESET is reported once, and again after a reset', (t) => {
  const { fn, probe, init } = pciFixture(t, { offered: NO_CTRL });
  const device = probe();
  init(device);
  for (let i = 0; i < 2; i++) {
    fn.status |= F.STATUS_NEEDS_RESET;
    t.is(device.poll(), 'needs-reset');
    t.is(device.poll(), undefined);
    t.is(device.readStatus() & F.STATUS_NEEDS_RESET, F.STATUS_NEEDS_RESET);
    init(device);
    t.is(device.poll(), undefined);
  }
  t.is(fn.trace.filter((line) => line.startsWith('dma')).length, 1);
});

test('a device that is given up is kept from memory, for ever', (t) => {
  const { fn, probe } = pciFixture(t);
  const device = probe();
  device.disconnect();
  t.false(device.connected);
  t.is(fn.config.getUint16(4, true), 0x0003); // memory and I/O, no bus master
  t.is(device.poll(), undefined);
  t.throws(() => device.writeStatus(1), { code: 'EPEER' });
});

test('close resets the device, switches MSI-X off and gives the memory back, once', (t) => {
  const { eal, fn, probe, init } = pciFixture(t);
  const device = probe();
  device.setInterrupts!(0);
  init(device);
  device.close();
  device.close();
  t.is(fn.status, 0);
  t.is(fn.closes, 1);
  t.deepEqual(fn.eventFds, []);
  // the control queue's ring was behind the data queues'
  t.is(eal.reserve('next', 4096, 4096).offset, 6 * 4096);
});

// ---- interrupts ------------------------------------------------------------------------------------------------------

test('vector 0 for changes, vector i + 1 for Rx queue i, none for Tx and the control queue', (t) => {
  const offered = FAKE_NET_OFFER | F.VIRTIO_NET_F_MQ;
  const { fn, probe, init } = pciFixture(t, { offered, maxPairs: 2, sizes: [256, 256, 256, 256, 64] });
  const device = probe();
  t.is(device.rxInterruptFd!(0), undefined);
  device.setInterrupts!(2);
  init(device, { pairs: 2 });
  t.is(fn.configVector, 0);
  t.deepEqual(
    fn.queues.map(({ vector }) => vector),
    [1, 0xffff, 2, 0xffff, 0xffff],
  );
  const [, first, second] = fn.eventFds;
  t.is(device.rxInterruptFd!(0), first);
  t.is(device.rxInterruptFd!(1), second);
  t.is(device.rxInterruptFd!(2), undefined);
  signalFd(second!);
  t.true(drainFd(device.rxInterruptFd!(1)!));

  t.is(device.poll(), undefined);
  fn.changeConfig((net) => net.setUint16(6, 0, true));
  t.is(device.poll(), 'config');
  t.is(device.poll(), undefined);
  t.is(fn.isr, 3); // with MSI-X the interrupt status is left alone
});

test('interrupts survive a new initialisation: the device forgets its vectors at a reset', (t) => {
  const { fn, probe, init } = pciFixture(t, { offered: NO_CTRL });
  const device = probe();
  device.setInterrupts!(1);
  init(device);
  const fd = device.rxInterruptFd!(0);
  init(device);
  t.is(fn.queues[0]!.vector, 1);
  t.is(device.rxInterruptFd!(0), fd);
});

test('too few vectors: how many there are and what to do', (t) => {
  const { fn, probe } = pciFixture(t, { vectors: 3 });
  const device = probe();
  const error = t.throws(() => device.setInterrupts!(3), { code: 'ECONFIG' });
  t.regex(error.message, /has 3 MSI-X vectors, 4 are needed .*vectors=8/);
  t.false(fn.trace.some((line) => line.startsWith('vectors')));
});

test('no vectors at all: changes are asked for, Rx queues cannot have an interrupt', (t) => {
  const { fn, probe } = pciFixture(t, { vectors: 0 });
  const device = probe();
  device.setInterrupts!(0);
  t.is(device.rxInterruptFd!(0), undefined);
  const error = t.throws(() => device.setInterrupts!(2), { code: 'ECONFIG' });
  t.regex(
    error.message,
    /no MSI-X vectors here, .* 2 Rx queues .*\(Multiple intr vector not supported\): .*vectors=6\)$/,
  );
  t.false(fn.trace.some((line) => line.startsWith('vectors')));
});

test('vectors are wired up when their number changes, and only then; descriptors stay the same', (t) => {
  const { fn, probe } = pciFixture(t, { vectors: 4 });
  const device = probe();
  const wired = () => fn.trace.filter((line) => line.startsWith('vectors'));
  for (const rxQueues of [0, 0, 2, 2]) device.setInterrupts!(rxQueues);
  t.deepEqual(wired(), ['vectors 1', 'vectors 3']);
  const fds = [0, 1].map((queue) => device.rxInterruptFd!(queue));
  t.throws(() => device.setInterrupts!(4), { code: 'ECONFIG' });
  t.is(device.rxInterruptFd!(1), fds[1], 'what is refused changes nothing');
  device.setInterrupts!(1);
  t.is(device.rxInterruptFd!(1), undefined);
  device.setInterrupts!(2);
  t.deepEqual(
    [0, 1].map((queue) => device.rxInterruptFd!(queue)),
    fds,
  );
});

test("vectors that the device refuses: DPDK's words, and no DRIVER_OK", (t) => {
  for (const [refuses, message] of [
    [[0], /failed to set config vector/],
    [[1], /failed to set queue vector: .* vector 1 of virtqueue 0/],
  ] as const) {
    const { fn, probe, init } = pciFixture(t, { offered: NO_CTRL, refuses });
    const device = probe();
    device.setInterrupts!(1);
    t.regex(t.throws(() => init(device), { code: 'EPEER' }).message, message);
    t.is(fn.status & F.STATUS_DRIVER_OK, 0);
    t.is(fn.status & F.STATUS_FAILED, F.STATUS_FAILED);
  }
});

test('without MSI-X changes are found in the interrupt status', (t) => {
  const { fn, probe, init } = pciFixture(t, { offered: NO_CTRL });
  const device = probe();
  init(device);
  fn.isr = 1; // a queue's interrupt
  t.is(device.poll(), undefined);
  fn.changeConfig((net) => net.setUint16(6, 0, true));
  t.is(device.poll(), 'config');
  t.is(device.poll(), undefined);
});

for (const [kind, options] of [
  ['modern', {}],
  ['legacy', LEGACY],
] as const) {
  test(`${kind}, igb_uio: its one vector is for changes, queues have none, and the interrupt status is not asked`, (t) => {
    const offered = kind === 'legacy' ? LEGACY.offered & NO_CTRL : NO_CTRL;
    const { fn, probe, init } = pciFixture(t, { ...options, offered, vectors: 0, singleVector: true, bus: 'uio' });
    const device = probe();
    device.setInterrupts!(0);
    init(device);
    t.is(fn.configVector, 0);
    t.deepEqual(
      fn.queues.slice(0, 2).map(({ vector }) => vector),
      [0xffff, 0xffff],
    );
    fn.isr = 3;
    t.is(device.poll(), undefined);
    fn.fired = true;
    t.is(device.poll(), 'config');
    t.is(device.poll(), undefined);
  });
}

test('igb_uio: a vector that the device refuses', (t) => {
  const options = { offered: NO_CTRL, vectors: 0, singleVector: true, refuses: [0] };
  const { probe, init } = pciFixture(t, options);
  t.regex(t.throws(() => init(probe()), { code: 'EPEER' }).message, /failed to set config vector/);
});

test('Rx interrupts are refused by the way to the device: one vector, the line, no driver', (t) => {
  for (const [options, message] of [
    [
      { singleVector: true },
      /^0000:00:03\.0 has one MSI-X vector here, which igb_uio uses, and it cannot tell 2 Rx queues from .*\(Multiple intr/,
    ],
    [
      {},
      /^0000:00:03\.0 has no MSI-X vectors here, and its one line interrupt cannot tell 2 Rx queues.*\(Multiple intr/,
    ],
    [
      { ...LEGACY, bus: 'ports' },
      /^0000:00:03\.0 has no interrupts for its Rx queues, as it is bound to no driver: bind it to vfio-pci .*vectors=6\)$/,
    ],
  ] as const) {
    const device = pciFixture(t, { bus: 'uio', ...options, vectors: 0 }).probe();
    t.regex(t.throws(() => device.setInterrupts!(2), { code: 'ECONFIG' }).message, message);
  }
});

// ---- control queue ---------------------------------------------------------------------------------------------------

/** Has the fake answer commands on virtqueue `index` with `ack`. */
function answerAt({ eal, fn }: Pick<PciFixture, 'eal' | 'fn'>, index: number, ack: number): ControlDevice {
  const { size, words } = fn.queues[index]!;
  const device = new ControlDevice(eal, size, ack);
  const address = (i: number) => BigInt(words[2 * i]!) | (BigInt(words[2 * i + 1]!) << 32n);
  fn.onNotify = (at) => {
    if (at === index) device.run({ desc: address(0), avail: address(1), used: address(2) });
  };
  return device;
}

test('commands go through the control queue, the last virtqueue: 2 without MQ', (t) => {
  const fixture = pciFixture(t);
  const device = fixture.probe();
  t.regex(
    t.throws(() => device.control(rxModeCommand(0, true)), { code: 'ECONFIG' }).message,
    /Control queue is not supp/,
  );
  fixture.init(device);
  const control = answerAt(fixture, 2, 0);
  t.is(device.control(rxModeCommand(1, true)), 0);
  t.is(device.control(rxModeCommand(0, false)), 0);
  t.deepEqual(control.seen, [
    { class: 0, command: 1, data: [1] },
    { class: 0, command: 0, data: [0] },
  ]);
  fixture.init(device);
  t.is(answerAt(fixture, 2, 1).seen.length, 0);
  t.is(device.control(rxModeCommand(1, true)), 1);
});

test('with MQ the control queue comes behind all pairs that the device has, used or not', (t) => {
  const sizes = [...Array.from({ length: 2 * 130 }, () => 64), 16];
  const fixture = pciFixture(t, { offered: FAKE_NET_OFFER | F.VIRTIO_NET_F_MQ, maxPairs: 130, sizes });
  const device = fixture.probe();
  t.is(device.maxQueuePairs, 128);
  fixture.init(device, { pairs: 2 });
  const control = answerAt(fixture, 260, 0);
  t.is(device.control(rxModeCommand(0, true)), 0);
  t.is(control.seen.length, 1);
});

test('CTRL_VQ without a virtqueue for it, or with one that no ring fits: no DRIVER_OK', (t) => {
  for (const sizes of [
    [256, 256],
    [256, 256, 48],
  ]) {
    const { fn, probe, init } = pciFixture(t, { sizes });
    const device = probe();
    t.throws(() => init(device), { code: 'EPEER' });
    t.is(fn.status & F.STATUS_DRIVER_OK, 0);
  }
});

test('a device that is pulled while a command is under way', (t) => {
  const { fn, probe, init } = pciFixture(t);
  const device = probe();
  init(device);
  fn.onNotify = () => fn.pull();
  t.regex(t.throws(() => device.control(rxModeCommand(0, true)), { code: 'EPEER' }).message, GONE);
});

// ---- where the driver is ---------------------------------------------------------------------------------------------

test('NOTIFICATION_DATA on a split ring is the avail index, all 16 bits of it', (t) => {
  const { eal, ring } = pciFixture(t);
  const queue = ring(0, 8, false);
  const { u16 } = viewsOf(eal.memory!);
  for (const index of [0, 1, 8, 0x7fff, 0x8000, 0xffff]) {
    u16[(queue.driver + 2) >> 1] = index;
    t.is(driverPosition(eal.memory!, queue, false), index);
  }
});

test('NOTIFICATION_DATA on a packed ring is the next descriptor and its wrap counter, at every place of three laps', (t) => {
  const { eal, ring } = pciFixture(t);
  for (const size of [1, 2, 5, 8]) {
    const queue = ring(size, size, true);
    const { u16 } = viewsOf(eal.memory!);
    let at = 0;
    let wrap = 1;
    for (let step = 0; step < 3 * size; step++) {
      t.is(driverPosition(eal.memory!, queue, true), at | (wrap << 15), `size ${size}, step ${step}`);
      const flags = (queue.desc + 16 * at + 14) >> 1;
      // made available; and on every other lap used at once
      u16[flags] = wrap ? 1 << 7 : 1 << 15;
      if (step % 3 === 0) u16[flags] = wrap ? (1 << 7) | (1 << 15) : 0;
      if (++at === size) {
        at = 0;
        wrap ^= 1;
      }
    }
  }
});
