// Hooks of Node's module loader for our own sources, from tools/ts.mjs. What ts-node makes of a file is kept in
// node_modules/.cache: the tests start hundreds of processes and threads, and each would compile the same files again, which
// takes 0.7 s for a thread of the driver's. All other modules are left to Node.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { threadId } from 'node:worker_threads';

const root = new URL('../', import.meta.url).href;
const cache = fileURLToPath(new URL('node_modules/.cache/virtio-pmd-ts/', root));
const project = fileURLToPath(new URL('tsconfig.json', root));
// the versions of the compilers, and their options
const setting = ['package.json', 'tsconfig.json', 'tools/ts-hooks.mjs'].map((name) =>
  readFileSync(new URL(name, root)),
);

const isOurs = (url) => url.startsWith(root) && !url.includes('/node_modules/');

/** './x.js' in a source means x.ts beside it. */
export function resolve(specifier, context, nextResolve) {
  if (/^(\.\.?\/|\/|file:)/.test(specifier)) {
    const url = new URL(specifier, context.parentURL).href.replace(/\.js(?=\?|$)/, '.ts');
    if (isOurs(url) && /\.ts(\?|$)/.test(url) && existsSync(fileURLToPath(url))) {
      return { url, format: 'module', shortCircuit: true };
    }
  }
  return nextResolve(specifier, context);
}

export function load(url, context, nextLoad) {
  if (!isOurs(url) || !/\.ts(\?|$)/.test(url)) return nextLoad(url, context);
  return { format: 'module', source: compiled(fileURLToPath(url)), shortCircuit: true };
}

/** One file for each source, with the hash of all that it was made from in its first line. */
function compiled(path) {
  const code = readFileSync(path, 'utf8');
  const key = `// ${[...setting, path, code].reduce((hash, part) => hash.update(part), createHash('sha256')).digest('hex')}\n`;
  const kept = join(cache, `${path.slice(fileURLToPath(root).length).replaceAll('/', '+')}.js`);
  try {
    const text = readFileSync(kept, 'utf8');
    if (text.startsWith(key)) return text.slice(key.length);
  } catch {
    // not there yet
  }
  const output = compile(code, path);
  try {
    mkdirSync(dirname(kept), { recursive: true });
    const fresh = `${kept}.${process.pid}.${threadId}`;
    writeFileSync(fresh, key + output);
    renameSync(fresh, kept); // others may be reading it
  } catch {
    // a folder that cannot be written: then without
  }
  return output;
}

let compiler;

function compile(code, path) {
  compiler ??= createRequire(import.meta.url)('ts-node').create({
    transpileOnly: true,
    project,
    compilerOptions: { module: 'ES2022', moduleResolution: 'Bundler' },
  });
  try {
    return compiler.compile(code, path);
  } catch (error) {
    throw new SyntaxError(error.message); // ts-node's own errors do not survive the way to the thread that imports
  }
}
