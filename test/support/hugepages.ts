/** Free hugepages of 2 MiB, which root may reserve. */
import { readFileSync, writeFileSync } from 'node:fs';
import { hugepages } from '../../native/region.js';

const FILE = '/proc/sys/vm/nr_hugepages';

/** Why there are not `count` free hugepages, or ''. Root reserves what is missing. */
export function whyNoHugepages(count: number): string {
  const missing = count - hugepages().free;
  if (missing > 0 && process.getuid!() === 0) {
    writeFileSync(FILE, String(Number(readFileSync(FILE, 'utf8')) + missing));
  }
  const { free } = hugepages();
  return free >= count ? '' : `${count} free hugepages of 2 MiB are needed, there are ${free}`;
}
