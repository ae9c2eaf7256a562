/** What is published, and what a fresh clone relies on: package.json, the lockfile and the two set-up scripts. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';

interface Package {
  readonly bin: Record<string, string>;
  readonly exports: Record<string, string | { readonly types: string; readonly default: string }>;
  readonly files: readonly string[];
  readonly dependencies: Record<string, string>;
  readonly devDependencies: Record<string, string>;
  readonly peerDependencies: Record<string, string>;
  readonly peerDependenciesMeta: Record<string, { readonly optional: boolean }>;
  readonly scripts: Record<string, string>;
}
interface Lockfile {
  readonly packages: Record<string, { readonly resolved?: string } & Partial<Package>>;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const manifest = JSON.parse(read('package.json')) as Package;
const lockfile = JSON.parse(read('package-lock.json')) as Lockfile;

/** The source of a file that the build writes. */
const sourceOf = (built: string) => built.replace(/^(\.\/)?dist\//, '').replace(/(\.d\.ts|\.js)$/, '.ts');

test('every entry of the exports map has a source, and its types come first', (t) => {
  for (const [name, entry] of Object.entries(manifest.exports)) {
    if (typeof entry === 'string') continue;
    t.deepEqual(Object.keys(entry), ['types', 'default'], name);
    t.is(sourceOf(entry.types), sourceOf(entry.default), name);
    t.true(existsSync(join(root, sourceOf(entry.default))), `${name}: ${sourceOf(entry.default)}`);
  }
});

test('every command begins with the line that lets a shell run it', (t) => {
  for (const [name, file] of Object.entries(manifest.bin)) {
    t.regex(read(sourceOf(file)), /^#!\/usr\/bin\/env node\n/, name);
  }
});

test('what is published exists, apart from what the build makes', (t) => {
  for (const file of manifest.files.filter((name) => !/^!?dist\b/.test(name))) {
    const [folder, ending] = file.split(/\*.*\*|\*/);
    if (ending === undefined) t.true(existsSync(join(root, file)), file);
    else
      t.true(
        readdirSync(join(root, folder!)).some((name) => name.endsWith(ending)),
        file,
      );
  }
});

test('what types or modes need and programs do not is an optional peer, in the lockfile too', (t) => {
  const { peerDependencies, peerDependenciesMeta } = manifest;
  t.deepEqual(Object.keys(peerDependencies), ['@types/node', 'ts-node', 'typescript']);
  t.true(Object.keys(peerDependencies).every((name) => peerDependenciesMeta[name]?.optional));
  const locked = lockfile.packages['']!;
  t.deepEqual(locked.peerDependencies, peerDependencies);
  t.deepEqual(locked.peerDependenciesMeta, peerDependenciesMeta);
});

test('nothing runs when the package is installed', (t) => {
  t.deepEqual(
    Object.keys(manifest.scripts).filter((name) => /^(pre|post)?install$|^prepare$/.test(name)),
    [],
  );
});

test('all versions are exact, and the lockfile names no host', (t) => {
  for (const version of Object.values({ ...manifest.dependencies, ...manifest.devDependencies })) {
    t.regex(version, /^\d+\.\d+\.\d+$/);
  }
  t.deepEqual(
    Object.values(lockfile.packages).filter((entry) => entry.resolved !== undefined),
    [],
  );
});

test('the set-up has nothing to do a second time', (t) => {
  const run = () => spawnSync(process.execPath, ['tools/setup.mjs'], { cwd: root, encoding: 'utf8' });
  run();
  const { status, stdout } = run();
  t.deepEqual({ status, stdout }, { status: 0, stdout: '' });
});
