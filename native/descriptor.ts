/**
 * Finds out what kind of file a descriptor from a peer is, without asking its file system: that may be the peer's own
 * (FUSE) and never answer an fstat or statfs.
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
  /** Bytes. Offsets and lengths of mappings must be multiples of it. */
  readonly pageSize: number;
  /** Equal for two descriptors of one file. */
  readonly identity: string;
  /** Sealed against shrinking: it cannot cause SIGBUS. */
  readonly sealed: boolean;
}

const HUGETLBFS_MAGIC = 0x958458f6;
const PAGE_SIZE = 4096;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 0x2;

/** True for a memfd and for a file in tmpfs or hugetlbfs: only these have seals. */
export function isMemory(fd: number): boolean {
  return c.fcntl(fd, F_GET_SEALS, 0) >= 0;
}

/**
 * Describes a file of memory. The seals are asked for first: only memory has them, and the kernel answers by itself.
 * @param anyFile accept other regular files too. The maker of such a file may then stop this thread for any time.
 * @returns undefined when it is something else.
 */
export function memoryFile(fd: number, anyFile = false): MemoryFile | undefined {
  const seals = c.fcntl(fd, F_GET_SEALS, 0);
  if (seals < 0 && !anyFile) return undefined;
  const stat = fstatSync(fd, { bigint: true });
  if (!stat.isFile()) return undefined;
  // only hugetlbfs has another page size; st_blksize and the block size of any other file system are arbitrary
  const { type, bsize } = statfsSync(`/proc/self/fd/${fd}`);
  const pageSize = type >>> 0 === HUGETLBFS_MAGIC ? bsize : PAGE_SIZE;
  const sealed = seals >= 0 && (seals & F_SEAL_SHRINK) !== 0;
  return { size: stat.size, pageSize, identity: `${stat.dev}:${stat.ino}`, sealed };
}
