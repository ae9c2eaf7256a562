/**
 * Closing what came from a peer. close(2) waits for a FUSE file system that does not answer FLUSH, for a TCP socket that
 * lingers, for a terminal that drains: whoever made the file decides how long, and no signal ends it. So such descriptors are
 * closed by threads of the native helper (closer.c). The end of the process waits for them all the same: the kernel's doing.
 */
import { descriptorKind, isMemory } from './descriptor.js';
import { closerFunctions } from './helper.js';
import { c } from './libc.js';

/** With this many closes that do not come back, no more descriptors should be taken: closer.c has as many threads. */
export const MAX_UNCLOSED = 16;

/** Closes descriptors without waiting. Without the helper it does wait. */
export function closeApart(...fds: readonly number[]): void {
  const closer = closerFunctions();
  // when 4096 are waiting, more stay open: better than waiting behind them
  if (closer !== undefined) closer.closeApart(Int32Array.from(fds), fds.length);
  else for (const fd of fds) c.close(fd);
}

/**
 * Closes the descriptors of a message. Eventfds, pipes and memory are closed at once: memory that is mapped is not freed by it.
 * @returns false when some are closed apart, because that may wait.
 */
export function closeFromPeer(fds: readonly number[]): boolean {
  // to look at each costs 5 us, and nobody sends so many who means well
  const apart = fds.length > FEW ? fds : fds.filter((fd) => !isMemory(fd) && !atOnce.has(descriptorKind(fd)));
  for (const fd of fds) if (!apart.includes(fd)) c.close(fd);
  if (apart.length > 0) closeApart(...apart);
  return apart.length === 0;
}

const FEW = 8;
const atOnce: ReadonlySet<string> = new Set(['an event descriptor', 'a pipe']);

/** Descriptors that are being closed apart. As many as MAX_UNCLOSED: most likely for good. */
export function unclosed(): number {
  return closerFunctions()?.unclosed() ?? 0;
}
