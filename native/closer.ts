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

/** Closes a descriptor without waiting. Without the helper it does wait. */
export function closeApart(fd: number): void {
  const closer = closerFunctions();
  // EAGAIN: 4096 are waiting. It stays open, which is better than waiting behind them
  if (closer === undefined) c.close(fd);
  else closer.closeApart(fd);
}

/**
 * Closes a descriptor that a peer sent. Eventfds, pipes and memory are closed at once: memory that is mapped is not freed by it.
 * @returns false when it is closed apart, because it may wait.
 */
export function closeFromPeer(fd: number): boolean {
  if (isMemory(fd) || atOnce.has(descriptorKind(fd))) {
    c.close(fd);
    return true;
  }
  closeApart(fd);
  return false;
}

const atOnce: ReadonlySet<string> = new Set(['an event descriptor', 'a pipe']);

/** Descriptors that are being closed apart. As many as MAX_UNCLOSED: most likely for good. */
export function unclosed(): number {
  return closerFunctions()?.unclosed() ?? 0;
}
