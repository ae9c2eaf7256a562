/**
 * What a descriptor that a peer sent is, found out without the file system behind it: that may be the peer's own (FUSE),
 * and never answer an fstat or statfs.
 */
import { fstatSync, readlinkSync, statfsSync } from 'node:fs';
import { c } from './libc.js';

/** "an event descriptor", "a pipe", "a socket", ..., or "the file /path". */
export function descriptorKind(fd: number): string {
  let target;
  try {
    target = readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return 'a closed descriptor';
  }
  if (target.startsWith('/memfd:')) return 'a memfd';
  if (target.startsWith('/')) return `the file ${target}`;
  if (target === 'anon_inode:[eventfd]') return 'an event descriptor';
  if (target.startsWith('pipe:')) return 'a pipe';
  if (target.startsWith('socket:')) return 'a socket';
  return `a descriptor of kind ${target.replace(/^anon_inode:/, '')}`;
}

/** A file of memory: a memfd, or a file in tmpfs or hugetlbfs. */
export interface MemoryFile {
  readonly size: bigint;
  /** What offsets and lengths of mappings are multiples of. */
  readonly pageSize: number;
  /** Equal for two descriptors of one file. */
  readonly identity: string;
  /** Nobody can shorten it any more: no SIGBUS can come from it. */
  readonly sealed: boolean;
}

const HUGETLBFS_MAGIC = 0x958458f6;
const PAGE_SIZE = 4096;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 0x2;

/** A memfd, or a file in tmpfs or hugetlbfs: only memory can be asked for its seals. */
export function isMemory(fd: number): boolean {
  return c.fcntl(fd, F_GET_SEALS, 0) >= 0;
}

/**
 * Only memory can be asked for its seals, and the kernel answers without asking anybody: so this comes first.
 * @param anyFile other regular files too. Whoever made such a file may then stop this thread for as long as he likes.
 * @returns undefined when it is something else.
 */
export function memoryFile(fd: number, anyFile = false): MemoryFile | undefined {
  const seals = c.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0 && !anyFile) return undefined;
  const stat = fstatSync(fd, { bigint: true });
  if (!stat.isFile()) return undefined;
  // only hugetlbfs has pages of another size; st_blksize, or the block size of another file system, is its maker's choice
  const { type, bsize } = statfsSync(`/proc/self/fd/${fd}`);
  const pageSize = type >>> 0 === HUGETLBFS_MAGIC ? bsize : PAGE_SIZE;
  const sealed = seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
  return { size: stat.size, pageSize, identity: `${stat.dev}:${stat.ino}`, sealed };
}
