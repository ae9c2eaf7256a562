/**
 * Closing descriptors that came from a peer. close(2) waits for a FUSE file system that does not answer FLUSH, for a TCP
 * socket that lingers, for a terminal that drains: the maker of the file decides how long, and no signal ends it. So threads
 * of the native helper close such descriptors (closer.c). The kernel still waits for them when the process ends.
 */
import { descriptorKind, isMemory } from './descriptor.js';
import { closerFunctions } from './helper.js';
import { c } from './libc.js';

/** With this many closes that do not return, take no more descriptors: closer.c has as many threads. */
export const MAX_UNCLOSED = 16;

/** Closes descriptors without waiting. Without the helper it waits. */
export function closeApart(...fds: readonly number[]): void {
  const closer = closerFunctions();
  // when 4096 are queued, further ones stay open: better than waiting
  if (closer !== undefined) closer.closeApart(Int32Array.from(fds), fds.length);
  else for (const fd of fds) c.close(fd);
}

/**
 * Closes the descriptors of a message. Eventfds, pipes and memory are closed at once: closing does not free mapped memory.
 * @returns false when some are left to the threads of the helper, because their close may wait.
 */
export function closeFromPeer(fds: readonly number[]): boolean {
  // examining one costs 5 us, and no well-behaved peer sends more
  const apart = fds.length > FEW ? fds : fds.filter((fd) => !isMemory(fd) && !atOnce.has(descriptorKind(fd)));
  for (const fd of fds) if (!apart.includes(fd)) c.close(fd);
  if (apart.length > 0) closeApart(...apart);
  return apart.length === 0;
}

const FEW = 8;
const atOnce: ReadonlySet<string> = new Set(['an event descriptor', 'a pipe']);

/** Descriptors that threads of the helper still have to close. MAX_UNCLOSED or more: most likely they never return. */
export function unclosed(): number {
  return closerFunctions()?.unclosed() ?? 0;
}
