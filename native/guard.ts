/**
 * Protection from SIGBUS: a peer that truncates the file behind memory we mapped would end our process at the next
 * touch. A guarded mapping turns into zero pages instead and says so. The handler is C (guard.c), loaded when it has
 * been compiled; without it everything else works, and `guardAvailable` says why this does not.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import koffi from 'koffi';
import { VirtioPmdError } from './errors.js';
import type { Mapping } from './region.js';

interface Guard {
  readonly add: (address: bigint, byteLength: number) => number;
  readonly remove: (address: bigint) => void;
  readonly hit: (address: bigint) => number;
}

/** Beside this file, both from source (native/) and after the build (dist/native/). */
const library = fileURLToPath(new URL('./guard.so', import.meta.url));

let guard: Guard | undefined;
let reason = '';
let loaded = false;

/** Loads the helper at the first use: once per thread, one handler and one table per process. */
function load(): Guard | undefined {
  if (loaded) return guard;
  loaded = true;
  if (!existsSync(library)) {
    reason = 'the helper guard.so has not been built: run `npm run build:native`, which needs a C compiler';
    return undefined;
  }
  try {
    const lib = koffi.load(library);
    guard = {
      add: lib.func('int vpmd_guard_add(uintptr_t address, size_t length)') as Guard['add'],
      remove: lib.func('void vpmd_guard_remove(uintptr_t address)') as Guard['remove'],
      hit: lib.func('int vpmd_guard_hit(uintptr_t address)') as Guard['hit'],
    };
  } catch (error) {
    reason = `the helper guard.so cannot be loaded: ${error instanceof Error ? error.message : String(error)}`;
  }
  return guard;
}

/** Whether mappings can be guarded here, and if not, why and what to do. */
export function guardAvailable(): { readonly available: boolean; readonly reason: string } {
  const available = load() !== undefined;
  return { available, reason };
}

/**
 * Guards a mapping of a peer's file, whatever its page size. Does nothing when the helper is not there.
 * @throws VirtioPmdError EMEMORY when 1024 mappings are guarded already.
 */
export function guardMapping(mapping: Mapping): void {
  const error = load()?.add(mapping.address, mapping.byteLength) ?? 0;
  if (error !== 0) {
    throw new VirtioPmdError('EMEMORY', `cannot guard one more mapping against SIGBUS: ${getSystemErrorName(-error)}`);
  }
}

/** Ends the guard. Call it before unmapping. */
export function unguardMapping(mapping: Mapping): void {
  load()?.remove(mapping.address);
}

/** True when the peer's file got too short: the mapping has been zeros since, and the session is worth nothing. 40 ns. */
export function guardHit(mapping: Mapping): boolean {
  const helper = load();
  return helper !== undefined && helper.hit(mapping.address) !== 0;
}
