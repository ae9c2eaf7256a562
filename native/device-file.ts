/** Files that a kernel driver serves: /dev/vfio, /dev/uio, the files of a PCI function in sysfs. */
import { SystemError } from './errors.js';
import { c, check, lastErrno } from './libc.js';
import type { Mapping } from './region.js';

const O_RDWR = 0o2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

const PROT_READ_WRITE = 0x3;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x2 | 0x10 | 0x20;

/** Opens for reading and writing. A read that would wait fails with EAGAIN. @throws SystemError ENOENT, EACCES, EBUSY, ... */
export function openDeviceFile(path: string): number {
  return check(c.open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), 'open', path);
}

/** Reads into `bytes` from byte `position` of the file on. @returns bytes read. @throws SystemError */
export function readAt(fd: number, bytes: Uint8Array, position: number): number {
  return check(c.pread(fd, bytes, bytes.length, position), 'pread');
}

/** Writes `bytes` at byte `position` of the file. @returns bytes written. @throws SystemError */
export function writeAt(fd: number, bytes: Uint8Array, position: number): number {
  return check(c.pwrite(fd, bytes, bytes.length, position), 'pwrite');
}

/** Reads from a file without positions. @returns bytes read, 0 when there are none yet. @throws SystemError */
export function readNow(fd: number, bytes: Uint8Array): number {
  const count = c.read(fd, bytes, bytes.length);
  if (count < 0 && lastErrno() === 'EAGAIN') return 0;
  return check(count, 'read');
}

/** Writes to a file without positions. @throws SystemError */
export function writeNow(fd: number, bytes: Uint8Array): void {
  check(c.write(fd, bytes, bytes.length), 'write');
}

/**
 * ioctl(2).
 * @param argument a number, or the structure that the request reads and fills.
 * @param name of the request, for the error message.
 * @returns the driver's answer, which is not negative. @throws SystemError
 */
export function ioctl(fd: number, request: number, argument: number | Uint8Array, name: string): number {
  const result = typeof argument === 'number' ? c.ioctl(fd, request, argument) : c.ioctlWith(fd, request, argument);
  if (result < 0) throw new SystemError(`ioctl ${name}`, lastErrno());
  return result;
}

/**
 * Closes the file behind `fd` but keeps the number in use, because other threads may still use it. From now on they read
 * nothing, and what they write is discarded. @throws SystemError
 */
export function hollowOut(fd: number): void {
  const nothing = openDeviceFile('/dev/null');
  try {
    check(c.dup3(nothing, fd, O_CLOEXEC), 'dup3');
  } finally {
    c.close(nothing);
  }
}

/** The same for a mapping: anonymous memory replaces it, so that stores of other threads do no harm. @throws SystemError */
export function hollowOutMapping({ address, byteLength }: Mapping): void {
  const at = c.mmap(address, byteLength, PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0);
  if (BigInt(at) !== address) check(-1, 'mmap', `${byteLength} bytes in place of a device's`);
}
