/**
 * koffi, which calls all native code. Where it cannot be loaded, nothing is thrown before the first native call: `--help`
 * and errors about the command line still work.
 */
import { createRequire } from 'node:module';
import type koffi from 'koffi';
import { VirtioPmdError } from './errors.js';

type Koffi = typeof koffi;

const require = createRequire(import.meta.url);
let loaded: Koffi | undefined;
let failure: unknown;
try {
  loaded = require('koffi') as Koffi; // when this module loads, once per thread, and not in the middle of a job
} catch (error) {
  failure = error;
}

export const hasKoffi = loaded !== undefined;

/** koffi. @throws VirtioPmdError ESYSTEM when it could not be loaded: why, and what to do */
export function getKoffi(): Koffi {
  if (loaded) return loaded;
  const why = (failure instanceof Error ? failure.message : String(failure)).split('\n')[0]!.replace(/\.$/, '');
  throw new VirtioPmdError(
    'ESYSTEM',
    `system calls are made through the package koffi, of which the native part cannot be loaded (${why}): ${remedy()}`,
    { cause: failure },
  );
}

function remedy(): string {
  if ((failure as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') return 'start Node without --no-addons';
  return `install its package for this machine too (@koromix/koffi-${process.platform}-${process.arch}), which npm leaves out with --omit=optional`;
}

/** The C library. Without koffi, each of its functions throws the error of `getKoffi`. */
export function loadLibc(): { func(prototype: string): unknown } {
  return loaded ? loaded.load('libc.so.6') : { func: () => getKoffi };
}
