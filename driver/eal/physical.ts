/**
 * Physical addresses of our memory, for devices without an IOMMU (uio, vfio's no-IOMMU mode). Only the addresses of hugepages
 * stay the same: the kernel may move and swap ordinary pages.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';
import { HUGEPAGE_SIZE, PAGE_SIZE } from '../../native/region.js';

/**
 * Bytes in /proc/PID/pagemap for a page: flags in the high bits, the page frame number in the low ones
 * (Documentation/admin-guide/mm/pagemap.rst).
 */
const ENTRY = 8;
const PRESENT = 1n << 63n;
const FRAME = (1n << 55n) - 1n;

const SMALL_PAGES = HUGEPAGE_SIZE / PAGE_SIZE;

function fail(why: string): VirtioPmdError {
  return new VirtioPmdError('EMEMORY', `the physical addresses that this device needs are not available: ${why}`);
}

/**
 * Physical address of each 2 MiB page of `byteLength` bytes at `address`, which must be hugepages.
 * @param pagemap path of the file to read; tests pass another.
 * @throws VirtioPmdError EMEMORY when they are no hugepages, or without the right to read the addresses (root)
 */
export function physicalPages(address: bigint, byteLength: number, pagemap = '/proc/self/pagemap'): bigint[] {
  if (address % BigInt(HUGEPAGE_SIZE) !== 0n || byteLength % HUGEPAGE_SIZE !== 0) throw notHuge();
  let fd: number;
  try {
    fd = openSync(pagemap, 'r');
  } catch (error) {
    throw fail(`${pagemap} cannot be read (${(error as NodeJS.ErrnoException).code}): run as root`);
  }
  try {
    const first = Number(address / BigInt(PAGE_SIZE));
    return Array.from({ length: byteLength / HUGEPAGE_SIZE }, (_, page) => {
      const entries = new BigUint64Array(SMALL_PAGES);
      const read = readSync(fd, entries, 0, entries.byteLength, (first + page * SMALL_PAGES) * ENTRY);
      if (read !== entries.byteLength) throw fail(`${pagemap} ends early`);
      return physicalAddress(entries);
    });
  } finally {
    closeSync(fd);
  }
}

/** @param entries those of one page of 2 MiB. @returns its physical address. */
function physicalAddress(entries: BigUint64Array): bigint {
  const frames = Array.from(entries, (entry) => {
    if ((entry & PRESENT) === 0n) throw fail('part of the packet memory is not in RAM: use hugepages');
    const frame = entry & FRAME;
    if (frame === 0n) throw fail('the kernel hides them from this process: run as root (CAP_SYS_ADMIN)');
    return frame;
  });
  const first = frames[0]!;
  if (first % BigInt(SMALL_PAGES) !== 0n || frames.some((frame, i) => frame !== first + BigInt(i))) throw notHuge();
  return first * BigInt(PAGE_SIZE);
}

function notHuge(): VirtioPmdError {
  return fail(
    'the packet memory is not in hugepages of 2 MiB: reserve some (sysctl -w vm.nr_hugepages=256) and leave out --no-huge',
  );
}
