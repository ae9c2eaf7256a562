/** What addresses devices are given: chosen for an IOMMU, physical, or those of an emulated machine's RAM. */
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { createRegion, HUGEPAGE_SIZE, viewsOf, type Region } from '../../../native/region.js';
import { checkReach, chooseBase, DEVICE_BASE, runOf, runsOfPages } from '../../../driver/eal/addressing.js';
import { createEal } from '../../../driver/eal/eal.js';
import { Memory, type MemoryOptions } from '../../../driver/eal/memory.js';

const MIB = 2 ** 20;
const PAGE = BigInt(HUGEPAGE_SIZE);

test('the base is 4 GiB wherever an IOMMU allows it', (t) => {
  t.is(chooseBase(64 * MIB, []), DEVICE_BASE);
  t.is(
    chooseBase(64 * MIB, [
      [
        [0n, 0xfedfffffn],
        [0xfef00000n, (1n << 39n) - 1n],
      ],
    ]),
    DEVICE_BASE,
  );
});

test('else the lowest place that every device reaches, above 0, at a multiple of 2 MiB, not across 4 GiB', (t) => {
  t.is(chooseBase(64 * MIB, [[[0n, 0xfedfffffn]]]), PAGE);
  t.is(chooseBase(64 * MIB, [[[0n, 0xfedfffffn]], [[0x100001n, 0xffffffffn]]]), PAGE);
  t.is(chooseBase(64 * MIB, [[[0xff000000n, 0x2_ffffffffn]]]), DEVICE_BASE);
  t.is(chooseBase(64 * MIB, [[[0x2_fff00000n, 0x4_00000000n]]]), 0x3_0000_0000n);
});

test('memory may fill a range from its first byte to its last, and end where 4 GiB end', (t) => {
  const first = DEVICE_BASE + PAGE;
  const last = first + BigInt(64 * MIB) - 1n;
  t.is(chooseBase(64 * MIB, [[[first, last]]]), first);
  t.throws(() => chooseBase(64 * MIB, [[[first, last - 1n]]]), { code: 'EMEMORY' });
  t.is(chooseBase(64 * MIB, [[[0xfc000000n, 0xffffffffn]]]), 0xfc000000n);
});

test('of two places the lower one, in whatever order the ranges come', (t) => {
  const ranges = [[0x30000000n, 0x3fffffffn] as const, [0x10000000n, 0x1fffffffn] as const];
  t.is(chooseBase(64 * MIB, [ranges]), 0x10000000n);
  t.is(chooseBase(64 * MIB, [ranges.reverse()]), 0x10000000n);
});

test('no room: one sentence', (t) => {
  t.throws(() => chooseBase(64 * MIB, [[[0n, 0x1ffffffn]]]), { code: 'EMEMORY', message: /leaves no room for 64 MiB/ });
});

test('pages next to each other are one piece, but not across 4 GiB; every offset finds its piece', (t) => {
  const pages = [10n, 11n, 12n, 7n, 2047n, 2048n].map((page) => page * PAGE);
  const runs = runsOfPages(pages);
  t.deepEqual(
    runs.map((run) => [run.offset / HUGEPAGE_SIZE, run.byteLength / HUGEPAGE_SIZE, run.deviceAddress / PAGE]),
    [
      [0, 3, 10n],
      [3, 1, 7n],
      [4, 1, 2047n],
      [5, 1, 2048n],
    ],
  );
  fc.assert(
    fc.property(fc.nat(6 * HUGEPAGE_SIZE - 1), (offset) => {
      const run = runOf(runs, offset);
      const address = run.deviceAddress + BigInt(offset - run.offset);
      return address === pages[Math.floor(offset / HUGEPAGE_SIZE)]! + BigInt(offset % HUGEPAGE_SIZE);
    }),
  );
});

test('memory that lies where a device cannot reach: attach the device first', (t) => {
  const runs = [{ offset: 0, byteLength: 2 * MIB, deviceAddress: DEVICE_BASE }];
  t.notThrows(() => checkReach(runs, [[0n, (1n << 39n) - 1n]]));
  t.throws(() => checkReach(runs, [[0n, 0xffffffffn]]), { code: 'EMEMORY', message: /attach this device before/ });
});

/** A Memory on hugepages that are ordinary ones, at these physical pages. */
function physicalMemory(pages: readonly bigint[], options: MemoryOptions = { memoryMiB: pages.length * 2 }) {
  const memory = new Memory(options, () => {}, {
    hugepages: () => ({ total: 64, free: 64 }),
    createRegion: (name, byteLength, huge): Region => ({ ...createRegion(name, byteLength, false), hugepages: huge }),
    physicalPages: () => pages.map((page) => page * PAGE),
  });
  memory.use({ kind: 'physical' });
  return memory;
}

test('physical addresses: rings lie in one piece, mempools need not', (t) => {
  const memory = physicalMemory([5n, 9n, 10n, 3n]);
  const pool = memory.reserve('pool', HUGEPAGE_SIZE - 4096, 64, 0, false);
  const ring = memory.reserve('ring', 3 * 4096, 4096);
  t.is(pool.offset, 0);
  t.is(ring.offset, HUGEPAGE_SIZE); // not in the last 4096 bytes of the first page
  t.is(memory.deviceAddress(ring.offset), 9n * PAGE);
  const large = memory.reserve('large ring', 3 * MIB, 4096);
  t.is(large.offset, HUGEPAGE_SIZE + 3 * 4096); // pages 9 and 10 are one piece
  t.throws(() => memory.reserve('too large', 3 * MIB, 4096), { code: 'EMEMORY' });
  memory.destroy();
});

test('physical addresses without hugepages: refused, and what to do', (t) => {
  const memory = physicalMemory([1n], { noHuge: true });
  t.throws(() => memory.reserve('pool', 4096), { code: 'EMEMORY', message: /only hugepages keep.*vm\.nr_hugepages/ });
});

test('an IOMMU that does not reach the physical pages: refused, and nothing stays mapped', (t) => {
  const memory = physicalMemory([5n]);
  memory.use({ kind: 'iova', ranges: [[0n, 0x1fffffn]] });
  t.throws(() => memory.reserve('pool', 4096), { code: 'EMEMORY' });
  t.is(memory.region, undefined);
});

test('a device that needs physical addresses comes before the first mempool, or not at all', (t) => {
  using eal = createEal({ noHuge: true, memoryMiB: 4, pinMain: false });
  eal.createMempool({ count: 64 });
  t.throws(() => eal.useAddressing({ kind: 'physical' }), { code: 'ESTATE', message: /attached before any mempool/ });
  t.notThrows(() => eal.useAddressing({ kind: 'iova', ranges: [] }));
});

test('the RAM of an emulated machine: memory is a part of its file, zeroed before use; two of its devices share it', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  const path = join(directory, 'ram');
  writeFileSync(path, Buffer.alloc(64, 0x5a));
  truncateSync(path, 32 * MIB);
  const fd = openSync(path, 'r+');
  const other = openSync(path, 'r+');
  const ram = { kind: 'file', fd, offset: 16 * MIB, byteLength: 16 * MIB, base: 0x100_0000n } as const;
  {
    using eal = createEal({ pinMain: false });
    eal.useAddressing(ram);
    eal.useAddressing({ ...ram, fd: other });
    t.throws(() => eal.useAddressing({ kind: 'physical' }), { code: 'ECONFIG', message: /use two processes/ });
    const mempool = eal.createMempool({ count: 1024 });
    t.is(eal.deviceAddress(4096), 0x100_1000n);
    t.is(eal.memory!.fdOffset, 16 * MIB);
    t.is(eal.memory!.byteLength, 16 * MIB);
    const pool = eal.mempool(mempool);
    const m = pool.get();
    t.is(pool.addrLo[m], 0x100_0000 + pool.bufOff(m));
    viewsOf(mempool.mapping).u8[pool.bufOff(m)] = 0x77;
    pool.put(m);
  }
  const again = createEal({ pinMain: false });
  again.useAddressing(ram);
  const ring = again.reserve('ring', 4096, 4096);
  t.true(
    viewsOf(ring.mapping)
      .u8.subarray(0, 4096)
      .every((byte) => byte === 0),
  );
  again.close();
  closeSync(fd);
  closeSync(other);
  rmSync(directory, { recursive: true });
});
