/** Functions that no kernel driver is bound to: which of them can be used, through what, and what is said of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { SystemError } from '../../../../native/errors.js';
import { openPciFunction } from '../../../../driver/virtio/pci/open.js';
import { hasPorts } from '../../../../driver/virtio/pci/ports.js';
import { systemAt, type PciSystem } from '../../../../driver/virtio/pci/system.js';
import { Vfio } from '../../../../driver/virtio/pci/vfio/group.js';
import { configSpace, pciTree } from './support/pci-tree.js';

const ADDRESS = '0000:00:03.0';
const COMMAND = 4;
const NONE = '0x0 0x0 0x0';
const IO = '0xc040 0xc05f 0x40101';
const MEMORY = '0x380000000000 0x380000003fff 0x14220c';
const TRANSITIONAL = 0x1000;
const INTX_DISABLE = 0x400;

/** Opens a transitional device whose files are ordinary ones. */
function ports(t: ExecutionContext, change: (system: PciSystem) => Partial<PciSystem> = () => ({})) {
  const config = configSpace([1, 0, 0, 0, 0xc]);
  new DataView(config.buffer).setUint16(2, TRANSITIONAL, true);
  const root = pciTree(t, [
    {
      address: ADDRESS,
      device: TRANSITIONAL,
      resources: [IO, NONE, NONE, NONE, MEMORY, NONE],
      files: { config, enable: Buffer.from('0'), resource0: new Uint8Array(32), resource4: new Uint8Array(16384) },
    },
  ]);
  const folder = join(root, 'sys/bus/pci/devices', ADDRESS);
  const lines: string[] = [];
  const opened = new Set<number>();
  const clock = { now: 0 };
  const system = systemAt(root);
  const watched: PciSystem = {
    ...system,
    now: () => clock.now,
    open: (path) => {
      const fd = system.open(path);
      opened.add(fd);
      return fd;
    },
    close: (fd) => {
      opened.delete(fd);
      system.close(fd);
    },
  };
  const vfio = new Vfio({ ...watched, ...change(watched) });
  return {
    open: () => openPciFunction(ADDRESS, (level, line) => lines.push(`${level}: ${line}`), vfio),
    folder,
    lines,
    opened,
    clock,
    enabled: () => readFileSync(join(folder, 'enable'), 'latin1'),
    command: () => readFileSync(join(folder, 'config')).readUInt16LE(COMMAND),
  };
}

test('only a legacy or transitional device with ports in BAR 0 that no driver is bound to', (t) => {
  const io = { kind: 'io', byteLength: 32 } as const;
  const memory = { kind: 'memory', byteLength: 16384 } as const;
  const free = { driver: undefined, device: TRANSITIONAL };
  t.true(hasPorts(free, [io]));
  t.true(hasPorts(free, [io, undefined, undefined, undefined, memory]));
  t.false(hasPorts({ ...free, device: 0x1041 }, [io]));
  t.false(hasPorts(free, [memory]));
  t.false(hasPorts(free, [undefined, io]));
  t.false(hasPorts(free, []));
  for (const driver of ['virtio-pci', 'pci-stub', 'vfio-pci']) t.false(hasPorts({ ...free, driver }, [io]));
});

test('enabled, with bus mastering and without its line interrupt; then switched off, all closed', (t) => {
  const { open, enabled, command, opened } = ports(t);
  const fn = open();
  t.deepEqual([fn.bus, fn.name, fn.addressing.kind, fn.vectors], ['ports', ADDRESS, 'physical', 0]);
  t.is(enabled(), '1');
  t.is(command(), 7 | INTX_DISABLE);
  fn.bar(0);
  t.is(opened.size, 2, 'configuration, I/O ports');
  fn.close();
  t.is(enabled(), '0');
  t.is(command(), 3 | INTX_DISABLE);
  t.is(opened.size, 0);
  fn.close();
});

test('registers are in the file of BAR 0; memory is not mapped', (t) => {
  const { open, folder } = ports(t);
  const fn = open();
  t.teardown(() => fn.close());
  const bar = fn.bar(0)!;
  t.deepEqual([bar.kind, bar.byteLength], ['io', 32]);
  bar.write(18, 1, 7);
  t.is(bar.read(18, 1), 7);
  t.is(readFileSync(join(folder, 'resource0'))[18], 7);
  t.is(bar.doorbell(16, 1, false).kind, 'port');
  t.is(fn.bar(4), undefined);
});

test('no interrupts, and the log says so, and what happens to memory when the process is killed', (t) => {
  const { open, lines } = ports(t);
  const fn = open();
  t.teardown(() => fn.close());
  t.false(fn.lineInterrupt());
  fn.setVectors([]);
  t.throws(() => fn.setVectors([1]), {
    code: 'ECONFIG',
    message: /no driver is bound to does not have: bind it to vfio/,
  });
  t.is(lines.length, 1);
  t.regex(lines[0]!, /^warning: 0000:00:03\.0 is bound to no driver: .*I\/O ports, without interrupts.*killed/);
});

test('unplugged: noticed at the next look', (t) => {
  let there = true;
  const { open, clock, lines } = ports(t, ({ readAt }) => ({
    readAt: (fd, bytes, position) => {
      if (!there) throw new SystemError('pread', 'ENODEV');
      return readAt(fd, bytes, position);
    },
  }));
  const fn = open();
  t.teardown(() => fn.close());
  there = false;
  clock.now += 1000;
  t.false(fn.present);
  t.is(lines.at(-1), `warning: ${ADDRESS}: the device has been unplugged`);
});

const opening = (name: string, errno: string) => (system: PciSystem) => ({
  open: (path: string) => {
    if (path.endsWith(name)) throw new SystemError('open', errno, path);
    return system.open(path);
  },
});
const writing = (errno: string) => () => ({
  write: () => {
    throw new SystemError('write', errno);
  },
});

for (const [title, change, code, message] of [
  ['not root', opening('/config', 'EACCES'), 'ESYSTEM', /config\): run as root$/],
  ['/sys read-only, as in a container', opening('/config', 'EROFS'), 'ESYSTEM', /mounted read-only here: mount it/],
  ['Secure Boot', opening('/config', 'EPERM'), 'ESYSTEM', /kernel lockdown\) forbids it even then: use vfio-pci$/],
  ['not allowed to enable it', opening('/enable', 'EACCES'), 'ESYSTEM', /enable\): run as root$/],
  ['root without CAP_SYS_ADMIN', writing('EPERM'), 'ESYSTEM', /does not enable .*: run as root \(CAP_SYS_ADMIN\)$/],
  ['bound at this moment', writing('EBUSY'), 'ECONFIG', /has just been bound to a driver: see devbind --status$/],
  ['a device that does not wake up', writing('EIO'), 'ESYSTEM', /does not enable .*: see dmesg$/],
] as const) {
  test(`refused, nothing left open: ${title}`, (t) => {
    const { open, opened, enabled, lines } = ports(t, change);
    t.regex(t.throws(open, { code }).message, message);
    t.is(opened.size, 0);
    t.is(enabled(), '0');
    t.deepEqual(lines, []);
  });
}

test('kernel lockdown: a write that fails after it was enabled switches it off again', (t) => {
  const { open, opened, enabled } = ports(t, () => ({
    writeAt: () => {
      throw new SystemError('pwrite', 'EPERM');
    },
  }));
  t.throws(open, { code: 'ESYSTEM', message: /^pwrite: .*Secure Boot \(kernel lockdown\).*: use vfio-pci$/ });
  t.is(enabled(), '0');
  t.is(opened.size, 0);
});

test('a modern device without a driver is refused, and left as it is', (t) => {
  const { open, folder, enabled, command } = ports(t);
  writeFileSync(join(folder, 'device'), '0x1041\n');
  t.throws(open, { code: 'ECONFIG', message: /is bound to no driver: bind it to vfio-pci/ });
  t.deepEqual([enabled(), command()], ['0', 0]);
});
