/** Reserving address space: ranges stay reserved before, between and after the mappings that are put there. */
import { SystemError } from './errors.js';
import { c, check, lastErrno } from './libc.js';

const PROT_NONE = 0;
const PROT_READ_WRITE = 0x3;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;

const isMapFailed = (address: number | bigint) => BigInt.asIntN(64, BigInt(address)) === -1n;

/**
 * Zero pages, which take no memory until they are written to. Where the kernel counts them nevertheless
 * (vm.overcommit_memory=2), pages without access.
 */
function zeroPages(at: number, byteLength: number): number | bigint {
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at === 0 ? 0 : MAP_FIXED);
  const address = c.mmap(at, byteLength, PROT_READ_WRITE, flags, -1, 0);
  return isMapFailed(address) ? c.mmap(at, byteLength, PROT_NONE, flags, -1, 0) : address;
}

/** Reserves `byteLength` bytes of address space. @returns the first address; undefined when there is not enough. */
export function reserve(byteLength: number): number | undefined {
  const address = zeroPages(0, byteLength);
  return isMapFailed(address) ? undefined : Number(address);
}

/** Gives address space back. */
export function unreserve(at: number, byteLength: number): void {
  check(c.munmap(at, byteLength), 'munmap');
}

/** Maps `byteLength` bytes of `fd` from `offset` into a reserved range. @throws SystemError; the range stays reserved */
export function mapInReserved(at: number, byteLength: number, fd: number, offset: number): void {
  const address = c.mmap(at, byteLength, PROT_READ_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
  if (!isMapFailed(address)) return;
  const errno = lastErrno();
  clearReserved(at, byteLength); // a mapping that fails may leave a hole
  throw new SystemError('mmap', errno, `${byteLength} bytes at offset ${offset}`);
}

/** Replaces what is mapped there with zero pages. @returns false when the kernel refuses: the range is no longer reserved. */
export function clearReserved(at: number, byteLength: number): boolean {
  if (!isMapFailed(zeroPages(at, byteLength))) return true;
  c.munmap(at, byteLength);
  return false;
}
