import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { SystemError } from '../../../../native/errors.js';
import { guardAvailable } from '../../../../native/guard.js';
import { writePort16 } from '../../../../native/port-io.js';
import { openPciFunction } from '../../../../driver/virtio/pci/open.js';
import { systemAt, type PciSystem } from '../../../../driver/virtio/pci/system.js';
import { Vfio } from '../../../../driver/virtio/pci/vfio/group.js';
import { configSpace, pciTree } from './support/pci-tree.js';
import { needs } from '../../../support/needs.js';

const ADDRESS = '0000:00:03.0';
const COMMAND = 4;
const INTX_DISABLE = 0x400;
const NONE = '0x0 0x0 0x0';

type Msix = Parameters<typeof configSpace>[1];

/** A transitional device: I/O ports in BAR 0, memory in BAR 4. Its files are ordinary ones, its uio device a fifo. */
function openUio(t: ExecutionContext, driver = 'uio_pci_generic', change: Partial<PciSystem> = {}, msix?: Msix) {
  const config = configSpace([1, 0, 0, 0, 0xc], msix);
  config[COMMAND + 1] = INTX_DISABLE >> 8;
  const root = pciTree(t, [
    {
      address: ADDRESS,
      driver,
      uio: 'uio3',
      resources: ['0xc040 0xc05f 0x40101', NONE, NONE, NONE, '0x380000000000 0x380000003fff 0x14220c', NONE],
      files: { config, resource0: new Uint8Array(32).fill(0xa5), resource4: new Uint8Array(16384) },
    },
  ]);
  const folder = join(root, 'sys/bus/pci/devices', ADDRESS);
  const uio = join(root, 'dev/uio3');
  t.is(spawnSync('mkfifo', [uio]).status, 0);
  const clock = { now: 0 };
  const lines: string[] = [];
  const opened: number[] = [];
  const system = systemAt(root);
  const watched: PciSystem = {
    ...system,
    now: () => clock.now,
    open: (path) => {
      const fd = system.open(path);
      opened.push(fd);
      return fd;
    },
    close: (fd) => {
      opened.splice(opened.indexOf(fd), 1);
      system.close(fd);
    },
    ...change,
  };
  const fn = openPciFunction(ADDRESS, (_level, line) => lines.push(line), new Vfio(watched));
  t.teardown(() => fn.close());
  const command = () => readFileSync(join(folder, 'config')).readUInt16LE(COMMAND);
  return { fn, folder, uio, clock, lines, opened, command };
}

test('memory and I/O are switched on, bus mastering too, and off again; everything is closed', (t) => {
  const { fn, command, opened } = openUio(t);
  t.is(command(), 7);
  t.deepEqual([fn.bus, fn.name, fn.addressing.kind, fn.vectors], ['uio', ADDRESS, 'physical', 0]);
  fn.bar(0);
  fn.bar(4);
  t.is(opened.length, 3, 'uio, configuration, I/O ports');
  fn.close();
  t.is(command(), 3 | INTX_DISABLE);
  t.deepEqual(opened, []);
  fn.close();
});

test('configuration space: each width', (t) => {
  const { fn, folder } = openUio(t);
  t.is(fn.readConfig(0, 2), 0x1af4);
  t.is(fn.readConfig(0, 4), 0x10411af4);
  t.is(fn.readConfig(1, 1), 0x1a);
  fn.writeConfig(0x40, 4, 0xdeadbeef);
  fn.writeConfig(0x44, 1, 0x12);
  t.is(readFileSync(join(folder, 'config')).readUInt32LE(0x40), 0xdeadbeef);
  t.is(fn.readConfig(0x44, 2), 0x12);
});

test('a memory BAR: one access of the width, nothing beside it', (t) => {
  const { fn, folder } = openUio(t);
  const bar = fn.bar(4)!;
  t.deepEqual([bar.kind, bar.byteLength], ['memory', 16384]);
  const file = () => readFileSync(join(folder, 'resource4'));
  bar.write(0x1000, 4, 0xffffffff);
  bar.write(0x1001, 1, 0x12);
  t.is(file().readUInt32LE(0x1000), 0xffff12ff);
  bar.write(0x1002, 2, 0xabcd);
  t.is(bar.read(0x1000, 4), 0xabcd12ff);
  t.is(bar.read(0x1002, 2), 0xabcd);
  t.is(bar.read(0x1003, 1), 0xab);
  t.true(bar === fn.bar(4), 'mapped once');
});

test('the doorbell of a memory BAR is a place in its mapping; with NOTIFICATION_DATA of 4 bytes', (t) => {
  const bar = openUio(t).fn.bar(4)!;
  t.like(bar.doorbell(0x3004, 1, false), { kind: 'mmio', offset: 0x3004, value: 1, mapping: { byteLength: 16384 } });
  t.like(bar.doorbell(0x3004, 1, true), { kind: 'mmio-data', offset: 0x3004, value: 1 });
});

test('an I/O BAR: reads and writes of its file, and a doorbell that is one', (t) => {
  const { fn, folder } = openUio(t);
  const bar = fn.bar(0)!;
  t.deepEqual([bar.kind, bar.byteLength], ['io', 32]);
  t.is(bar.read(0, 4), 0xa5a5a5a5);
  bar.write(18, 1, 7);
  t.is(bar.read(18, 2), 0xa507);
  const doorbell = bar.doorbell(16, 3, false);
  if (doorbell.kind !== 'port') return t.fail(doorbell.kind);
  writePort16(doorbell.fd, doorbell.offset, doorbell.value);
  t.is(readFileSync(join(folder, 'resource0')).readUInt16LE(16), 3);
  t.throws(() => bar.doorbell(16, 3, true), { code: 'ECONFIG', message: /NOTIFICATION_DATA/ });
});

test('BARs that are not there, and registers outside of one', (t) => {
  const { fn } = openUio(t);
  for (const index of [1, 5, 6, -1]) t.is(fn.bar(index), undefined);
  const bar = fn.bar(4)!;
  for (const [offset, width] of [
    [16384, 1],
    [16383, 2],
    [2, 4],
    [-4, 4],
    [NaN, 1],
  ] as const) {
    t.throws(() => bar.read(offset, width), { code: 'ECONFIG', message: /^BAR 4 of 0000:00:03\.0 has no register of/ });
  }
});

test('uio_pci_generic: an interrupt is seen once, and allowed again by the command register', (t) => {
  const { fn, folder, uio, command } = openUio(t);
  t.false(fn.lineInterrupt());
  const config = readFileSync(join(folder, 'config'));
  config.writeUInt16LE(command() | INTX_DISABLE, COMMAND); // as the kernel's handler does
  writeFileSync(join(folder, 'config'), config);
  const fd = openSync(uio, 'r+');
  writeSync(fd, Uint32Array.of(1));
  closeSync(fd);
  t.true(fn.lineInterrupt());
  t.is(command(), 7);
  t.false(fn.lineInterrupt());
});

test('igb_uio: the interrupt is allowed by a write to the uio device', (t) => {
  const written: number[] = [];
  let pending = 0;
  const { fn, command } = openUio(t, 'igb_uio', {
    write: (_fd, bytes) => written.push(new DataView(bytes.buffer).getInt32(0, true)),
    read: (_fd, bytes) => (pending > 0 ? (pending--, bytes.length) : 0),
  });
  t.deepEqual(written, [1]);
  t.is(command() & INTX_DISABLE, INTX_DISABLE, 'the command register is the driver’s business');
  t.false(fn.lineInterrupt());
  pending = 1;
  t.true(fn.lineInterrupt());
  t.deepEqual(written, [1, 1]);
});

test('igb_uio with MSI-X: the kernel uses the one vector; switched off, or with uio_pci_generic, there is none', (t) => {
  const msix = { bar: 1, offset: 0, vectors: 3 };
  const vectorOf = (driver: string, table?: Msix) => openUio(t, driver, { write: () => {} }, table).fn.singleVector;
  t.true(vectorOf('igb_uio', { ...msix, enabled: true }));
  t.false(vectorOf('igb_uio', msix), 'intr_mode=legacy');
  t.false(vectorOf('igb_uio'), 'a device without MSI-X');
  t.false(vectorOf('uio_pci_generic', { ...msix, enabled: true }));
});

test('a function without an interrupt has none, and works', (t) => {
  const { fn } = openUio(t, 'igb_uio', {
    write: () => {
      throw new SystemError('write', 'EIO');
    },
    read: () => {
      throw new SystemError('read', 'EIO');
    },
  });
  t.false(fn.lineInterrupt());
  t.true(fn.present);
});

test('MSI-X vectors are refused, and a request for none succeeds', (t) => {
  const { fn } = openUio(t);
  fn.setVectors([]);
  t.throws(() => fn.setVectors([1, 2]), {
    code: 'ECONFIG',
    message: /2 interrupt vectors are needed.*devbind -b vfio-pci/,
  });
});

test('unplugged: noticed at the next look, logged once; reads are all ones', (t) => {
  let there = true;
  const real = systemAt();
  const readAt: PciSystem['readAt'] = (fd, bytes, position) => {
    if (!there) throw new SystemError('pread', 'ENODEV');
    return real.readAt(fd, bytes, position);
  };
  const { fn, clock, lines } = openUio(t, 'uio_pci_generic', { readAt });
  there = false;
  t.true(fn.present, 'nobody has looked yet');
  clock.now += 1000;
  t.false(fn.present);
  there = true;
  clock.now += 1000;
  t.false(fn.present, 'what comes back is another');
  t.deepEqual(lines, [`${ADDRESS}: the device has been unplugged, or unbound from its uio driver`]);
  there = false;
  t.is(fn.readConfig(COMMAND, 2), 0xffff);
  t.is(fn.bar(0)!.read(0, 4), 0xffffffff);
});

test('a function that has been opened is not asked at every question whether it is there', (t) => {
  let reads = 0;
  const real = systemAt();
  const { fn, clock } = openUio(t, 'uio_pci_generic', {
    readAt: (fd, bytes, position) => {
      reads++;
      return real.readAt(fd, bytes, position);
    },
  });
  reads = 0;
  for (let i = 0; i < 1000; i++) {
    clock.now += 1;
    t.true(fn.present);
  }
  t.true(reads > 0 && reads <= 5, `${reads} reads in a second`);
});

needs(guardAvailable().reason)('the kernel takes the mapping away: all ones instead of SIGBUS', (t) => {
  const { fn, folder, clock } = openUio(t);
  const bar = fn.bar(4)!;
  bar.write(0, 4, 1);
  truncateSync(join(folder, 'resource4'), 0);
  t.is(bar.read(0, 1), 0xff);
  t.is(bar.read(0x1000, 4), 0xffffffff);
  bar.write(0, 1, 1);
  clock.now += 1000;
  t.false(fn.present);
});

test('after close() reads are all ones, writes go nowhere, and no interrupt is asked for', (t) => {
  let reads = 0;
  const { fn, folder } = openUio(t, 'uio_pci_generic', { read: () => reads++ });
  const [io, memory] = [fn.bar(0)!, fn.bar(4)!];
  fn.close();
  const before = readFileSync(join(folder, 'resource4'));
  memory.write(0, 4, 1);
  io.write(0, 2, 1);
  fn.writeConfig(COMMAND, 2, 7);
  t.deepEqual([memory.read(0, 4), io.read(0, 2), fn.readConfig(0, 2)], [0xffffffff, 0xffff, 0xffff]);
  t.deepEqual(readFileSync(join(folder, 'resource4')), before);
  t.false(fn.lineInterrupt());
  t.deepEqual([reads, fn.present], [0, false]);
});
