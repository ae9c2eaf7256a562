/**
 * Protection from SIGBUS: a peer that truncates the file behind memory we mapped would end our process at the next
 * touch. A guarded mapping turns into zero pages instead and says so. The handler is C (guard.c), in the native helper;
 * without it everything else works, and `guardAvailable` says why this does not.
 */
import { getSystemErrorName } from 'node:util';
import { VirtioPmdError } from './errors.js';
import { guardFunctions, helperStatus } from './helper.js';
import type { Mapping } from './region.js';

/** Whether mappings can be guarded here, and if not, why and what to do. */
export function guardAvailable(): { readonly available: boolean; readonly reason: string } {
  return { available: guardFunctions() !== undefined, reason: helperStatus().reason };
}

/**
 * Guards a mapping of a peer's file, whatever its page size. Does nothing when the helper is not there.
 * @throws VirtioPmdError EMEMORY when 8192 mappings are guarded already.
 */
export function guardMapping(mapping: Mapping): void {
  const error = guardFunctions()?.add(mapping.address, mapping.byteLength) ?? 0;
  if (error !== 0) {
    throw new VirtioPmdError('EMEMORY', `cannot guard one more mapping against SIGBUS: ${getSystemErrorName(-error)}`);
  }
}

/** Ends the guard. Call it before unmapping. */
export function unguardMapping(mapping: Mapping): void {
  guardFunctions()?.remove(mapping.address);
}

/** True when the peer's file got too short: the mapping has been zeros since, and the session is worth nothing. 40 ns. */
export function guardHit(mapping: Mapping): boolean {
  const guard = guardFunctions();
  return guard !== undefined && guard.hit(mapping.address) !== 0;
}

/** How many guarded mappings of this process have lost their file so far. While it stays the same, so does `guardHit`. 20 ns. */
export function guardHits(): number {
  return guardFunctions()?.hits() ?? 0;
}
