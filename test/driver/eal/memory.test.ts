import { readFileSync } from 'node:fs';
import test from 'ava';
import { availableCpus } from '../../../native/cpu.js';
import { SystemError, VirtioPmdError } from '../../../native/errors.js';
import { createRegion, hugepages, viewsOf, type Region } from '../../../native/region.js';
import { createEal, DEVICE_BASE, processCpus } from '../../../driver/eal/eal.js';
import { Memory, type MemoryOptions } from '../../../driver/eal/memory.js';

const MIB = 2 ** 20;

/** A Memory on a system with the given hugepages, which are never really taken, and what it logged and asked for. */
function memoryWith(options: MemoryOptions, total: number, free: number, hugeFails = false) {
  const lines: string[] = [];
  const asked: { name: string; byteLength: number; huge: boolean }[] = [];
  const memory = new Memory(options, (line) => lines.push(line), {
    hugepages: () => ({ total, free }),
    physicalPages: () => [],
    createRegion: (name, byteLength, huge): Region => {
      asked.push({ name, byteLength, huge });
      if (huge && hugeFails) throw new SystemError('fallocate', 'ENOSPC');
      return { ...createRegion(name, byteLength, false), hugepages: huge };
    },
  });
  return { memory, lines, asked };
}

test('hugepages are taken when enough are free, without a word', (t) => {
  const { memory, lines, asked } = memoryWith({ memoryMiB: 64 }, 64, 32);
  memory.reserve('pool', MIB);
  t.true(memory.region!.hugepages);
  t.deepEqual(asked, [{ name: 'virtio-pmd-memory', byteLength: 64 * MIB, huge: true }]);
  t.deepEqual(lines, []);
  memory.destroy();
});

test('too few free hugepages: ordinary pages, and one line that says what to run', (t) => {
  const { memory, lines } = memoryWith({ memoryMiB: 128 }, 10, 3);
  memory.reserve('pool', MIB);
  memory.reserve('ring', MIB);
  t.false(memory.region!.hugepages);
  t.is(memory.region!.byteLength, 128 * MIB);
  t.is(lines.length, 1);
  t.regex(
    lines[0]!,
    /^EAL: 3 of 64 hugepages of 2 MiB are free: using ordinary pages \(for hugepages: sysctl -w vm\.nr_hugepages=71;/,
  );
  memory.destroy();
});

test('hugepages that are free but cannot be allocated: ordinary pages, and the reason', (t) => {
  const { memory, lines } = memoryWith({ memoryMiB: 64 }, 64, 64, true);
  memory.reserve('pool', MIB);
  t.false(memory.region!.hugepages);
  t.regex(
    lines[0]!,
    /32 hugepages of 2 MiB are free but could not be allocated \(fallocate: ENOSPC\): using ordinary pages/,
  );
  memory.destroy();
});

test('--no-huge: ordinary pages, without a word', (t) => {
  const { memory, lines, asked } = memoryWith({ noHuge: true, filePrefix: 'vm1' }, 512, 512);
  memory.reserve('pool', MIB);
  t.deepEqual(lines, []);
  t.is(asked[0]!.name, 'vm1-memory');
  t.false(asked[0]!.huge);
  memory.destroy();
});

test('no size asked for: the first mempool and room for rings; a ring first leaves room for a mempool', (t) => {
  const pool = memoryWith({}, 4096, 4096);
  pool.memory.reserve('pool', 100 * MIB, 64, 0);
  t.is(pool.asked[0]!.byteLength, 132 * MIB);
  const ring = memoryWith({}, 0, 0);
  ring.memory.reserve('ring', 8192, 4096);
  t.true(ring.asked[0]!.byteLength >= 256 * MIB);
  pool.memory.destroy();
  ring.memory.destroy();
});

test('memory is made at the first use and named in /proc/PID/maps; the machine decides about hugepages', (t) => {
  const lines: string[] = [];
  using eal = createEal({ log: (line) => lines.push(line), memoryMiB: 4, filePrefix: 'mine', pinMain: false });
  t.is(eal.memory, undefined);
  eal.createMempool({ count: 100 });
  t.is(eal.memory!.hugepages, lines.length === 0);
  t.regex(readFileSync('/proc/self/maps', 'utf8'), /memfd:mine-memory/);
  if (hugepages().total === 0) t.regex(lines[0]!, /^EAL: 0 of 2 hugepages/);
});

test('reservations are aligned, zeroed, do not overlap, and are used again once released', (t) => {
  using eal = createEal({ noHuge: true, memoryMiB: 1, pinMain: false });
  const a = eal.reserve('a', 100, 64);
  const b = eal.reserve('b', 5000, 4096);
  const c = eal.reserve('c', 64);
  t.deepEqual([a.offset, b.offset], [0, 4096]);
  t.true(c.offset >= 100 && c.offset + 64 <= 4096); // in the gap
  t.is(eal.deviceAddress(b.offset), DEVICE_BASE + 4096n);
  t.is(eal.userAddress(b.offset), eal.memory!.address + 4096n);
  viewsOf(b.mapping).u8.fill(0xff, b.offset, b.offset + 5000);
  eal.release(b);
  const again = eal.reserve('again', 4096, 4096);
  t.is(again.offset, 4096);
  t.true(
    viewsOf(again.mapping)
      .u8.subarray(4096, 8192)
      .every((byte) => byte === 0),
  );
  t.throws(() => eal.release(b), { code: 'ESTATE', message: /"b" was released before/ });
});

test('attach and detach for ever: no memory is lost', (t) => {
  using eal = createEal({ noHuge: true, memoryMiB: 1, pinMain: false });
  const other = eal.reserve('other', 300_000, 4096);
  for (let i = 0; i < 1000; i++) {
    const ring = eal.reserve('ring', 400_000 + i, 4096);
    const zone = eal.reserve('zone', 100_000, 64);
    eal.release(ring);
    eal.release(zone);
  }
  eal.release(other);
  t.is(eal.reserve('all', MIB).offset, 0);
});

test('memory that is not there: what was asked for, what is free, what to do', (t) => {
  using eal = createEal({ noHuge: true, memoryMiB: 1, pinMain: false });
  eal.reserve('ring 0', 512 * 1024);
  t.throws(() => eal.createMempool({ name: 'big', count: 1000 }), {
    instanceOf: VirtioPmdError,
    code: 'EMEMORY',
    message: /^no room for mempool big \(1000 mbufs\): 2\.1 MiB asked for, 0\.5 MiB of 1 MiB free: use -m \d+$/,
  });
  t.deepEqual(eal.mempools, []);
  eal.createMempool({ name: 'big', count: 100 }); // the name is not taken
});

test('the largest mempool of one region is refused with a sentence, not with an abort', (t) => {
  using eal = createEal({ noHuge: true, pinMain: false });
  t.throws(() => eal.createMempool({ count: 2_000_000 }), { code: 'EMEMORY', message: /at most 2046 MiB/ });
});

const refused: [string, Parameters<ReturnType<typeof createEal>['createMempool']>[0], RegExp][] = [
  ['headroom too small', { count: 10, headroom: 19 }, /Not sufficient headroom required = 20, avail = 19$/],
  ['negative headroom', { count: 10, headroom: -1 }, /required = 20, avail = -1/],
  ['no mbufs', { count: 0 }, /0 mbufs asked for/],
  ['half an mbuf', { count: 10.5 }, /10\.5 mbufs asked for/],
  ['no data room', { count: 10, dataRoom: 0 }, /data room of 0 bytes: give 64 to 65407/],
  ['data room beyond 16 bits', { count: 10, dataRoom: 65535 }, /data room of 65535 bytes/],
  ['cache larger than the pool', { count: 10, cacheSize: 7 }, /cache of 7 mbufs: give 1 to 6 \(with 10 mbufs\)/],
  ['cache of 0', { count: 10, cacheSize: 0 }, /cache of 0/],
];
for (const [title, request, message] of refused) {
  test(`mempool refused: ${title}`, (t) => {
    using eal = createEal({ noHuge: true, memoryMiB: 1, pinMain: false });
    t.throws(() => eal.createMempool(request), { code: 'ECONFIG', message });
    t.is(eal.memory, undefined);
  });
}

test('headroom of exactly 20 is enough; a name is taken once', (t) => {
  using eal = createEal({ noHuge: true, memoryMiB: 1, pinMain: false });
  const spec = eal.createMempool({ name: 'a', count: 10, headroom: 20 });
  t.throws(() => eal.createMempool({ name: 'a', count: 10 }), { code: 'ECONFIG', message: /one of this name already/ });
  t.deepEqual(eal.mempools, [spec]);
});

test('after close everything is refused, and closing again does nothing', (t) => {
  const eal = createEal({ noHuge: true, memoryMiB: 1, pinMain: false });
  const ring = eal.reserve('ring', 100);
  eal.close();
  eal.close();
  eal.release(ring);
  t.throws(() => eal.reserve('x', 1), { code: 'ESTATE' });
  t.throws(() => eal.createMempool({ count: 10 }), { code: 'ESTATE' });
  if (eal.lcores.workers[0] === undefined) return; // one CPU
  const worker = eal.lcores.workers[0];
  t.throws(() => eal.lcores.launch(worker, '/x', 'y', 0), { code: 'ESTATE' });
});

test('the main thread is pinned when lcores are given, until close', (t) => {
  const cpu = processCpus().at(-1)!;
  const before = availableCpus();
  const eal = createEal({ noHuge: true, lcores: new Map([[3, [cpu]]]) });
  t.is(eal.lcores.main, 3);
  t.deepEqual(availableCpus(), [cpu]);
  eal.close();
  t.deepEqual(availableCpus(), before);
  using unpinned = createEal({ noHuge: true });
  t.deepEqual(availableCpus(), before);
  t.deepEqual([...unpinned.lcores.map.keys()], [...processCpus()]);
});

test('lcores that cannot be are refused before anything is made', (t) => {
  const make = (lcores: [number, number[]][], mainLcore?: number) => () =>
    createEal({ lcores: new Map(lcores), ...(mainLcore === undefined ? {} : { mainLcore }) });
  const cpu = processCpus()[0]!;
  t.throws(make([[0, [1023]]]), { code: 'ELCORE', message: /CPU 1023/ });
  t.throws(make([]), { code: 'ELCORE' });
  t.throws(make([[0, []]]), { code: 'ELCORE', message: /no CPU/ });
  t.throws(make([[0, [cpu]]], 5), { code: 'ELCORE', message: /main lcore 5/ });
  t.throws(() => createEal({ memoryMiB: 0 }), { code: 'EOPTION', message: /-m 0/ });
});
