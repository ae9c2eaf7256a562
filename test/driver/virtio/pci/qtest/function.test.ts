/** The qtest bus by itself: configuration space, registers, doorbells, interrupts and the end of things, on a real QEMU. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { readCapabilities } from '../../../../../driver/virtio/pci/capabilities.js';
import { ModernRegisters } from '../../../../../driver/virtio/pci/modern.js';
import { parseQtest } from '../../../../../driver/virtio/pci/qtest/devargs.js';
import { QtestMachine } from '../../../../../driver/virtio/pci/qtest/machine.js';
import { openQtest, type QtestFunction } from '../../../../../driver/virtio/pci/qtest/qtest.js';
import * as F from '../../../../../driver/wire/virtio-features.js';
import { createEventFd, drainFd, signalFd } from '../../../../../native/event.js';
import { closeFd } from '../../../../../native/region.js';
import { listenUnix } from '../../../../../native/socket.js';
import { eventually, sleep, temporaryDirectory } from '../../../../support/peers.js';
import { startMachine } from '../../../support/qtest.js';
import { soon } from '../../../../support/wire.js';
import { lacks, needs } from '../../../../support/needs.js';

const test = needs(lacks('qemu-system-x86_64'));

/** Registers of a modern device, read and written without a driver. */
const QUEUE_SELECT = 22;

/** Takes a device to DRIVER_OK without any queue, which is enough for configuration changes. */
function bringUp(fn: QtestFunction): ModernRegisters {
  const registers = new ModernRegisters(fn, readCapabilities(fn).modern!);
  registers.writeStatus(0);
  registers.writeStatus(F.STATUS_ACKNOWLEDGE | F.STATUS_DRIVER);
  registers.writeFeatures(F.VIRTIO_F_VERSION_1 | F.VIRTIO_NET_F_STATUS);
  registers.writeStatus(F.STATUS_ACKNOWLEDGE | F.STATUS_DRIVER | F.STATUS_FEATURES_OK);
  return registers;
}

const LIVE = F.STATUS_ACKNOWLEDGE | F.STATUS_DRIVER | F.STATUS_FEATURES_OK | F.STATUS_DRIVER_OK;

function eventFd(t: ExecutionContext): number {
  const fd = createEventFd();
  t.teardown(() => closeFd(fd));
  return fd;
}

const openFds = () => readdirSync('/proc/self/fd').length;

/** Running: one that has ended may be there until somebody asks how. */
function isAlive(pid: number): boolean {
  const stat = `/proc/${pid}/stat`;
  return existsSync(stat) && !/\) [ZX] /.test(readFileSync(stat, 'utf8'));
}

test.serial('configuration space and BARs of a modern device; a status written is a status read', async (t) => {
  const machine = await startMachine(t, { devices: ['disable-legacy=on'] });
  const fn = await machine.open();
  t.is(fn.name, `qtest:${machine.socket}:04.0`);
  t.is(fn.readConfig(0, 4), 0x10411af4);
  t.true(fn.present);
  t.is(fn.vectors, 4);
  t.is(fn.bar(0), undefined);
  t.is(fn.bar(5), undefined, 'the upper half of BAR 4');
  const bar = fn.bar(4)!;
  t.deepEqual([bar.kind, bar.byteLength], ['memory', 0x4000]);
  t.throws(() => bar.read(0x4000, 1), { code: 'ECONFIG' });
  const registers = bringUp(fn);
  t.is(registers.readStatus(), F.STATUS_ACKNOWLEDGE | F.STATUS_DRIVER | F.STATUS_FEATURES_OK);
  t.like(fn.addressing, { kind: 'file', offset: 0x1000000, byteLength: 112 << 20, base: 0x1000000n });
  t.notThrows(() => fn.mapDma(0n, 112 << 20, 0x1000000n));
  t.throws(() => fn.mapDma(0n, 4096, 0x1_0000_0000n), { code: 'EMEMORY' });
});

test.serial('a signal to a doorbell writes its value to its register, in memory and in I/O space', async (t) => {
  const machine = await startMachine(t, { devices: ['disable-legacy=off,disable-modern=off'] });
  const fn = await machine.open();
  const modern = fn.bar(4)!;
  // queue_select can be read back, as the notification register cannot
  for (const value of [1, 2]) {
    const doorbell = modern.doorbell(QUEUE_SELECT, value, false);
    t.is(doorbell, modern.doorbell(QUEUE_SELECT, value, false), 'the same for the whole life');
    if (doorbell.kind !== 'eventfd') return t.fail();
    signalFd(doorbell.fd);
    await soon(
      'queue_select',
      () => modern.read(QUEUE_SELECT, 2),
      (selected) => selected === value,
    );
  }
  const legacy = fn.bar(0)!;
  t.is(legacy.kind, 'io');
  const doorbell = legacy.doorbell(14, 1, false);
  if (doorbell.kind !== 'eventfd') return t.fail();
  legacy.write(14, 2, 0);
  signalFd(doorbell.fd);
  await soon(
    'VIRTIO_PCI_QUEUE_SEL',
    () => legacy.read(14, 2),
    (selected) => selected === 1,
  );
  t.throws(() => modern.doorbell(0x3000, 0, true), { code: 'ECONFIG', message: /NOTIFICATION_DATA/ });
});

test.serial(
  'an MSI-X message signals the eventfd of its vector and no other; unused and switched-off ones are silent',
  async (t) => {
    const machine = await startMachine(t);
    const fn = await machine.open();
    const qmp = await machine.qmp();
    const fds = [eventFd(t), eventFd(t)];
    const registers = bringUp(fn);
    t.throws(() => fn.setVectors([1, 2, 3, 4, 5]), { code: 'ECONFIG', message: /has 4 MSI-X vectors, 5 are needed/ });
    fn.setVectors([-1, ...fds]);
    t.true(registers.setConfigVector(2));
    registers.writeStatus(LIVE);
    const flip = async (up: boolean) => void (await qmp.execute('set_link', { name: 'n0', up }));
    await flip(false);
    await soon('vector 2', () => drainFd(fds[1]!), Boolean);
    t.false(drainFd(fds[0]!));
    t.is(registers.readConfig(6, 2)[0]! & 1, 0, 'the link is down');

    t.true(registers.setConfigVector(0));
    await flip(true);
    t.true(registers.setConfigVector(1));
    await flip(false);
    await soon('vector 1', () => drainFd(fds[0]!), Boolean);
    t.false(drainFd(fds[1]!), 'vector 0 has no eventfd');

    fn.setVectors([]);
    await flip(true);
    await sleep(20);
    t.deepEqual(fds.map(drainFd), [false, false]);
  },
);

test.serial('without MSI-X the line interrupt is seen until the ISR is read', async (t) => {
  const machine = await startMachine(t);
  const fn = await machine.open();
  const qmp = await machine.qmp();
  const registers = bringUp(fn);
  registers.writeStatus(LIVE);
  t.false(fn.lineInterrupt());
  await qmp.execute('set_link', { name: 'n0', up: false });
  await soon('the line', () => fn.lineInterrupt(), Boolean);
  t.is(registers.readIsr() & 2, 2);
  t.false(fn.lineInterrupt());
});

test.serial("two functions of one machine: each is one user's at a time", async (t) => {
  const machine = await startMachine(t, { devices: ['', 'disable-legacy=on'] });
  const first = await machine.open();
  await t.throwsAsync(machine.open(',addr=4'), { code: 'ECONFIG', message: /04\.0 \(in use\), 05\.0/ });
  await t.throwsAsync(machine.open(',addr=06.0'), { code: 'ECONFIG', message: /no free virtio-net function 06\.0/ });
  const second = await machine.open();
  t.deepEqual(
    [first, second].map((fn) => fn.name.slice(-4)),
    ['04.0', '05.0'],
  );
  t.not(first.bar(4), undefined);
  bringUp(first);
  t.is(new ModernRegisters(second, readCapabilities(second).modern!).readStatus(), 0, 'BARs do not overlap');
  await t.throwsAsync(machine.open(), { code: 'ECONFIG', message: /no virtio-net function that is free/ });
  first.close();
  t.true(second.present);
  const again = await machine.open(',addr=04.0');
  t.true(again.present);
});

test.serial('closed and opened again, with its bridge at work or still loading: nothing is left behind', async (t) => {
  const machine = await startMachine(t);
  const open = async (awaitBridge: boolean) => {
    const fn = await openQtest(parseQtest(machine.devargs));
    const bar = fn.bar(4)!;
    const doorbell = bar.doorbell(QUEUE_SELECT, 1, false);
    if (doorbell.kind !== 'eventfd') throw new Error(doorbell.kind);
    signalFd(doorbell.fd);
    if (awaitBridge)
      await soon(
        'the bridge',
        () => bar.read(QUEUE_SELECT, 2),
        (value) => value === 1,
      );
    bar.write(QUEUE_SELECT, 2, 0);
    fn.close();
    t.false(fn.present);
    t.is(fn.readConfig(0, 4), 0xffffffff);
    fn.close();
  };
  await open(true);
  const before = openFds();
  for (let i = 0; i < 6; i++) await open(i % 2 === 0);
  // threads that were called off before they had loaded are still loading
  await eventually('descriptors', openFds, (now) => now <= before);
  t.pass();
});

test.serial('QEMU is killed: the function is gone, everything reads as ones, and close() still works', async (t) => {
  const machine = await startMachine(t);
  const fn = await machine.open();
  const bar = fn.bar(4)!;
  fn.setVectors([eventFd(t)]);
  machine.qemu.kill();
  await soon(
    'gone',
    () => fn.present,
    (present) => !present,
  );
  t.deepEqual([bar.read(0, 1), bar.read(0, 2), bar.read(0, 4)], [0xff, 0xffff, 0xffffffff]);
  t.is(fn.readConfig(0x10, 4), 0xffffffff);
  bar.write(0, 4, 1);
  fn.writeConfig(4, 2, 0);
  fn.setVectors([]);
  t.false(fn.lineInterrupt());
  fn.close();
});

test.serial('a device that is unplugged is gone, although its machine is not', async (t) => {
  const machine = await startMachine(t, { machine: 'pc', devices: ['id=nic', ''] });
  const fn = await machine.open();
  const other = await machine.open();
  const qmp = await machine.qmp();
  bringUp(fn);
  await qmp.execute('device_del', { id: 'nic' });
  t.true(fn.present, 'the guest has been asked only');
  // the guest's answer: ACPI PCI hotplug, PCI_EJ_BASE, slot 4
  QtestMachine.open(machine.socket, machine.ram).write('io', 0xae08, 4, 1 << 4);
  await qmp.event('DEVICE_DELETED');
  t.is(fn.bar(4)!.read(20, 1), 0xff);
  t.false(fn.present);
  t.is(fn.readConfig(0, 2), 0xffff);
  t.true(other.present);
  bringUp(other);
});

test.serial('no QEMU at the socket: one is started, and ends with its last function', async (t) => {
  const directory = temporaryDirectory(t);
  const [socket, ram] = [join(directory, 'q'), join(directory, 'ram')];
  const lines: string[] = [];
  const args = parseQtest(`qtest:${socket},ram=${ram},nics=2,qemu=packed=on;mq=off`);
  const one = await openQtest(args, { log: (line) => lines.push(line) });
  const two = await openQtest(args, { log: (line) => lines.push(line) });
  t.teardown(() => [one, two].forEach((fn) => fn.close()));
  const pid = Number(/QEMU started \(process (\d+)\)/.exec(lines[0]!)![1]);
  t.regex(lines[1]!, /there is a QEMU already/);
  t.true(isAlive(pid));
  one.close();
  t.true(two.present);
  two.close();
  await eventually(
    'its end',
    () => isAlive(pid),
    (alive) => !alive,
  );
  t.deepEqual(readdirSync(directory), []);
});

test.serial('a program that ends does so with its QEMU, whether or not it closed anything', async (t) => {
  const directory = temporaryDirectory(t);
  const devargs = `qtest:${join(directory, 'q')},ram=${join(directory, 'ram')}`;
  const child = ['--import', './tools/ts.mjs', 'test/driver/virtio/pci/qtest/support/child.ts', devargs];
  const { stdout, stderr, status, signal } = spawnSync(process.execPath, child, { encoding: 'utf8', timeout: 60_000 });
  t.is(stderr, '');
  t.deepEqual([status, signal], [0, null], 'the bridge does not keep a process alive');
  await eventually(
    'its end',
    () => isAlive(Number(stdout)),
    (alive) => !alive,
  );
  t.deepEqual(readdirSync(directory), []);
});

test.serial('mistakes are sentences', async (t) => {
  const directory = temporaryDirectory(t);
  const path = (name: string) => join(directory, name);
  const open = (devargs: string) => openQtest(parseQtest(devargs), { timeoutMs: 200 });
  const machine = await startMachine(t);
  const { socket, ram } = machine;
  const files = openFds();

  await t.throwsAsync(open(`qtest:${socket},ram=${path('none')}`), { code: 'ESYSTEM', message: /mem-path/ });
  writeFileSync(path('small'), 'x');
  await t.throwsAsync(open(`qtest:${socket},ram=${path('small')}`), { code: 'ECONFIG', message: /has 1 bytes/ });
  writeFileSync(path('other'), new Uint8Array(64 << 20));
  await t.throwsAsync(open(`qtest:${socket},ram=${path('other')}`), {
    code: 'ECONFIG',
    message: /is not the memory of the QEMU at .*share=on/,
  });

  writeFileSync(path('stale'), '');
  await t.throwsAsync(open(`qtest:${path('stale')},ram=${ram}`), { code: 'ESOCKET', message: /remove that file/ });
  const silent = listenUnix(path('silent'));
  t.teardown(() => closeFd(silent));
  await t.throwsAsync(open(`qtest:${path('silent')},ram=${ram}`), {
    code: 'EPEER',
    message: /does not answer \(200 ms/,
  });

  const fn = await machine.open();
  await t.throwsAsync(open(`qtest:${socket},ram=${path('other')}`), { code: 'ECONFIG', message: /give the same file/ });
  fn.close();
  await t.throwsAsync(open(`qtest:${path('q')},ram=${path('r')},qemu=nonsense=1`), {
    code: 'ECONFIG',
    message: /^QEMU cannot be started: .*nonsense/,
  });
  t.false(existsSync(path('q')) || existsSync(path('r')));
  await eventually('descriptors', openFds, (now) => now <= files + 1); // and the silent one
});
