/** Writes the generated files, or compares them with those on disk. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VirtioPmdError } from '../../native/errors.js';
import type { Files } from './generate.js';

/** Runs `work`, which accesses files. @throws VirtioPmdError ESYSTEM; the message begins with `what` */
export function touching<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw new VirtioPmdError('ESYSTEM', `${what} [${(cause as NodeJS.ErrnoException).code}]`, { cause });
  }
}

/** Writes the files, and makes `directory` if necessary. @throws VirtioPmdError ESYSTEM */
export function writeFiles(directory: string, files: Files): void {
  touching(`--out ${directory} cannot be written`, () => {
    mkdirSync(directory, { recursive: true });
    for (const [name, text] of files) writeFileSync(join(directory, name), text);
  });
}

const quoted = (line: string | undefined) => (line === undefined ? 'nothing' : `'${line}'`);

/**
 * The first difference between `directory` and the generated files, and what to do; undefined when there is none.
 * @throws VirtioPmdError ESYSTEM
 */
export function difference(directory: string, files: Files): string | undefined {
  const again = 'run without --check to write it anew';
  const present = touching(`--out ${directory} cannot be read`, () => readdirSync(directory));
  for (const [name, text] of files) {
    const path = join(directory, name);
    if (!present.includes(name)) return `${path} is missing; ${again}`;
    const found = touching(`${path} cannot be read`, () => readFileSync(path, 'utf8')).split('\n');
    const expected = text.split('\n');
    const length = Math.max(found.length, expected.length);
    const at = Array.from({ length }, (_, i) => i).find((i) => expected[i] !== found[i]);
    if (at === undefined) continue;
    return `${path}, line ${at + 1}: ${quoted(expected[at])} is expected, found ${quoted(found[at])}; ${again}`;
  }
  const stale = present.find((name) => name.endsWith('.ts') && !files.has(name));
  return stale === undefined ? undefined : `${join(directory, stale)} is of no header of the configuration; remove it`;
}
