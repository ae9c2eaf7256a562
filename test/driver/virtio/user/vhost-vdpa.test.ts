/** A vdpa device over its life: what it is told and when, its configuration, control queue and interrupts. */
import test from 'ava';
import { drainFd, signalFd } from '../../../../native/event.js';
import { viewsOf } from '../../../../native/region.js';
import type { Eal } from '../../../../driver/eal/eal.js';
import { macAddressCommand, rxModeCommand } from '../../../../driver/virtio/control/commands.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import { ControlDevice } from '../support/control-device.js';
import { BATCH, FAKE_VDPA_OFFER, MSG_V2, type FakeVdpa } from './support/mock-vdpa.js';
import { vdpaFixture } from './support/mock-vdpa-fixture.js';

const NO_CTRL = FAKE_VDPA_OFFER & ~F.VIRTIO_NET_F_CTRL_VQ;
const MQ = FAKE_VDPA_OFFER | F.VIRTIO_NET_F_MQ;

/** Has the fake answer commands on virtqueue `index` with `ack`. */
function answers(eal: Eal, kernel: FakeVdpa, index: number, ack: number): ControlDevice {
  const device = new ControlDevice(eal, kernel.vrings[index]!.size, ack);
  kernel.onKick = (kicked) => {
    if (kicked === index) device.run(kernel.vrings[index]!);
  };
  return device;
}

test('an initialisation: owner, back-end features, then at DRIVER_OK memory and every ring, by device addresses', (t) => {
  const { eal, kernel, open, init, reach } = vdpaFixture(t, { offered: NO_CTRL });
  const device = open({ cq: false });
  t.is(kernel.calls[0], `open ${kernel.path}`);
  t.true(kernel.calls.indexOf('VHOST_SET_OWNER') < kernel.calls.indexOf('VHOST_SET_BACKEND_FEATURES'));
  const before = kernel.calls.length;
  const { acknowledged } = init(device);
  t.is(acknowledged & F.VIRTIO_F_VERSION_1, F.VIRTIO_F_VERSION_1);
  t.is(kernel.driverFeatures, acknowledged | F.VIRTIO_F_IOMMU_PLATFORM);

  const told = kernel.calls.slice(before).filter((call) => !call.includes('GET_'));
  const ring = (index: number) => [
    `VHOST_SET_VRING_NUM ${index} 256`,
    `VHOST_SET_VRING_BASE ${index} 0`,
    `VHOST_SET_VRING_ADDR ${index}`,
    `VHOST_SET_VRING_KICK ${index} ${kernel.vrings[index]!.kick}`,
    `VHOST_VDPA_SET_VRING_ENABLE ${index} 1`,
  ];
  t.deepEqual(told, [
    ...['VHOST_VDPA_SET_STATUS 0x0', 'VHOST_VDPA_SET_STATUS 0x1', 'VHOST_VDPA_SET_STATUS 0x3', 'VHOST_SET_FEATURES'],
    ...['VHOST_VDPA_SET_STATUS 0xb', 'VHOST_VDPA_SET_CONFIG_CALL', 'write 5', 'write 2', 'write 6'],
    ...[...ring(0), ...ring(1)],
    'VHOST_VDPA_SET_STATUS 0xf',
  ]);
  t.deepEqual(kernel.mappings, reach());
  for (const { desc, avail, used } of kernel.vrings.slice(0, 2)) {
    t.true(desc >= eal.deviceAddress(0) && avail > desc && used > avail);
  }
  for (const index of [0, 1]) {
    t.deepEqual(device.doorbell(index), { kind: 'eventfd', fd: kernel.vrings[index]!.kick });
    drainFd(kernel.vrings[index]!.kick);
    device.notify(index);
    t.true(drainFd(kernel.vrings[index]!.kick));
  }
});

test('a packed ring begins with both wrap counters set', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  init(open(), true);
  t.deepEqual(
    kernel.vrings.map(({ base }) => base),
    [0x8000_8000, 0x8000_8000, 0x8000_8000],
  );
});

test('a kernel without batches: mappings one by one', (t) => {
  const { kernel, open, init, reach } = vdpaFixture(t, { backendFeatures: MSG_V2 });
  init(open());
  t.deepEqual(
    kernel.calls.filter((call) => call.startsWith('write')),
    ['write 2'],
  );
  t.deepEqual(kernel.mappings, reach());
});

test('a device that does not offer IOMMU_PLATFORM sees addresses of its IOTLB all the same', (t) => {
  const { kernel, open, init } = vdpaFixture(t, { offered: FAKE_VDPA_OFFER & ~F.VIRTIO_F_IOMMU_PLATFORM });
  t.is(init(open()).acknowledged & F.VIRTIO_F_IOMMU_PLATFORM, 0n);
  t.is(kernel.driverFeatures & F.VIRTIO_F_IOMMU_PLATFORM, F.VIRTIO_F_IOMMU_PLATFORM);
});

test('NOTIFICATION_DATA is not carried by an eventfd', (t) => {
  const { open, init } = vdpaFixture(t, { offered: FAKE_VDPA_OFFER | F.VIRTIO_F_NOTIFICATION_DATA });
  t.is(init(open()).acknowledged & F.VIRTIO_F_NOTIFICATION_DATA, 0n);
});

test('features that the device refuses: FEATURES_OK is missed, FAILED is written, nothing is mapped', (t) => {
  const { kernel, open, init } = vdpaFixture(t);
  const device = open();
  const ioctl = kernel.ioctl.bind(kernel);
  kernel.ioctl = (fd, request, argument) => {
    const result = ioctl(fd, request, argument);
    if (request === 'VHOST_VDPA_SET_STATUS') kernel.status &= ~F.STATUS_FEATURES_OK;
    return result;
  };
  t.regex(t.throws(() => init(device), { code: 'EPEER' }).message, /Failed to set FEATURES_OK status!/);
  t.is(kernel.status & F.STATUS_FAILED, F.STATUS_FAILED);
  t.deepEqual(kernel.mappings, []);
});

test('a reset takes the memory back, the next DRIVER_OK gives it again', (t) => {
  const { kernel, open, init, reach } = vdpaFixture(t);
  const device = open();
  for (let i = 0; i < 3; i++) {
    init(device);
    t.deepEqual(kernel.mappings, reach());
    device.writeStatus(0);
    t.deepEqual(kernel.mappings, []);
  }
});

// ---- queues ----------------------------------------------------------------------------------------------------------

test('ring sizes: what is asked for, the largest that the device has, powers of two only', (t) => {
  for (const [queueSize, ringSize, size] of [
    [256, 256, 256],
    [1024, 256, 256],
    [128, 1024, 128],
    [1000, 1024, 512],
    [256, 100, 64],
  ] as const) {
    const { open, lines, dispose } = vdpaFixture(t, { ringSize });
    const device = open({ queueSize });
    t.deepEqual(
      [0, 1, 2].map((index) => device.maxQueueSize(index)),
      [size, size, 0],
    );
    t.is(lines.length, size < queueSize ? 1 : 0);
    dispose();
  }
});

test('two of four queue pairs: the control queue stays behind all four', (t) => {
  const { eal, kernel, open, init } = vdpaFixture(t, { offered: MQ, maxPairs: 4, queues: 9 });
  const device = open({ queues: 2 });
  t.is(device.maxQueuePairs, 2);
  init(device);
  t.deepEqual(
    kernel.vrings.map(({ enabled }) => enabled),
    [true, true, true, true, false, false, false, false, true],
  );
  const { seen } = answers(eal, kernel, 8, 0);
  t.is(device.control(rxModeCommand(0, true)), 0);
  t.deepEqual(seen, [{ class: 0, command: 0, data: [1] }]);
});

test('interrupts: a CALL eventfd for each Rx queue that wants one, over resets', (t) => {
  const { kernel, open, init } = vdpaFixture(t, { offered: MQ, maxPairs: 2, queues: 5 });
  const device = open({ queues: 2 });
  t.is(device.rxInterruptFd(0), undefined);
  init(device);
  t.true(kernel.vrings.every(({ call }) => call < 0));
  device.setInterrupts(2);
  for (let i = 0; i < 2; i++) {
    init(device);
    t.deepEqual(
      kernel.vrings.map(({ call }) => call),
      [device.rxInterruptFd(0), -1, device.rxInterruptFd(1), -1, -1],
    );
  }
  signalFd(kernel.vrings[2]!.call);
  t.true(drainFd(device.rxInterruptFd(1)!));
});

// ---- control queue ---------------------------------------------------------------------------------------------------

test("the control queue is the device's own: commands and refusals go through it, as virtqueue 2 without MQ", (t) => {
  const { eal, kernel, open, init } = vdpaFixture(t, { offered: MQ & ~F.VIRTIO_NET_F_MQ });
  const device = open();
  init(device);
  const { seen } = answers(eal, kernel, 2, 0xff);
  t.is(device.control(macAddressCommand('02:00:00:00:00:09')), 0xff);
  t.deepEqual(seen, [{ class: 1, command: 1, data: [2, 0, 0, 0, 0, 9] }]);
});

test('a device that breaks the rules of its control queue: no commands until the next reset', (t) => {
  const { eal, kernel, open, init } = vdpaFixture(t);
  const device = open();
  init(device);
  kernel.onKick = (index) => {
    const usedIdx = Number(kernel.vrings[index]!.used - eal.deviceAddress(0)) / 2 + 1;
    viewsOf(eal.memory!).u16[usedIdx] = 7;
  };
  t.throws(() => device.control(rxModeCommand(0, true)), { code: 'EPEER', message: /moved the used index by 7/ });
  t.throws(() => device.control(rxModeCommand(0, true)), { code: 'EPEER', message: /out of use/ });
  init(device);
  answers(eal, kernel, 2, 0);
  t.is(device.control(rxModeCommand(0, true)), 0);
});

test('without cq=1, or when the device has none: no control queue, and a reason', (t) => {
  for (const [offered, cq] of [
    [FAKE_VDPA_OFFER, false],
    [NO_CTRL, true],
  ] as const) {
    const { kernel, open, init, dispose } = vdpaFixture(t, { offered });
    const device = open({ cq });
    const offer = device.readFeatures();
    t.is(offer.bits & F.VIRTIO_NET_F_CTRL_VQ, 0n);
    t.is(offer.withheld.has(F.VIRTIO_NET_F_CTRL_VQ), !cq);
    init(device);
    t.false(kernel.vrings[2]!.enabled);
    t.throws(() => device.control(rxModeCommand(0, true)), {
      code: 'ECONFIG',
      message: /Control queue is not supported/,
    });
    dispose();
  }
});

// ---- configuration ---------------------------------------------------------------------------------------------------

test('the configuration: read within its bounds, all ones beyond them, written within them only', (t) => {
  const { kernel, open } = vdpaFixture(t, { configSize: 12 });
  const device = open();
  t.deepEqual([...device.readConfig(0, 6)], [0x52, 0x54, 0x00, 0x12, 0x34, 0x56]);
  t.deepEqual([...device.readConfig(10, 6)], [0xdc, 0x05, 0xff, 0xff, 0xff, 0xff]);
  t.deepEqual([...device.readConfig(12, 2)], [0xff, 0xff]);
  t.deepEqual([...device.readConfig(1000, 2)], [0xff, 0xff]);
  device.writeConfig(6, Uint8Array.of(0, 0));
  t.is(kernel.net.getUint16(6, true), 0);
  const error = t.throws(() => device.writeConfig(10, Uint8Array.of(1, 2, 3)), { code: 'ECONFIG' });
  t.regex(error.message, /has 12 bytes: bytes 10 to 12 cannot be written/);
});

test('a kernel of before GET_CONFIG_SIZE, GET_VQS_COUNT, GET_IOVA_RANGE and SET_CONFIG_CALL', (t) => {
  const unknown = [
    'VHOST_VDPA_GET_CONFIG_SIZE',
    'VHOST_VDPA_GET_VQS_COUNT',
    'VHOST_VDPA_GET_IOVA_RANGE',
    'VHOST_VDPA_SET_CONFIG_CALL',
  ] as const;
  const { kernel, open, init, reach } = vdpaFixture(t, { unknown });
  const device = open();
  init(device);
  t.is(device.readConfig(6, 2)[0], 1);
  t.deepEqual(kernel.mappings, reach());
});

test("the MAC address: mac= is stored in the device; the device's counts, where it has one that can be", (t) => {
  const mine = Uint8Array.of(2, 0, 0, 0, 0, 7);
  const own = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
  const noMac = FAKE_VDPA_OFFER & ~F.VIRTIO_NET_F_MAC;
  for (const [title, options, mac, expected] of [
    ["the device's", {}, undefined, own],
    ['stored', {}, mine, [...mine]],
    ['not taken', { takesMac: false }, mine, own],
    ['no feature, no mac=', { offered: noMac }, undefined, undefined],
    ['no feature, mac=', { offered: noMac }, mine, [...mine]],
  ] as const) {
    const { kernel, open, init, lines, dispose } = vdpaFixture(t, options);
    const device = open({ mac });
    const offered = (device.readFeatures().bits & F.VIRTIO_NET_F_MAC) !== 0n;
    t.is(offered, expected !== undefined, title);
    if (expected !== undefined) t.deepEqual([...device.readConfig(0, 6)], [...expected], title);
    init(device);
    const has = (kernel.driverFeatures & F.VIRTIO_NET_F_MAC) !== 0n;
    t.is(has, !('offered' in options), `${title}: only what the device offers is acknowledged`);
    t.is(lines.includes(`info: (${kernel.path}) Device MAC update failed`), title === 'not taken');
    dispose();
  }
});

test("a device whose MAC address is nobody's (all zeros, or a group's) counts as one without", (t) => {
  for (const first of [0, 1]) {
    const { kernel, open, dispose } = vdpaFixture(t);
    for (let i = 0; i < 6; i++) kernel.net.setUint8(i, i === 0 ? first : 0);
    const offer = open().readFeatures();
    t.is(offer.bits & F.VIRTIO_NET_F_MAC, 0n);
    t.regex(offer.withheld.get(F.VIRTIO_NET_F_MAC)!, /a random address is used/);
    dispose();
  }
});

test('the address range of the device decides where the packet memory lies', (t) => {
  const first = 0x40_0000n;
  const { kernel, open, init, reach } = vdpaFixture(t, {
    range: [first, 0xffff_ffffn],
    backendFeatures: MSG_V2 | BATCH,
  });
  init(open());
  t.is(kernel.mappings[0]!.iova, first);
  t.deepEqual(kernel.mappings, reach());
});
