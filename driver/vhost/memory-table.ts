/**
 * The guest's memory as the front-end describes it: regions of files, checked, mapped, guarded against truncation.
 * Mapping comes before unmapping everywhere, so that a table that is refused leaves the old one as it was.
 */
import { fstatSync } from 'node:fs';
import { VirtioPmdError } from '../../native/errors.js';
import { guardHit, guardMapping, unguardMapping } from '../../native/guard.js';
import {
  isSealedAgainstShrink,
  mapFd,
  MAX_REGION_SIZE,
  PAGE_SIZE,
  unmap,
  viewsOf,
  type Mapping,
} from '../../native/region.js';
import { GuestMemory } from '../../paths/device/guest-memory.js';
import type { GuestRegion } from '../../paths/device/queue.js';
import { overlapProblem, regionProblem } from '../wire/vhost-user-checks.js';
import { MAX_REGIONS, type MemoryRegion } from '../wire/vhost-user.js';

/** A region that is mapped now. */
export interface MappedRegion {
  readonly region: MemoryRegion;
  readonly mapping: Mapping;
  /** The same for the rings. */
  readonly guest: GuestRegion;
  /** The file's identity: the same numbers in another file are another region. */
  readonly file: string;
  /** Nobody can shorten the file: reading it cannot raise SIGBUS. */
  readonly sealed: boolean;
}

function refuse(why: string): VirtioPmdError {
  return new VirtioPmdError('EPEER', why);
}

/** What fstat says of a descriptor that should be a file of memory. @throws VirtioPmdError EPEER naming what it is instead. */
function fileOf(fd: number): { readonly size: bigint; readonly pageSize: number; readonly identity: string } {
  const stat = fstatSync(fd, { bigint: true });
  if (!stat.isFile())
    throw refuse(`memory region is ${descriptorKind(fd)} and not a file of memory (a memfd, for example)`);
  const block = Number(stat.blksize);
  // hugetlbfs reports its page size here; anything odd is no page size
  const pageSize = block > PAGE_SIZE && (block & (block - 1)) === 0 ? block : PAGE_SIZE;
  return { size: stat.size, pageSize, identity: `${stat.dev}:${stat.ino}` };
}

/** What a descriptor is, for messages. */
export function descriptorKind(fd: number): string {
  const stat = fstatSync(fd);
  if (stat.isFile()) return 'a regular file';
  if (stat.isDirectory()) return 'a directory';
  if (stat.isSocket()) return 'a socket';
  if (stat.isFIFO()) return 'a pipe';
  if (stat.isCharacterDevice()) return 'a character device';
  if (stat.isBlockDevice()) return 'a block device';
  return 'an event descriptor';
}

/**
 * Checks and maps one region. `fd` stays the caller's.
 * @throws VirtioPmdError EPEER when the region or the file cannot be right; SystemError when the kernel refuses.
 */
function mapRegion(region: MemoryRegion, fd: number): MappedRegion {
  const problem = regionProblem(region, MAX_REGION_SIZE);
  if (problem !== undefined) throw refuse(problem);
  const file = fileOf(fd);
  const end = region.mmapOffset + region.size;
  if (file.size < end) {
    throw refuse(
      `memory region ends at byte ${end} of a file of ${file.size} bytes: touching the rest would be a bus error`,
    );
  }
  const size = Number(region.size);
  const offset = Number(region.mmapOffset);
  const start = Math.floor(offset / file.pageSize) * file.pageSize;
  const byteLength = Math.ceil((offset + size - start) / file.pageSize) * file.pageSize;
  const mapping = { address: mapFd(fd, byteLength, start), byteLength };
  try {
    guardMapping(mapping);
    const guest = {
      guestAddr: Number(region.guestAddr),
      userAddr: Number(region.userAddr),
      size,
      views: viewsOf(mapping),
      offset: offset - start,
    };
    return { region, mapping, guest, file: file.identity, sealed: isSealedAgainstShrink(fd) };
  } catch (error) {
    unmap(mapping);
    throw error;
  }
}

function unmapRegion({ mapping }: MappedRegion): void {
  unguardMapping(mapping);
  unmap(mapping);
}

const sameNumbers = (a: MemoryRegion, b: MemoryRegion) =>
  a.guestAddr === b.guestAddr && a.userAddr === b.userAddr && a.size === b.size && a.mmapOffset === b.mmapOffset;

export class MemoryTable {
  private mapped: MappedRegion[] = [];
  /** Regions that were added more than once, and how often: QEMU 7.2 adds and removes each once per queue pair. */
  private readonly added = new Map<MappedRegion, number>();

  get regions(): readonly MappedRegion[] {
    return this.mapped;
  }

  /** True when `regions` in these files are exactly what is mapped. */
  isSame(regions: readonly MemoryRegion[], fds: readonly number[]): boolean {
    return (
      regions.length === this.mapped.length &&
      this.mapped.every((old, i) => sameNumbers(old.region, regions[i]!) && old.file === identityOf(fds[i]!))
    );
  }

  /**
   * Maps a whole new table. The old one stays mapped until `commit`: rings may point into it.
   * @returns what to call once no ring uses the old table any more.
   * @throws VirtioPmdError with nothing changed.
   */
  replace(regions: readonly MemoryRegion[], fds: readonly number[]): () => void {
    const problem = overlapProblem(regions);
    if (problem !== undefined) throw refuse(problem);
    const fresh: MappedRegion[] = [];
    try {
      regions.forEach((region, i) => fresh.push(mapRegion(region, fds[i]!)));
    } catch (error) {
      fresh.forEach(unmapRegion);
      throw error;
    }
    const old = this.mapped;
    this.mapped = fresh;
    return () => old.forEach(unmapRegion);
  }

  /** Maps one region more, or notes that one was added again. @throws VirtioPmdError with nothing changed. */
  add(region: MemoryRegion, fd: number): void {
    const again = this.mapped.find((old) => sameNumbers(old.region, region) && old.file === identityOf(fd));
    if (again !== undefined) {
      this.added.set(again, (this.added.get(again) ?? 1) + 1);
      return;
    }
    if (this.mapped.length >= MAX_REGIONS) throw refuse(`all ${MAX_REGIONS} memory slots are taken`);
    const problem =
      regionProblem(region, MAX_REGION_SIZE) ?? overlapProblem([...this.mapped.map((old) => old.region), region]);
    if (problem !== undefined) throw refuse(problem);
    this.mapped = [...this.mapped, mapRegion(region, fd)];
  }

  /**
   * Takes out the region with the same guest address, user address and size; the offset does not count. One that was added
   * several times goes with the last removal.
   * @returns what to call once no ring uses it any more, or undefined when there is no such region.
   */
  remove(region: MemoryRegion): (() => void) | undefined {
    const found = this.mapped.find((old) => sameNumbers(old.region, { ...region, mmapOffset: old.region.mmapOffset }));
    if (found === undefined) return undefined;
    const times = this.added.get(found) ?? 1;
    if (times > 2) this.added.set(found, times - 1);
    else this.added.delete(found);
    if (times > 1) return () => {};
    this.mapped = this.mapped.filter((old) => old !== found);
    return () => unmapRegion(found);
  }

  /** For the rings: translation of the addresses in this table. Made anew after every change. */
  guestMemory(): GuestMemory {
    return new GuestMemory(this.mapped.map(({ guest }) => guest));
  }

  /** True when the file of a region has become shorter than its mapping: its bytes have been zeros since. */
  truncated(): boolean {
    return this.mapped.some(({ mapping }) => guardHit(mapping));
  }

  /** Unmaps everything. No ring may be in use. */
  clear(): void {
    this.mapped.forEach(unmapRegion);
    this.mapped = [];
  }
}

function identityOf(fd: number): string {
  const stat = fstatSync(fd, { bigint: true });
  return `${stat.dev}:${stat.ino}`;
}
