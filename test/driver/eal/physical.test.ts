import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createRegion, destroyRegion, HUGEPAGE_SIZE } from '../../../native/region.js';
import { physicalPages } from '../../../driver/eal/physical.js';
import { temporaryDirectory } from '../../support/peers.js';
import { whyNoHugepages } from '../../support/hugepages.js';
import { needs } from '../../support/needs.js';

const PRESENT = 1n << 63n;
const SOFT_DIRTY = 1n << 55n;
const HUGE = 512;

/** Where the memory begins: at this many pages of 2 MiB. */
const FIRST = 5;
const ADDRESS = BigInt(FIRST * HUGEPAGE_SIZE);

/** A file like /proc/self/pagemap in which the memory's small pages have these entries. */
function pagemap(t: ExecutionContext, entries: readonly bigint[]): string {
  const path = join(temporaryDirectory(t), 'pagemap');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, FIRST * HUGE * 8);
  writeSync(fd, BigUint64Array.from(entries), 0, entries.length * 8, FIRST * HUGE * 8);
  closeSync(fd);
  return path;
}

/** Entries of a hugepage at page frame `frame`. */
const hugepage = (frame: bigint) => Array.from({ length: HUGE }, (_, i) => PRESENT | SOFT_DIRTY | (frame + BigInt(i)));

test('the address of each hugepage, in whatever order they lie', (t) => {
  const path = pagemap(t, [...hugepage(0x123400n), ...hugepage(0x200n), ...hugepage(0x4_0000_0000n)]);
  const pages = physicalPages(ADDRESS, 3 * HUGEPAGE_SIZE, path);
  t.deepEqual(pages, [0x1_2340_0000n, 0x20_0000n, 0x4000_0000_0000n]);
});

test('page frames that the kernel hides: the sentence says who may see them', (t) => {
  const path = pagemap(
    t,
    Array.from({ length: HUGE }, () => PRESENT),
  );
  t.throws(() => physicalPages(ADDRESS, HUGEPAGE_SIZE, path), {
    code: 'EMEMORY',
    message: /run as root \(CAP_SYS_ADMIN\)/,
  });
});

test('ordinary pages are recognised: somewhere, or next to each other but not at a multiple of 2 MiB', (t) => {
  const scattered = hugepage(0x1000n);
  scattered[200] = PRESENT | 0x77n;
  for (const entries of [scattered, hugepage(0x1001n)]) {
    const path = pagemap(t, entries);
    t.throws(() => physicalPages(ADDRESS, HUGEPAGE_SIZE, path), {
      code: 'EMEMORY',
      message: /not in hugepages of 2 MiB: reserve some \(sysctl -w vm\.nr_hugepages=256\)/,
    });
  }
  t.throws(() => physicalPages(ADDRESS + 4096n, HUGEPAGE_SIZE, '/nowhere'), { message: /not in hugepages/ });
  t.throws(() => physicalPages(ADDRESS, 4096, '/nowhere'), { message: /not in hugepages/ });
});

test('a page that is not in RAM', (t) => {
  const entries = hugepage(0x1000n);
  entries[511] = 0n;
  t.throws(() => physicalPages(ADDRESS, HUGEPAGE_SIZE, pagemap(t, entries)), {
    code: 'EMEMORY',
    message: /not in RAM/,
  });
});

test('a file that ends early, or is not there', (t) => {
  const path = pagemap(t, hugepage(0x1000n).slice(0, 100));
  t.throws(() => physicalPages(ADDRESS, HUGEPAGE_SIZE, path), { code: 'EMEMORY', message: /ends early/ });
  t.throws(() => physicalPages(ADDRESS, HUGEPAGE_SIZE, '/nowhere/pagemap'), {
    code: 'EMEMORY',
    message: /\/nowhere\/pagemap cannot be read \(ENOENT\): run as root/,
  });
});

needs(whyNoHugepages(2))('real hugepages of this process: different addresses, at multiples of 2 MiB', (t) => {
  const region = createRegion('physical-test', 2 * HUGEPAGE_SIZE, true);
  try {
    const pages = physicalPages(region.address, region.byteLength);
    t.is(new Set(pages).size, 2);
    for (const page of pages) t.is(page % BigInt(HUGEPAGE_SIZE), 0n);
  } catch (error) {
    if (process.getuid?.() === 0) throw error;
    t.regex((error as Error).message, /run as root/);
  } finally {
    destroyRegion(region);
  }
});

test('real ordinary pages of this process are refused', (t) => {
  const region = createRegion('physical-test', 2 * HUGEPAGE_SIZE, false);
  t.teardown(() => destroyRegion(region));
  const aligned = ((region.address + BigInt(HUGEPAGE_SIZE) - 1n) / BigInt(HUGEPAGE_SIZE)) * BigInt(HUGEPAGE_SIZE);
  t.throws(() => physicalPages(aligned, HUGEPAGE_SIZE), {
    code: 'EMEMORY',
    message: /not in (RAM|hugepages)|run as root/,
  });
});
