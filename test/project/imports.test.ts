/** The rooms and who may import whom (docs/architecture.md): read from the sources, so that it stays true. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import ts from 'typescript';

const root = fileURLToPath(new URL('../..', import.meta.url));
const rooms = ['tools', 'driver', 'paths', 'native'];

interface Import {
  /** Path of the importing file from the root. */
  readonly from: string;
  /** Path of the imported file from the root, or the package's name. */
  readonly to: string;
  /** By `new URL`: the module of a thread, which may import the one that starts it. */
  readonly byUrl: boolean;
}

function sources(directory: string): string[] {
  const files = readdirSync(join(root, directory), { recursive: true, encoding: 'utf8' });
  return files.filter((file) => file.endsWith('.ts')).map((file) => `${directory}/${file}`);
}

/** Every module that `file` names: static imports, re-exports, import() and new URL('./x.js', import.meta.url). */
function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const imported = ts.preProcessFile(text, true, true).importedFiles.map((entry) => entry.fileName);
  const names = [...imported];
  for (const [, name] of text.matchAll(/new URL\(\s*'([^']+\.js)'/g)) {
    // else it is an example in a comment
    if (existsSync(join(root, dirname(file), name!.replace(/\.js$/, '.ts')))) names.push(name!);
  }
  return names.map((name) => ({
    byUrl: !imported.includes(name),
    from: file,
    to: name.startsWith('.') ? normalize(join(dirname(file), name)) : name,
  }));
}

const imports = rooms.flatMap(sources).flatMap(importsOf);
const show = ({ from, to }: Import) => `${from} imports ${to}`;
const roomOf = (path: string) => path.split('/')[0]!;
/** Which half of the driver a file belongs to. What ports, lcores and wire formats are belongs to both. */
function halfOf(path: string): 'guest' | 'back-end' | 'shared' {
  if (path.startsWith('driver/vhost/')) return 'back-end';
  return path.startsWith('driver/virtio/') ? 'guest' : 'shared';
}

test('the rooms have files and imports to look at', (t) => {
  t.deepEqual(
    rooms.filter((room) => sources(room).length === 0),
    [],
  );
  t.true(imports.length > 20);
});

/** The first way of imports, types included, that comes back to where it began. */
function cycle(): string[] | undefined {
  const targets = new Map<string, string[]>();
  for (const { from, to, byUrl } of imports) {
    if (byUrl || to.startsWith('.') || !existsSync(join(root, to.replace(/\.js$/, '.ts')))) continue;
    targets.set(from, [...(targets.get(from) ?? []), to.replace(/\.js$/, '.ts')]);
  }
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (file: string): string[] | undefined => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (done.has(file)) return undefined;
    way.push(file);
    for (const next of targets.get(file) ?? []) {
      const found = visit(next);
      if (found !== undefined) return found;
    }
    way.pop();
    done.add(file);
    return undefined;
  };
  for (const file of targets.keys()) {
    const found = visit(file);
    if (found !== undefined) return found;
  }
  return undefined;
}

test('no file imports itself in a roundabout way, types included', (t) => {
  t.is(cycle()?.join(' → '), undefined);
});

test('a room imports itself and the rooms to its right: tools, driver, paths, native', (t) => {
  const wrong = imports.filter(({ from, to }) => {
    const target = rooms.indexOf(roomOf(to));
    return target >= 0 && target < rooms.indexOf(roomOf(from));
  });
  t.deepEqual(wrong.map(show), []);
});

/** What one program takes from another, by importer, and why. */
const betweenPrograms: Readonly<Record<string, readonly string[]>> = {
  // measures l3fwd-power's longest prefix match by itself
  'tools/bench/lookup.ts': ['tools/l3fwd-power/lpm4.js', 'tools/l3fwd-power/lpm6.js'],
};

test('a program imports tools/common and itself, and no other program', (t) => {
  const programOf = (path: string) => /^tools\/([^/]+)\//.exec(path)?.[1];
  const wrong = imports.filter(({ from, to }) => {
    const [program, target] = [programOf(from), programOf(to)];
    const allowed = target === undefined || target === program || target === 'common';
    return program !== undefined && !allowed && !betweenPrograms[from]?.includes(to);
  });
  t.deepEqual(wrong.map(show), []);
  const unused = Object.entries(betweenPrograms).flatMap(([from, targets]) =>
    targets.filter((to) => !imports.some((one) => one.from === from && one.to === to)),
  );
  t.deepEqual(unused, []);
});

test('nothing imports test/ or docs/', (t) => {
  t.deepEqual(imports.filter(({ to }) => /^(test|docs)\//.test(to)).map(show), []);
});

test('the guest half and the back-end half of the driver never import each other', (t) => {
  const wrong = imports.filter(({ from, to }) => {
    const halves = new Set([halfOf(from), halfOf(to)]);
    return roomOf(from) === 'driver' && halves.has('guest') && halves.has('back-end');
  });
  t.deepEqual(wrong.map(show), []);
});

test('nor do the two sides of a ring, paths/guest and paths/device', (t) => {
  const wrong = imports.filter(({ from, to }) => {
    const sides = [from, to].map((path) => /^paths\/(guest|device)\//.exec(path)?.[1]);
    return sides[0] !== undefined && sides[1] !== undefined && sides[0] !== sides[1];
  });
  t.deepEqual(wrong.map(show), []);
});

test('what both halves use imports neither of them: only the list of drivers knows them, and the API', (t) => {
  const knows = ['driver/drivers.ts', 'driver/index.ts'];
  const wrong = imports.filter(
    ({ from, to }) =>
      roomOf(from) === 'driver' && !knows.includes(from) && halfOf(from) === 'shared' && halfOf(to) !== 'shared',
  );
  t.deepEqual(wrong.map(show), []);
});

test('only native/ imports koffi, and only tools import arg', (t) => {
  const wrong = imports.filter(
    ({ from, to }) => (to === 'koffi' && roomOf(from) !== 'native') || (to === 'arg' && roomOf(from) !== 'tools'),
  );
  t.deepEqual(wrong.map(show), []);
});

test('no other package is imported, nor a Node module without its node: prefix', (t) => {
  const packages = imports.filter(({ to }) => !rooms.includes(roomOf(to)) && !to.startsWith('node:'));
  t.deepEqual(
    [...new Set(packages.map(({ to }) => to))].filter((name) => name !== 'koffi' && name !== 'arg'),
    [],
  );
});

test('wire formats do no I/O: they import constants and errors, and no system calls', (t) => {
  const allowed = (to: string) => /^(driver\/wire\/|paths\/layout\.js$|native\/(errors|arguments|hex)\.js$)/.test(to);
  // channel.ts is the framing, which both halves share: messages with their descriptors, in and out of a socket
  const formats = imports.filter(({ from }) => from.startsWith('driver/wire/') && from !== 'driver/wire/channel.ts');
  t.deepEqual(formats.filter(({ to }) => !allowed(to)).map(show), []);
});
