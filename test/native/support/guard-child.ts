/**
 * The victim of test/native/guard.test.ts, run as `guard-child.ts MODE`: maps a file that anybody may shrink, prints where it
 * is, and reads it in a compiled loop until it sees zeros or dies. MODE: guarded, unguarded, worker or hugepages.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { guardHit, guardMapping, unguardMapping } from '../../../native/guard.js';
import { c, check } from '../../../native/libc.js';
import { mapFd, unmap, viewsOf, type Mapping } from '../../../native/region.js';

const MFD_HUGETLB_2MB = 0x4 | (21 << 26);
const VALUE = 0x5a;

/** Reads until the first byte of the last page is no longer VALUE. */
function readUntilGone({ u8 }: { u8: Uint8Array }, at: number): number {
  for (;;) if (u8[at] !== VALUE) return u8[at]!;
}

if (isMainThread) {
  const mode = process.argv[2]!;
  const pageSize = mode === 'hugepages' ? 2 * 1024 * 1024 : 4096;
  const byteLength = 4 * pageSize;
  const fd = check(c.memfdCreate('victim', mode === 'hugepages' ? MFD_HUGETLB_2MB : 0), 'memfd_create');
  check(c.ftruncate(fd, byteLength), 'ftruncate');
  if (mode === 'hugepages') check(c.fallocate(fd, 0, 0, byteLength), 'fallocate');
  const mapping: Mapping = { address: mapFd(fd, byteLength, 0), byteLength };
  viewsOf(mapping).u8.fill(VALUE);
  // unguarded: the handler is installed all the same, for memory that is not this
  guardMapping(mode === 'unguarded' ? { address: 0x1000n, byteLength: 4096 } : mapping);
  const report = (seen: number) => {
    const { u8 } = viewsOf(mapping);
    u8[0] = 7; // writes work too
    console.log(JSON.stringify({ seen, hit: guardHit(mapping), written: u8[0], last: u8[byteLength - 1] }));
    unguardMapping(mapping);
    unmap(mapping);
  };
  const at = byteLength - pageSize;
  console.log(JSON.stringify({ file: `/proc/${process.pid}/fd/${fd}`, hitBefore: guardHit(mapping) }));
  if (mode === 'worker') {
    const worker = new Worker(new URL('./guard-child.js', import.meta.url), { workerData: { mapping, at } });
    worker.on('message', report);
  } else {
    report(readUntilGone(viewsOf(mapping), at));
  }
} else {
  const { mapping, at } = workerData as { mapping: Mapping; at: number };
  parentPort!.postMessage(readUntilGone(viewsOf(mapping), at));
}
