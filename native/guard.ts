/**
 * Protection from SIGBUS. A peer that truncates the file behind a mapping of ours would end our process at the next
 * access. A guarded mapping becomes zero pages instead, and `guardHit` reports it. The handler is C (guard.c), in the native
 * helper. Without the helper everything else works, and `guardAvailable` says why the guard does not.
 */
import { getSystemErrorName } from 'node:util';
import { VirtioPmdError } from './errors.js';
import { guardFunctions, helperStatus } from './helper.js';
import type { Mapping } from './region.js';

/** Whether mappings can be guarded here; if not, `reason` says why and what to do. */
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

/** True when the peer's file became too short: the mapping reads as zeros since, and the session must end. 40 ns. */
export function guardHit(mapping: Mapping): boolean {
  const guard = guardFunctions();
  return guard !== undefined && guard.hit(mapping.address) !== 0;
}

/** How many guarded mappings of this process have lost their file. While it stays the same, no `guardHit` changes. 20 ns. */
export function guardHits(): number {
  return guardFunctions()?.hits() ?? 0;
}
