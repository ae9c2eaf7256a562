/**
 * The guest's memory as the front-end describes it: regions of files, checked, mapped, guarded against truncation.
 * Mapping comes before unmapping everywhere, so that a table that is refused leaves the old one as it was.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { closeApart } from '../../native/closer.js';
import { descriptorKind, memoryFile, type MemoryFile } from '../../native/descriptor.js';
import { guardHit, guardHits, guardMapping, unguardMapping } from '../../native/guard.js';
import { GRANULE, granuleViews, mapPeerFile, unmapPeerFile } from '../../native/peer-memory.js';
import { duplicateFd, type Mapping, type Views } from '../../native/region.js';
import { GuestMemory } from '../../paths/device/guest-memory.js';
import type { GuestSlice } from '../../paths/device/queue.js';
import { MAX_GUEST_MEMORY, overlapProblem, regionProblem } from '../wire/vhost-user-checks.js';
import { MAX_MEM_SLOTS, type MemoryRegion } from '../wire/vhost-user.js';

/** A region that is mapped now. */
export interface MappedRegion {
  readonly region: MemoryRegion;
  readonly mapping: Mapping;
  /** The same for the rings, in pieces that typed arrays can reach. */
  readonly slices: readonly GuestSlice[];
  /** The file's identity: the same numbers in another file are another region. */
  readonly file: string;
  readonly sealed: boolean;
  /**
   * A descriptor of ours of the file. A guest that has ended leaves us the last reference to its memory: whoever drops that
   * frees it, 57 ms for each GiB (Linux 6.18, Intel Xeon), and that is to be no thread that serves others.
   */
  readonly fd: number;
}

function refuse(why: string): VirtioPmdError {
  return new VirtioPmdError('EPEER', why);
}

/** @throws VirtioPmdError EPEER naming what the descriptor is instead. */
function fileOf(fd: number, anyFile: boolean): MemoryFile {
  const file = memoryFile(fd, anyFile);
  if (file !== undefined) return file;
  throw refuse(
    `memory region is ${descriptorKind(fd)} and not a file of memory (memfd, tmpfs, hugetlbfs; anyMemoryFile accepts others)`,
  );
}

/** A part of a region within one granule of our address space; its typed arrays are made when they are first used. */
class Slice implements GuestSlice {
  readonly viewBytes = GRANULE;

  constructor(
    readonly guestAddr: number,
    readonly userAddr: number,
    readonly size: number,
    readonly address: number,
    readonly offset: number,
  ) {}

  get views(): Views | undefined {
    return granuleViews(this.address);
  }
}

/** Cuts a region, whose first byte is at `first` in our address space, at the borders of granules. */
function slicesOf(region: MemoryRegion, first: number): GuestSlice[] {
  const guestAddr = Number(region.guestAddr);
  const userAddr = Number(region.userAddr);
  const size = Number(region.size);
  const slices: GuestSlice[] = [];
  for (let done = 0; done < size;) {
    const offset = (first + done) % GRANULE;
    const bytes = Math.min(size - done, GRANULE - offset);
    slices.push(new Slice(guestAddr + done, userAddr + done, bytes, first + done - offset, offset));
    done += bytes;
  }
  return slices;
}

/**
 * Checks and maps one region. `fd` stays the caller's.
 * @throws VirtioPmdError EPEER when the region or the file cannot be right; SystemError when the kernel refuses.
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

/** A table that is too large as a whole; `others` are mapped beside `more`. */
function tableProblem(others: readonly MemoryRegion[], more: readonly MemoryRegion[]): string | undefined {
  const all = [...others, ...more];
  if (all.length > MAX_MEM_SLOTS) return `all ${MAX_MEM_SLOTS} memory slots are taken`;
  const bytes = all.reduce((sum, region) => sum + region.size, 0n);
  if (bytes > BigInt(MAX_GUEST_MEMORY)) {
    return `the memory regions have ${bytes >> 30n} GiB in all; at most ${MAX_GUEST_MEMORY / GRANULE} GiB are taken`;
  }
  return overlapProblem(all);
}

export class MemoryTable {
  /** @param anyFile accept regions in files of any file system: see `VhostOptions.anyMemoryFile`. */
  constructor(private readonly anyFile = false) {}

  private mapped: MappedRegion[] = [];
  private seenHits = 0;
  /** Regions that were added more than once, and how often: QEMU 7.2 adds and removes each once per queue pair. */
  private readonly added = new Map<MappedRegion, number>();

  get regions(): readonly MappedRegion[] {
    return this.mapped;
  }

  /** True when `regions` in these files are exactly what is mapped. */
  isSame(regions: readonly MemoryRegion[], fds: readonly number[]): boolean {
    return (
      regions.length === this.mapped.length &&
      this.mapped.every((old, i) => sameNumbers(old.region, regions[i]!) && old.file === this.identityOf(fds[i]!))
    );
  }

  /**
   * Maps a whole new table. The old one stays mapped until `commit`: rings may point into it.
   * @returns what to call once no ring uses the old table any more.
   * @throws VirtioPmdError with nothing changed.
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

  /** Maps one region more, or notes that one was added again. @throws VirtioPmdError with nothing changed. */
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
    return new GuestMemory(this.mapped.flatMap(({ slices }) => slices));
  }

  /** True when the file of a region has become shorter than its mapping: its bytes have been zeros since. */
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

  /** Undefined for what is no file of memory: then it is none that is mapped. */
  private identityOf(fd: number): string | undefined {
    return memoryFile(fd, this.anyFile)?.identity;
  }
}
