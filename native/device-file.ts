/** Files behind which there is a driver of the kernel: /dev/vfio, /dev/uio, the files of a PCI function in sysfs. */
import { SystemError } from './errors.js';
import { c, check, lastErrno } from './libc.js';
import type { Mapping } from './region.js';

const O_RDWR = 0o2;
const O_NONBLOCK = 0o4000;
const O_CLOEXEC = 0o2000000;

const PROT_READ_WRITE = 0x3;
const MAP_PRIVATE_FIXED_ANONYMOUS = 0x2 | 0x10 | 0x20;

/** Opens for reading and writing; a read that would wait fails with EAGAIN. @throws SystemError ENOENT, EACCES, EBUSY, ... */
export function openDeviceFile(path: string): number {
  return check(c.open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC), 'open', path);
}

/** Fills `bytes` from `position` on. @returns how many there were. @throws SystemError */
export function readAt(fd: number, bytes: Uint8Array, position: number): number {
  return check(c.pread(fd, bytes, bytes.length, position), 'pread');
}

/** @returns how many bytes were taken. @throws SystemError */
export function writeAt(fd: number, bytes: Uint8Array, position: number): number {
  return check(c.pwrite(fd, bytes, bytes.length, position), 'pwrite');
}

/** For files without positions. @returns bytes read, 0 when there are none yet. @throws SystemError */
export function readNow(fd: number, bytes: Uint8Array): number {
  const count = c.read(fd, bytes, bytes.length);
  if (count < 0 && lastErrno() === 'EAGAIN') return 0;
  return check(count, 'read');
}

/** @throws SystemError */
export function writeNow(fd: number, bytes: Uint8Array): void {
  check(c.write(fd, bytes, bytes.length), 'write');
}

/**
 * @param argument a number, or the structure that the request reads and fills.
 * @param name of the request, for the error's sentence.
 * @returns what the driver says, which is not negative. @throws SystemError
 */
export function ioctl(fd: number, request: number, argument: number | Uint8Array, name: string): number {
  const result = typeof argument === 'number' ? c.ioctl(fd, request, argument) : c.ioctlWith(fd, request, argument);
  if (result < 0) throw new SystemError(`ioctl ${name}`, lastErrno());
  return result;
}

/**
 * Gives up the file behind `fd`, but not its number, which other threads may still use: from now on they read nothing, and
 * what they write is gone. @throws SystemError
 */
export function hollowOut(fd: number): void {
  const nothing = openDeviceFile('/dev/null');
  try {
    check(c.dup3(nothing, fd, O_CLOEXEC), 'dup3');
  } finally {
    c.close(nothing);
  }
}

/** The same for a mapping: memory of our own takes its place, so that the stores of other threads do no harm. @throws SystemError */
export function hollowOutMapping({ address, byteLength }: Mapping): void {
  const at = c.mmap(address, byteLength, PROT_READ_WRITE, MAP_PRIVATE_FIXED_ANONYMOUS, -1, 0);
  if (BigInt(at) !== address) check(-1, 'mmap', `${byteLength} bytes in place of a device's`);
}
