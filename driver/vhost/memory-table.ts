/**
 * The guest's memory as the front-end describes it (vhost-user.rst, Memory regions description): regions of files, checked,
 * mapped, and guarded against truncation. New regions are mapped before old ones are unmapped, so that a refused table leaves
 * the old one unchanged.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { closeApart } from '../../native/closer.js';
import { descriptorKind, memoryFile, type MemoryFile } from '../../native/descriptor.js';
import { guardHit, guardHits, guardMapping, unguardMapping } from '../../native/guard.js';
import { GRANULE, mapPeerFile, unmapPeerFile } from '../../native/peer-memory.js';
import { duplicateFd, type Mapping } from '../../native/region.js';
import { PeerSlice } from '../../paths/device/memory-state.js';
import type { GuestSlice } from '../../paths/device/queue.js';
import { MAX_GUEST_MEMORY, overlapProblem, regionProblem } from '../wire/vhost-user-checks.js';
import { MAX_MEM_SLOTS, type MemoryRegion } from '../wire/vhost-user.js';

/** A region that is mapped now. */
export interface MappedRegion {
  readonly region: MemoryRegion;
  readonly mapping: Mapping;
  /** The region for the rings, in pieces of at most one granule each (docs/decisions/0013). */
  readonly slices: readonly GuestSlice[];
  /** The file's identity: a region with the same numbers in another file is another region. */
  readonly file: string;
  /** The file has F_SEAL_SHRINK. */
  readonly sealed: boolean;
  /**
   * Our own descriptor of the file. After a guest has ended, ours is the last reference to its memory. To close it frees the
   * memory, which takes 57 ms for each GiB (Linux 6.18, Intel Xeon), so a thread that serves guests must not do it.
   */
  readonly fd: number;
}

function refuse(why: string): VirtioPmdError {
  return new VirtioPmdError('EPEER', why);
}

/** @throws VirtioPmdError EPEER when the descriptor is no memory file; the message says what it is. */
function fileOf(fd: number, anyFile: boolean): MemoryFile {
  const file = memoryFile(fd, anyFile);
  if (file !== undefined) return file;
  throw refuse(
    `memory region is ${descriptorKind(fd)} and not a file of memory (memfd, tmpfs, hugetlbfs; anyMemoryFile accepts others)`,
  );
}

/** Cuts a region at the borders of granules. @param first address of its first byte in this process. */
function slicesOf(region: MemoryRegion, first: number): GuestSlice[] {
  const guestAddr = Number(region.guestAddr);
  const userAddr = Number(region.userAddr);
  const size = Number(region.size);
  const slices: GuestSlice[] = [];
  for (let done = 0; done < size;) {
    const offset = (first + done) % GRANULE;
    const bytes = Math.min(size - done, GRANULE - offset);
    slices.push(new PeerSlice(guestAddr + done, userAddr + done, bytes, first + done - offset, offset));
    done += bytes;
  }
  return slices;
}

/**
 * Checks and maps one region. `fd` stays the caller's.
 * @throws VirtioPmdError EPEER when the region or the file is invalid; SystemError when the kernel refuses to map it.
 */
function mapRegion(region: MemoryRegion, fd: number, anyFile: boolean): MappedRegion {
  const problem = regionProblem(region);
  if (problem !== undefined) throw refuse(problem);
  const file = fileOf(fd, anyFile);
  const end = region.mmapOffset + region.size;
  if (file.size < end) {
    throw refuse(
      `memory region ends at byte ${end} of a file of ${file.size} bytes: touching the rest would be a bus error`,
    );
  }
  const offset = Number(region.mmapOffset);
  const start = Math.floor(offset / file.pageSize) * file.pageSize;
  const byteLength = Math.ceil((Number(end) - start) / file.pageSize) * file.pageSize;
  const mapping = mapPeerFile(fd, byteLength, start);
  try {
    guardMapping(mapping);
    const slices = slicesOf(region, Number(mapping.address) + offset - start);
    return { region, mapping, slices, file: file.identity, sealed: file.sealed, fd: duplicateFd(fd) };
  } catch (error) {
    unguardMapping(mapping);
    unmapPeerFile(mapping);
    throw error;
  }
}

function unmapRegion({ mapping, fd }: MappedRegion): void {
  unguardMapping(mapping);
  unmapPeerFile(mapping);
  closeApart(fd);
}

const sameNumbers = (a: MemoryRegion, b: MemoryRegion) =>
  a.guestAddr === b.guestAddr && a.userAddr === b.userAddr && a.size === b.size && a.mmapOffset === b.mmapOffset;

/** Why a table of `others`, which are mapped, and `more` is too large or inconsistent as a whole; undefined when it is valid. */
function tableProblem(others: readonly MemoryRegion[], more: readonly MemoryRegion[]): string | undefined {
  const all = [...others, ...more];
  if (all.length > MAX_MEM_SLOTS) return `all ${MAX_MEM_SLOTS} memory slots are taken`;
  const bytes = all.reduce((sum, region) => sum + region.size, 0n);
  if (bytes > BigInt(MAX_GUEST_MEMORY)) {
    return `the memory regions have ${bytes >> 30n} GiB in all; at most ${MAX_GUEST_MEMORY / GRANULE} GiB are taken`;
  }
  return overlapProblem(all);
}

/** The regions of one device. */
export class MemoryTable {
  /** @param anyFile accept regions in files of any file system: see `VhostOptions.anyMemoryFile`. */
  constructor(private readonly anyFile = false) {}

  private mapped: MappedRegion[] = [];
  private seenHits = 0;
  /** How often a region was added, if more than once: QEMU 7.2 adds and removes each region once per queue pair. */
  private readonly added = new Map<MappedRegion, number>();

  /** The regions that are mapped now. */
  get regions(): readonly MappedRegion[] {
    return this.mapped;
  }

  /** True when exactly `regions` in these files are mapped. */
  isSame(regions: readonly MemoryRegion[], fds: readonly number[]): boolean {
    return (
      regions.length === this.mapped.length &&
      this.mapped.every((old, i) => sameNumbers(old.region, regions[i]!) && old.file === this.identityOf(fds[i]!))
    );
  }

  /**
   * Maps a whole new table (SET_MEM_TABLE). The old one stays mapped for now, as rings may point into it.
   * @returns a function that unmaps the old table: call it once no ring uses it.
   * @throws VirtioPmdError EPEER, SystemError; nothing has changed then.
   */
  replace(regions: readonly MemoryRegion[], fds: readonly number[]): () => void {
    const problem = tableProblem([], regions);
    if (problem !== undefined) throw refuse(problem);
    const fresh: MappedRegion[] = [];
    try {
      regions.forEach((region, i) => fresh.push(mapRegion(region, fds[i]!, this.anyFile)));
    } catch (error) {
      fresh.forEach(unmapRegion);
      throw error;
    }
    const old = this.mapped;
    this.mapped = fresh;
    return () => old.forEach(unmapRegion);
  }

  /**
   * Maps one more region (ADD_MEM_REG), or counts that it was added again.
   * @throws VirtioPmdError EPEER, SystemError; nothing has changed then.
   */
  add(region: MemoryRegion, fd: number): void {
    const again = this.mapped.find((old) => sameNumbers(old.region, region) && old.file === this.identityOf(fd));
    if (again !== undefined) {
      this.added.set(again, (this.added.get(again) ?? 1) + 1);
      return;
    }
    const old = this.mapped.map((one) => one.region);
    const problem = regionProblem(region) ?? tableProblem(old, [region]);
    if (problem !== undefined) throw refuse(problem);
    this.mapped = [...this.mapped, mapRegion(region, fd, this.anyFile)];
  }

  /**
   * Removes the region with the same guest address, user address and size (REM_MEM_REG); the offset is not compared. A region that
   * was added several times is unmapped at the last removal.
   * @returns a function that unmaps it: call it once no ring uses it; undefined when there is no such region.
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

  /** The regions for the rings, in pieces. */
  get slices(): readonly GuestSlice[] {
    return this.mapped.flatMap(({ slices }) => slices);
  }

  /** True when the file of a region has become shorter than its mapping, and was accessed there: since then it reads zeros. */
  truncated(): boolean {
    const hits = guardHits();
    if (hits === this.seenHits) return false;
    this.seenHits = hits;
    return this.mapped.some(({ mapping }) => guardHit(mapping));
  }

  /** Unmaps everything. No ring may be in use. */
  clear(): void {
    this.mapped.forEach(unmapRegion);
    this.mapped = [];
  }

  /** Identity of the file behind a descriptor; undefined when it is no memory file, and therefore not a mapped one. */
  private identityOf(fd: number): string | undefined {
    return memoryFile(fd, this.anyFile)?.identity;
  }
}
