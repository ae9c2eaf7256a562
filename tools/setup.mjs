// Makes a fresh clone ready: packages as the lockfile says, then the native helper. Does nothing when both are there.
// `npm start`, `npm test` and `npm run bench` call it first. Plain Node, because nothing may be installed yet.
import { spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative, libraryName, sources } from './build-native.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** The `packages` table of a lockfile, or undefined when there is no such file. */
function lockedPackages(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  } catch (error) {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** True when node_modules holds what the lockfile asks for; packages for other platforms may be absent. */
function isInstalled() {
  const installed = lockedPackages('node_modules/.package-lock.json');
  if (installed === undefined) return false;
  return Object.entries(lockedPackages('package-lock.json')).every(
    ([path, wanted]) =>
      path === '' || (path in installed ? installed[path].version === wanted.version : wanted.optional === true),
  );
}

function mtime(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? -1;
}

if (!isInstalled()) {
  console.log('setup: npm ci');
  const flags = ['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error'];
  const { status, error } = spawnSync('npm', flags, { cwd: root, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) {
    console.error(`setup: npm ci failed${error ? `: ${error.message}` : ''}`);
    process.exit(1);
  }
}

const built = mtime(join(root, 'native', libraryName()));
if ([...sources, join(root, 'tools/build-native.mjs')].some((source) => mtime(source) > built)) {
  const { problem, notes } = buildNative(join(root, 'native'));
  for (const note of notes) console.log(`setup: ${note.split('\n')[0]}`);
  if (problem) {
    console.log(`setup: no vectorized paths, no protection from peers that truncate their memory: ${problem}`);
  }
}
