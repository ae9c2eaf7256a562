#!/usr/bin/env node
// `node tools/build-native.mjs DIR`: compiles native/guard.c to DIR/guard.so (see native/guard.ts). CC names the compiler.
import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const source = fileURLToPath(new URL('../native/guard.c', import.meta.url));

/** Returns '' when `directory`/guard.so has been built, else the reason why it could not be. */
export function buildNative(directory) {
  const target = join(directory, 'guard.so');
  const fresh = `${target}.${process.pid}`; // renamed when complete: another process may be loading the old one
  mkdirSync(directory, { recursive: true });
  for (const compiler of process.env.CC ? [process.env.CC] : ['cc', 'gcc', 'clang']) {
    const flags = ['-std=c11', '-O2', '-fPIC', '-shared', '-Wall', '-Wextra', '-Wl,-z,relro,-z,now'];
    const run = spawnSync(compiler, [...flags, '-o', fresh, source], { encoding: 'utf8' });
    if (run.error?.code === 'ENOENT') continue;
    if (run.status === 0) {
      renameSync(fresh, target);
      return '';
    }
    rmSync(fresh, { force: true });
    return `${compiler} failed: ${(run.stderr || run.error?.message || '').trim()}`;
  }
  return 'no C compiler found (cc, gcc or clang)';
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const directory = process.argv[2];
  if (directory === undefined) {
    console.error('usage: build-native.mjs DIR');
    process.exit(2);
  }
  const problem = buildNative(resolve(directory));
  if (problem) {
    console.error(`guard.so was not built: ${problem}`);
    process.exit(1);
  }
}
