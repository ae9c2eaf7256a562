/**
 * Memory that two processes, or a process and a device, share: a memfd mapped once per process, with typed arrays in each
 * thread. Threads pass each other the address (a plain bigint), never a view.
 */
import { openSync, readFileSync } from 'node:fs';
import { VirtioPmdError } from './errors.js';
import { addressOf, c, check, viewOf } from './libc.js';
import { formatMiB } from './sizes.js';

const PROT_READ_WRITE = 0x3;
const MAP_SHARED = 0x01;
const MAP_POPULATE = 0x8000;
const MAP_PRIVATE_ZEROS = 0x2 | 0x10 | 0x20 | 0x4000; // MAP_PRIVATE, _FIXED, _ANONYMOUS, _NORESERVE
const MFD_CLOEXEC = 0x1;
const MFD_ALLOW_SEALING = 0x2;
const MFD_HUGETLB = 0x4;
const MFD_HUGE_2MB = 21 << 26;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 0x1;
const F_SEAL_SHRINK = 0x2;
const F_SEAL_GROW = 0x4;

export const PAGE_SIZE = 4096;
export const HUGEPAGE_SIZE = 2 * 1024 * 1024;
/** Limit of one region: byte offsets stay below 2^31, so that V8 keeps them small integers (and far from its 4 GiB abort). */
export const MAX_REGION_SIZE = 2 ** 31 - HUGEPAGE_SIZE;

/** A mapping, as plain data that can be posted to a worker. */
export interface Mapping {
  /** Address of the first byte in this process. */
  readonly address: bigint;
  /** Length in bytes. */
  readonly byteLength: number;
  /** For memory that users of the API have views of: counts the threads that still have some (newHolders, unmap). */
  readonly holders?: SharedArrayBuffer;
}

/** Shared memory that we made and may hand to a peer. */
export interface Region extends Mapping {
  readonly fd: number;
  /** Byte offset in the file. Default 0. */
  readonly fdOffset?: number;
  readonly hugepages: boolean;
}

/**
 * Creates and maps a memfd of `byteLength` bytes, sealed so that neither we nor a peer can resize it: after a shrink,
 * touching the lost pages raises SIGBUS.
 * @param hugepages 2 MiB pages, allocated now: an empty hugepage pool fails here and not at the first touch.
 * @throws SystemError ENOMEM when there are not enough pages.
 */
export function createRegion(name: string, byteLength: number, hugepages: boolean): Region {
  const pageSize = hugepages ? HUGEPAGE_SIZE : PAGE_SIZE;
  const size = Math.ceil(byteLength / pageSize) * pageSize;
  if (size > MAX_REGION_SIZE) {
    throw new VirtioPmdError(
      'EMEMORY',
      `a memory region of ${formatMiB(size)} was asked for; one region holds at most ${formatMiB(MAX_REGION_SIZE)}: ask for fewer or smaller mbufs`,
    );
  }
  const flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | (hugepages ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
  const fd = check(c.memfdCreate(name, flags), 'memfd_create', hugepages ? '2 MiB pages' : '');
  try {
    check(c.ftruncate(fd, size), 'ftruncate', `${size} bytes`);
    // hugepages that are not available fail here, not as SIGBUS at the first touch
    if (hugepages) check(c.fallocate(fd, 0, 0, size), 'fallocate', `${size / HUGEPAGE_SIZE} hugepages of 2 MiB`);
    check(c.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 'fcntl(F_ADD_SEALS)');
    return { fd, hugepages, byteLength: size, address: mapFd(fd, size, 0, hugepages), holders: newHolders() };
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/** Maps `byteLength` bytes of `fd` from `offset` (a multiple of the page size) and returns the address. @throws SystemError */
export function mapFd(fd: number, byteLength: number, offset: number, populate = false): bigint {
  const address = BigInt(
    c.mmap(0, byteLength, PROT_READ_WRITE, MAP_SHARED | (populate ? MAP_POPULATE : 0), fd, offset),
  );
  if (BigInt.asIntN(64, address) === -1n) check(-1, 'mmap', `${byteLength} bytes at offset ${offset}`);
  return address;
}

/**
 * Unmaps. Without `holders`, every thread must have dropped its views: touching one afterwards ends the process. With
 * `holders`, zero pages replace the memory atomically: the memory is given back now, the address range when the last view
 * of it is collected. docs/decisions/0011-views-outlive-the-memory.md has the reasons.
 */
export function unmap(mapping: Mapping): void {
  viewCache.delete(mapping.address);
  if (mapping.holders === undefined) {
    check(c.munmap(mapping.address, mapping.byteLength), 'munmap');
    return;
  }
  const { address, byteLength } = mapping;
  const at = BigInt(c.mmap(address, byteLength, PROT_READ_WRITE, MAP_PRIVATE_ZEROS, -1, 0));
  if (BigInt.asIntN(64, at) === -1n) check(-1, 'mmap', `zero pages for ${byteLength} bytes`);
  letGo(mapping, OPEN);
}

/** Flag in the count of holders: the memory has not been given back. */
const OPEN = 1 << 30;

/** Count of the threads that have views, for a mapping whose views must stay safe to touch after `unmap`. */
export function newHolders(): SharedArrayBuffer {
  const holders = new SharedArrayBuffer(4);
  new Int32Array(holders)[0] = OPEN;
  return holders;
}

function letGo({ address, byteLength, holders }: Mapping, count: number): void {
  if (Atomics.sub(new Int32Array(holders!), 0, count) === count) c.munmap(address, byteLength);
}

const collected = new FinalizationRegistry<Mapping>((mapping) => letGo(mapping, 1));

/** @throws VirtioPmdError ESTATE when the memory has been given back */
function checkOpen({ holders }: Mapping): void {
  if (holders === undefined || (Atomics.load(new Int32Array(holders), 0) & OPEN) !== 0) return;
  throw new VirtioPmdError(
    'ESTATE',
    'this memory has been given back, as its Eal was closed: make another Eal, and mempools and ports of it',
  );
}

/** Keeps the address range mapped for as long as a thread has views of it, so that touching them stays harmless. */
function hold(mapping: Mapping, buffer: ArrayBuffer): void {
  const words = new Int32Array(mapping.holders!);
  for (;;) {
    checkOpen(mapping);
    const count = Atomics.load(words, 0);
    if ((count & OPEN) !== 0 && Atomics.compareExchange(words, 0, count, count + 1) === count) break;
  }
  const { address, byteLength, holders } = mapping;
  collected.register(buffer, { address, byteLength, holders: holders! });
}

/**
 * Maps part of another process's file as packet memory: the RAM of an emulated machine, for example.
 * @throws SystemError; VirtioPmdError EMEMORY
 */
export function mapFileRegion(file: { fd: number; offset: number; byteLength: number }): Region {
  const { offset } = file;
  const byteLength = Math.min(file.byteLength, MAX_REGION_SIZE);
  const fd = openSync(`/proc/self/fd/${file.fd}`, 'r+'); // a descriptor of our own, to close
  try {
    const address = mapFd(fd, byteLength, offset);
    return { fd, fdOffset: offset, hugepages: false, byteLength, address, holders: newHolders() };
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/** Unmaps and closes a region that we made. Views of it read as zeros from now on. */
export function destroyRegion(region: Region): void {
  unmap(region);
  closeFd(region.fd);
}

/** Another descriptor of the same open file. @throws SystemError */
export function duplicateFd(fd: number): number {
  return check(c.fcntl(fd, F_DUPFD_CLOEXEC, 0), 'fcntl F_DUPFD_CLOEXEC');
}

const F_DUPFD_CLOEXEC = 1030;

export function closeFd(fd: number): void {
  c.close(fd);
}

/** Typed arrays over one mapping, all of the same memory. */
export interface Views {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
}

/** One set of views per mapping and thread: several ArrayBuffers over one address would only be garbage. */
const viewCache = new Map<bigint, { byteLength: number; views: Views }>();

/** The typed arrays of `mapping` in this thread. @throws VirtioPmdError ESTATE when it has been given back */
export function viewsOf(mapping: Mapping): Views {
  checkOpen(mapping);
  const known = viewCache.get(mapping.address);
  if (known?.byteLength === mapping.byteLength) return known.views;
  const views = makeViews(mapping.address, mapping.byteLength);
  if (mapping.holders !== undefined) hold(mapping, views.u8.buffer as ArrayBuffer);
  viewCache.set(mapping.address, { byteLength: mapping.byteLength, views });
  return views;
}

/** Makes new typed arrays over memory at every call: the caller keeps them. */
export function makeViews(address: bigint, byteLength: number): Views {
  const buffer = viewOf(address, byteLength);
  return {
    u8: new Uint8Array(buffer),
    u16: new Uint16Array(buffer),
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
  };
}

/** Hugepages of 2 MiB: how many exist and how many are free. Zeros where the kernel has none. */
export function hugepages(): { total: number; free: number } {
  const read = (file: string) => {
    try {
      return Number(readFileSync(`/sys/kernel/mm/hugepages/hugepages-2048kB/${file}`, 'utf8'));
    } catch {
      return 0;
    }
  };
  const free = Math.max(0, read('free_hugepages') - read('resv_hugepages'));
  return { total: read('nr_hugepages'), free };
}

/**
 * memcpy between addresses, which the caller has checked. All user addresses are below 2^53 and need no BigInt. A call costs
 * 60 ns before the first byte: paths/device/copy.ts says from which length it pays.
 */
export function copyMemory(to: number, from: number, byteLength: number): void {
  c.memcpy(to, from, byteLength);
}

/** Address of a view's first byte, as `copyMemory` takes it. */
export function addressOfViews(views: Views): number {
  return Number(addressOf(views.u8));
}
