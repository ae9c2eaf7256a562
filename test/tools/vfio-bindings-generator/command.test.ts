/** vfio-bindings-generator as a command: its options, its configuration, --check, exit codes. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { isVirtioPmdError } from '../../../native/errors.js';
import { parseConfig } from '../../../tools/vfio-bindings-generator/config.js';
import { parseOptions, usage, type GeneratorOptions } from '../../../tools/vfio-bindings-generator/options.js';
import { difference, writeFiles } from '../../../tools/vfio-bindings-generator/output.js';
import { temporaryDirectory } from '../../support/peers.js';
import { lacks, needs } from '../../support/needs.js';

const compilerTest = needs(lacks('cc'));

const root = fileURLToPath(new URL('../../..', import.meta.url));
const program = ['--import', './tools/ts.mjs', 'tools/vfio-bindings-generator/main.ts'];

function run(...args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [...program, ...args], {
    cwd: root,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

const config = {
  headers: [
    {
      header: 'linux/virtio_ring.h',
      about: 'a test.',
      constants: ['VRING_DESC_F_*'],
      structs: { vring_desc: { about: 'A descriptor.', fields: 'addr len flags next' } },
    },
  ],
};

compilerTest('it writes a module for each header; --check compares, and writes nothing', (t) => {
  const folder = temporaryDirectory(t);
  const [file, out] = [join(folder, 'config.json'), join(folder, 'a/b')];
  writeFileSync(file, JSON.stringify(config));
  const args = ['--config', file, '--out', out];
  t.deepEqual(run(...args), { status: 0, stdout: `2 files written to ${out}\n`, stderr: '' });
  t.deepEqual(readdirSync(out).sort(), ['fields.ts', 'virtio-ring.ts']);
  const own = readFileSync(join(root, 'driver/wire/linux/fields.ts'), 'utf8');
  t.is(readFileSync(join(out, 'fields.ts'), 'utf8'), own);
  t.deepEqual(run(...args, '--check'), { status: 0, stdout: '', stderr: '' });
  writeFileSync(join(out, 'virtio-ring.ts'), 'changed\n');
  const { status, stdout, stderr } = run(...args, '--check');
  t.deepEqual({ status, stdout }, { status: 1, stdout: '' });
  t.regex(
    stderr,
    /^vfio-bindings-generator: \S+\/virtio-ring\.ts, line 1: '\/\*\*' is expected, found 'changed'; .*\n$/,
  );
  t.is(readFileSync(join(out, 'virtio-ring.ts'), 'utf8'), 'changed\n');
});

test('a difference is the first line that differs, a file too few or one too many', (t) => {
  const folder = temporaryDirectory(t);
  const files = new Map([
    ['a.ts', 'one\ntwo\n'],
    ['b.ts', 'three\n'],
  ]);
  writeFiles(join(folder, 'out'), files);
  const out = join(folder, 'out');
  const is = (sentence?: string) => t.is(difference(out, files), sentence && `${out}/${sentence}`);
  const again = 'run without --check to write it anew';
  is();
  writeFileSync(join(out, 'b.ts'), 'thre\n');
  is(`b.ts, line 1: 'three' is expected, found 'thre'; ${again}`);
  writeFileSync(join(out, 'a.ts'), 'one\ntwo\nmore\n');
  is(`a.ts, line 3: '' is expected, found 'more'; ${again}`);
  writeFileSync(join(out, 'a.ts'), 'one\n');
  is(`a.ts, line 2: 'two' is expected, found ''; ${again}`);
  writeFileSync(join(out, 'a.ts'), 'one');
  is(`a.ts, line 2: 'two' is expected, found nothing; ${again}`);
  rmSync(join(out, 'a.ts'));
  is(`a.ts is missing; ${again}`);
  writeFiles(out, files);
  writeFileSync(join(out, 'README.md'), '');
  is();
  writeFileSync(join(out, 'c.ts'), '');
  is('c.ts is of no header of the configuration; remove it');
});

test('folders that cannot be used', (t) => {
  const folder = temporaryDirectory(t);
  const file = join(folder, 'file');
  writeFileSync(file, '');
  const fails = (work: () => unknown, sentence: string) => {
    const error = t.throws(work);
    t.true(isVirtioPmdError(error, 'ESYSTEM'));
    t.is(error!.message, sentence);
  };
  fails(() => writeFiles(file, new Map()), `--out ${file} cannot be written [EEXIST]`);
  fails(() => difference(file, new Map()), `--out ${file} cannot be read [ENOTDIR]`);
  fails(() => difference(join(folder, 'none'), new Map()), `--out ${folder}/none cannot be read [ENOENT]`);
});

test('what cannot be done is one sentence, and an exit code', (t) => {
  const fails = (status: number, stderr: string, ...args: readonly string[]) =>
    t.deepEqual(run(...args), { status, stdout: '', stderr: `error[${stderr}\n` });
  fails(2, 'EOPTION]: vfio-bindings-generator: --config is needed; see --help', '--out', '.');
  fails(2, 'EOPTION]: --config /dev/zero: at most 4 MiB are expected', '--config', '/dev/zero', '--out', '.');
  fails(1, 'ESYSTEM]: --config /nowhere cannot be read [ENOENT]', '--config', '/nowhere', '--out', '.');
});

test('--help says what there is', (t) => {
  const { status, stdout } = run('--help');
  t.is(status, 0);
  t.regex(stdout, /--config FILE/);
});

function parse(args: string, environment = {}): GeneratorOptions {
  const options = parseOptions(args.split(' '), environment);
  if (typeof options === 'string') throw new Error(`a text instead of options: ${options}`);
  return options;
}

test('the compiler is that of --cc, of CC, or cc', (t) => {
  t.is(parse('--config a --out b').compiler.command, 'cc');
  t.is(parse('--config a --out b', { CC: '' }).compiler.command, 'cc');
  t.is(parse('--config a --out b', { CC: 'clang' }).compiler.command, 'clang');
  t.is(parse('--config a --out b --cc gcc', { CC: 'clang' }).compiler.command, 'gcc');
});

test('-I can be given several times, other options count as they came last', (t) => {
  const options = parse('--config a --config c --out b -I x -I y');
  t.is(options.config, 'c');
  t.deepEqual(options.compiler.includes, ['x', 'y']);
  t.is(parseOptions(['--config', 'a', '--help'], {}), usage);
});

for (const [args, sentence] of [
  ['--config a', '--out is needed; see --help'],
  ['--config a --out b --chek', "unrecognized option '--chek'; did you mean --check?"],
  ['--config a --out b c', "unexpected argument 'c'"],
] as const) {
  test(`options that cannot be: ${args}`, (t) => {
    const error = t.throws(() => parse(args));
    t.true(isVirtioPmdError(error, 'EOPTION'));
    t.is(error!.message, `vfio-bindings-generator: ${sentence}`);
  });
}

const one = (more: object) => ({ headers: [{ header: 'a.h', about: 'A.', ...more }] });
const struct = (fields: unknown) => one({ structs: { s: { about: 'S.', fields } } });

const configurations: readonly (readonly [title: string, value: unknown, sentence: string])[] = [
  ['a list', [], 'c.json: an object is expected'],
  ['a misspelt key', { header: [] }, "c.json: there is no key 'header': the keys are headers; did you mean headers?"],
  ['no headers', { headers: [] }, 'c.json: headers: a list of headers is expected'],
  [
    'a header without a name',
    { headers: [{}] },
    'c.json: headers[0].header: one line of text is expected, found nothing',
  ],
  [
    'a header with its brackets',
    { headers: [{ header: '<a.h>' }] },
    "c.json: headers[0].header: <linux/vfio.h>'s would be linux/vfio.h; found '<a.h>'",
  ],
  [
    'a line break',
    one({ about: 'a\nb' }),
    'c.json: headers[0] (a.h).about: one line of text is expected, found "a\\nb"',
  ],
  ['constants in one word', one({ constants: 'A' }), 'c.json: headers[0] (a.h).constants: a list is expected'],
  [
    'a pattern that is none',
    one({ constants: ['A-*'] }),
    "c.json: headers[0] (a.h).constants: a name is expected, * in it for anything; found 'A-*'",
  ],
  [
    'an expression under no name',
    one({ constants: ['1 = 1'] }),
    "c.json: headers[0] (a.h).constants: '1' cannot be a constant's name: it is no name",
  ],
  [
    'an unknown key',
    one({ struct: {} }),
    "c.json: headers[0]: there is no key 'struct': the keys are header, about, constants, without, structs; did you mean structs?",
  ],
  [
    'the name of a struct with struct',
    one({ structs: { 'struct s': {} } }),
    "c.json: headers[0] (a.h).structs.struct s: 'struct s' cannot be the name of a struct: it is no name",
  ],
  [
    'a length',
    struct('a[3]'),
    "c.json: headers[0] (a.h).structs.s.fields: a field is expected, as in flags, csum.start or data[]; found 'a[3]'",
  ],
  ['a field twice', struct('a b a'), 'c.json: headers[0] (a.h).structs.s: a and a cannot both be listed'],
  ['a field and its part', struct('a.b a'), 'c.json: headers[0] (a.h).structs.s: a and a.b cannot both be listed'],
  [
    'fields as a list',
    struct(['a']),
    'c.json: headers[0] (a.h).structs.s.fields: one line of text is expected, found ["a"]',
  ],
  [
    'a keyword as a constant',
    one({ constants: ['class'] }),
    "c.json: headers[0] (a.h).constants: 'class' cannot be a constant's name: TypeScript has that word for itself",
  ],
  [
    'a keyword as the name of an expression',
    one({ constants: ['await = 1'] }),
    "c.json: headers[0] (a.h).constants: 'await' cannot be a constant's name: TypeScript has that word for itself",
  ],
  [
    'a function of fields.ts',
    one({ constants: ['u8'] }),
    "c.json: headers[0] (a.h).constants: 'u8' cannot be a constant's name: fields.ts has a function of that name",
  ],
  [
    'an expression that ends itself',
    one({ constants: ['A = 1) }, { 1, (1'] }),
    'c.json: headers[0] (a.h).constants: a constant expression of C is expected for A: "}" has no place in it',
  ],
  [
    'an expression with a closing bracket first',
    one({ constants: ['A = 1) + (1'] }),
    'c.json: headers[0] (a.h).constants: a constant expression of C is expected for A: its brackets do not match',
  ],
  [
    'an expression that comments out what follows',
    one({ constants: ['A = 1 //'] }),
    'c.json: headers[0] (a.h).constants: a constant expression of C is expected for A: a comment has no place in it',
  ],
  [
    'a directive',
    one({ constants: ['A = #include </etc/passwd>'] }),
    'c.json: headers[0] (a.h).constants: a constant expression of C is expected for A: "#" has no place in it',
  ],
  [
    'names of the C program',
    one({ constants: ['A = sizeof(vbg_be16)'] }),
    'c.json: headers[0] (a.h).constants: a constant expression of C is expected for A: names that begin with vbg_ are not those of headers',
  ],
  [
    'a name of every object as a field',
    struct('a __proto__'),
    "c.json: headers[0] (a.h).structs.s.fields: a field is expected, as in flags, csum.start or data[]; found '__proto__'",
  ],
  [
    'a line break of JavaScript',
    one({ about: 'a\u2028b' }),
    'c.json: headers[0] (a.h).about: one line of text is expected, found "a\u2028b"',
  ],
  [
    'a text without end',
    one({ about: 'a'.repeat(2001) }),
    'c.json: headers[0] (a.h).about: at most 2000 characters are expected, found 2001',
  ],
  [
    'a constant and a struct of one name',
    one({ constants: ['s'], structs: { s: { about: 'S.', fields: 'a' } } }),
    'c.json: a.h: a constant and a struct would both be called s',
  ],
  [
    'a header called like the module that all share',
    { headers: [{ header: 'x/fields.h', about: 'A.' }] },
    'c.json: x/fields.h would be written to fields.ts, which all modules share',
  ],
  [
    'two headers of one name',
    { headers: ['x/a_b.h', 'y/a-b.h'].map((header) => ({ header, about: 'A.' })) },
    'c.json: x/a_b.h and y/a-b.h would both be written to a-b.ts',
  ],
];

for (const [title, value, sentence] of configurations) {
  test(`a configuration that cannot be: ${title}`, (t) => {
    const error = t.throws(() => parseConfig(JSON.stringify(value), 'c.json'));
    t.true(isVirtioPmdError(error, 'EOPTION'));
    t.is(error!.message, sentence);
  });
}

test('a configuration that cannot be: a struct called __proto__', (t) => {
  const json = JSON.stringify(one({ structs: {} })).replace('{}', '{"__proto__":{"about":"A.","fields":"a"}}');
  const error = t.throws(() => parseConfig(json, 'c.json'));
  t.true(isVirtioPmdError(error, 'EOPTION'));
  t.regex(error!.message, /'__proto__' cannot be the name of a struct: TypeScript has that word for itself$/);
});

test('a configuration that cannot be: no JSON', (t) => {
  const error = t.throws(() => parseConfig('{', 'c.json'));
  t.true(isVirtioPmdError(error, 'EOPTION'));
  t.regex(error!.message, /^c\.json: JSON is expected: /);
});
