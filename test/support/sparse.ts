/** Files of memory that are long and take none: nothing of them is written. */
import { closeSync, ftruncateSync, openSync, unlinkSync } from 'node:fs';

let serial = 0;

/** A new file of `byteLength` bytes in tmpfs, without a name. @returns its descriptor */
export function sparseMemfd(byteLength: number): number {
  const path = `/dev/shm/vpmd-sparse-${process.pid}-${serial++}`;
  const fd = openSync(path, 'wx+');
  unlinkSync(path);
  try {
    ftruncateSync(fd, byteLength);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}
