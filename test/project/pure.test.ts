/** The two halves of `npm test`: what runs beside other tests uses nothing that they may change. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { testFiles } from '../support/rerun.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** As much of ava's own globs as is needed to find what it would run. */
interface Globs {
  normalizeGlobs(options: object): object;
  findTests(options: object): Promise<string[]>;
}

const globs = (await import(join(root, 'node_modules/ava/lib/globs.js'))) as Globs;

const patternsOf = async (config: string): Promise<readonly string[]> =>
  ((await import(join(root, config))) as { default: { files: string[] } }).default.files;

/** The files that ava would run, from the root. */
async function found(patterns: readonly string[]): Promise<string[]> {
  const options = globs.normalizeGlobs({ extensions: ['ts'], files: patterns, providers: [] });
  return (await globs.findTests({ cwd: root, ...options })).map((file) => relative(root, file)).sort();
}

/** A file and what it imports of test/. */
function withSupport(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file) || !existsSync(join(root, file))) return seen;
  seen.add(file);
  for (const [, path] of readFileSync(join(root, file), 'utf8').matchAll(/from '(\.[^']*)\.js'/g)) {
    const imported = normalize(`${dirname(file)}/${path}.ts`);
    if (imported.startsWith('test/')) withSupport(imported, seen);
  }
  return seen;
}

/** What a test does that others may notice, or that takes notice of others. */
const notices = [
  /'node:(child_process|worker_threads|net|dgram|http)'/,
  /process\.env\b/,
  /process\.(chdir|kill|umask|cpuUsage|on)\b/,
  /performance\.now|Date\.now|hrtime|setTimeout|setInterval/,
  /nr_hugepages|hugepages\(/,
  /\.listen\(|await import\(/,
];
/** Files of test/support that have such things and others, and what may be used of them. */
const shared: Readonly<Record<string, RegExp>> = {
  'test/support/peers.ts': /^(temporaryDirectory|isInstalled|type Scope)$/,
  'test/support/needs.ts': /^(lacks|needs|wants)$/, // whether there is a native helper, and a compiler for it
  'test/paths/guest/support/runs.ts': /^runs$/, // asks whether weak-order.test.ts has started it, and nobody changes that
};

test('what runs beside other tests notices nothing of them', async (t) => {
  const pure = await found(await patternsOf('ava.pure.config.js'));
  t.true(pure.length > 50, String(pure.length));
  for (const file of pure) {
    for (const one of withSupport(file)) {
      if (one in shared) continue;
      const text = readFileSync(join(root, one), 'utf8');
      for (const notice of notices) t.is(notice.exec(text)?.[0], undefined, `${file}: ${one}`);
      for (const [name, allowed] of Object.entries(shared)) {
        const module = name.replace(/^test\/|\.ts$/g, '');
        const imports = new RegExp(`import \\{([^}]*)\\} from '[./]*/(?:${module}|${module.split('/')[1]})\\.js'`).exec(
          text,
        );
        const names = imports?.[1]!.split(',').map((word) => word.trim()) ?? [];
        for (const word of names.filter(Boolean)) t.regex(word, allowed, `${file}: ${one} imports it from ${name}`);
      }
    }
  }
});

test('every pattern of the list is that of a file', async (t) => {
  for (const pattern of await patternsOf('ava.pure.config.js')) t.not((await found([pattern])).length, 0, pattern);
});

test('every file is in one of the two halves', async (t) => {
  const halves = await Promise.all(
    ['pure', 'rest'].map(async (name) => found(await patternsOf(`ava.${name}.config.js`))),
  );
  t.deepEqual(halves.flat().sort(), testFiles().sort());
});
