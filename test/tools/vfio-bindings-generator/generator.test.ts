/** vfio-bindings-generator with headers of the test's own: what it makes of constants and of every kind of field. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import * as prettier from 'prettier';
import ts from 'typescript';
import type { Bytes, Elements, Field, Numbers } from '../../../driver/wire/linux/fields.js';
import { isVirtioPmdError } from '../../../native/errors.js';
import { parseConfig } from '../../../tools/vfio-bindings-generator/config.js';
import { literal } from '../../../tools/vfio-bindings-generator/emit.js';
import { generate, type Files } from '../../../tools/vfio-bindings-generator/generate.js';
import { macrosOf } from '../../../tools/vfio-bindings-generator/macros.js';
import { temporaryDirectory } from '../../support/peers.js';
import { lacks, needs } from '../../support/needs.js';

const compilerTest = needs(lacks('cc'));

const header = `
#ifndef FIX_EVERY_H
#define FIX_EVERY_H
#include <linux/types.h>
#include <fixture/other.h>
#define FIX_NUMBER 42
#define FIX_HEX 0x2A
#define FIX_SHIFTED (1 << 3) /* a remark */
#define FIX_NEGATIVE -1
#define FIX_LEAST (1 << 31)
#define FIX_MASK (~0x7ffU)
#define FIX_WIDE (~0xfUL)
#define FIX_INEXACT 9007199254740993ULL
#define FIX_EXACT 9007199254740991ULL
#define FIX_LETTER (';')
#define FIX_ALIAS FIX_NUMBER
#define FIX_LONG (FIX_NUMBER | \\
                  FIX_SHIFTED)
#define FIX_IOCTL _IOWR(FIX_LETTER, 3, struct fix_inner)
#define FIX_EMPTY
#define FIX_CALL(x) ((x) + 1)
#define FIX_GONE 1
#undef FIX_GONE
#define FIX_TEXT "text"
#include <linux/ioctl.h>
enum { FIX_FIRST, FIX_SECOND = 7 };
enum fix_colour { FIX_RED, FIX_BLUE };
struct fix_inner { __u16 a; __u32 b; };
struct fix_every {
  __u8 byte; __s8 sbyte; char letter; _Bool flag;
  __u16 half; __s16 shalf; __u32 word; __s32 sword; __u64 wide; __s64 swide;
  short ashort; unsigned int anint; long along; unsigned long long alonglong;
  __le16 le_half; __le32 le_word; __le64 le_wide;
  __be16 be_half; __be32 be_word; __be64 be_wide;
  enum fix_colour colour;
  __aligned_u64 aligned;
  union { __u32 either; struct { __u16 low; __u16 high; } or; };
  struct { __u8 before; struct { __s16 deep; } within; } nested;
  __u8 mac[6]; char name[5]; __u16 halves[3]; __be32 be_words[2]; __s64 one[1];
  struct fix_inner inner; struct fix_inner pair[2]; void *pointer; __u64 *words;
  unsigned int bit : 3;
  __u8 last;
  struct fix_inner tail[];
};
struct __attribute__((packed)) fix_packed { __u8 a; __u64 b; __be16 c; __u8 d; __u16 numbers[]; };
struct fix_ends { __u8 count; __u8 list[][6]; };
#endif
`;

/** A folder to be searched for headers, with the fixtures in it. */
function includeFolder(t: ExecutionContext): string {
  const folder = temporaryDirectory(t);
  mkdirSync(join(folder, 'fixture'));
  writeFileSync(join(folder, 'fixture/every.h'), header);
  writeFileSync(join(folder, 'fixture/other.h'), '#define FIX_OTHER 1\n');
  writeFileSync(join(folder, 'fixture/broken.h'), 'struct broken { no_such_type field; };\n');
  return folder;
}

interface Wish {
  readonly header?: string;
  readonly constants?: readonly string[];
  readonly without?: readonly string[];
  readonly structs?: Readonly<Record<string, string>>;
}

const configOf = ({ header: name = 'fixture/every.h', structs = {}, ...rest }: Wish) => {
  const described = Object.entries(structs).map(([tag, fields]) => [tag, { about: 'A struct.', fields }]);
  return JSON.stringify({
    headers: [{ header: name, about: 'a test.', ...rest, structs: Object.fromEntries(described) as object }],
  });
};

const generated = (folder: string, wish: Wish, command = 'cc'): Files =>
  generate(parseConfig(configOf(wish), 'config.json'), { command, includes: [folder] });

/** The constants of a module, as the lines behind its first comment. */
function constantLines(
  folder: string,
  constants: readonly string[],
  without: readonly string[] = [],
): readonly string[] {
  const text = generated(folder, { constants, without }).get('every.ts')!;
  return text
    .slice(text.indexOf('*/\n') + 4)
    .trimEnd()
    .split('\n');
}

type AnyField = Field<number | bigint> & Bytes & Elements & Numbers<number | bigint>;
type AnyStruct = { readonly sizeof: number } & { readonly [name: string]: AnyField };

/** Runs a generated module. */
async function load(t: ExecutionContext, files: Files, name: string): Promise<Record<string, unknown>> {
  const folder = temporaryDirectory(t);
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ES2022 };
  for (const [file, text] of files) {
    const { outputText } = ts.transpileModule(text, { compilerOptions });
    writeFileSync(join(folder, file.replace(/ts$/, 'js')), outputText);
  }
  return (await import(pathToFileURL(join(folder, name)).href)) as Record<string, unknown>;
}

/** What a C program prints that does `work` with the fixture. */
function inC(t: ExecutionContext, folder: string, work: string): string {
  const program = join(temporaryDirectory(t), 'oracle');
  const input = `#include <stdio.h>\n#include <string.h>\n#include <fixture/every.h>\nint main(void) { ${work} return 0; }`;
  const args = ['-x', 'c', '-w', `-I${folder}`, '-o', program, '-'];
  const compiled = spawnSync('cc', args, { input, encoding: 'utf8' });
  t.is(compiled.status, 0, compiled.stderr);
  return spawnSync(program, { encoding: 'utf8' }).stdout;
}

compilerTest(
  'a number is written as the header has it: decimal, hexadecimal, a bigint where a number is not exact',
  (t) => {
    const folder = includeFolder(t);
    t.deepEqual(constantLines(folder, ['FIX_*'], ['FIX_TEXT', 'FIX_ALIAS', 'FIX_IOCTL', 'FIX_LONG']), [
      'export const FIX_NUMBER = 42;',
      'export const FIX_HEX = 0x2a;',
      'export const FIX_SHIFTED = 0x8;',
      'export const FIX_NEGATIVE = -1;',
      'export const FIX_LEAST = -0x80000000;',
      'export const FIX_MASK = 0xfffff800;',
      'export const FIX_WIDE = 0xfffffffffffffff0n;',
      'export const FIX_INEXACT = 9007199254740993n;',
      'export const FIX_EXACT = 9007199254740991;',
      "/** (';') */",
      'export const FIX_LETTER = 59;',
    ]);
  },
);

compilerTest(
  'what a macro stands for is said where it is more than a number; ioctl numbers are those of the compiler',
  (t) => {
    const folder = includeFolder(t);
    t.deepEqual(constantLines(folder, ['FIX_ALIAS', 'FIX_L*', 'FIX_IOCTL'], ['FIX_LE*']), [
      '/** FIX_NUMBER */',
      'export const FIX_ALIAS = 42;',
      '/** (FIX_NUMBER | FIX_SHIFTED) */',
      'export const FIX_LONG = 0x2a;',
      '/** _IOWR(FIX_LETTER, 3, struct fix_inner) */',
      'export const FIX_IOCTL = 0xc0083b03;',
    ]);
  },
);

compilerTest(
  'enumerators and macros of other headers are named one by one; an expression gets a name of its own',
  (t) => {
    const folder = includeFolder(t);
    t.deepEqual(constantLines(folder, ['FIX_SECOND', 'FIX_OTHER', 'NEXT = FIX_CALL(FIX_NUMBER)', 'FIX_SECOND']), [
      'export const FIX_SECOND = 7;',
      'export const FIX_OTHER = 1;',
      '/** FIX_CALL(FIX_NUMBER) */',
      'export const NEXT = 43;',
    ]);
  },
);

test('macros of an included header, with arguments, without a body or undefined again are not of the header', (t) => {
  const text = [
    ...[
      '# 1 "<stdin>"',
      '# 1 "/usr/include/linux/a.h" 1 3 4',
      '#define A_GUARD ',
      '#define A_FIRST 1',
      'struct a { };',
    ],
    ...['# 1 "/usr/include/linux/b.h" 1 3 4', '#define A_OF_B 2', '# 9 "/usr/include/linux/a.h" 2 3 4'],
    ...['#define A_CALL(x) (x)', '#define A_GONE 3', '#undef A_GONE', '#define A_LAST (1  |\t2)', '#define A_TWICE 1'],
    ...['#undef A_TWICE', '#define A_TWICE 2', '# 2 "<stdin>" 2', '#define A_BEHIND 4'],
  ];
  t.deepEqual(macrosOf(text.join('\n'), 'linux/a.h'), [
    { name: 'A_FIRST', body: '1' },
    { name: 'A_LAST', body: '(1 | 2)' },
    { name: 'A_TWICE', body: '2' },
  ]);
  t.deepEqual(macrosOf('# 1 "/usr/include/linux/not-a.h"\n#define A 1\n', 'a.h'), []);
});

test('literal: the largest exact number is one, the next is a bigint; a sign stays in front', (t) => {
  t.is(literal(2n ** 53n - 1n, ''), '9007199254740991');
  t.is(literal(2n ** 53n, ''), '9007199254740992n');
  t.is(literal(-(2n ** 63n), '1 << 63'), '-0x8000000000000000n');
  t.is(literal(0n, '0x0'), '0x0');
});

/** Numbers: the field, the value, and how C sets it in `e`. */
const numbers: readonly (readonly [path: string, value: number | bigint, inC: string])[] = [
  ...([
    ['byte', 0xf1, '0xf1'],
    ['sbyte', -2, '-2'],
    ['letter', 0x61, "'a'"],
    ['flag', 1, '1'],
  ] as const),
  ...([
    ['half', 0xf123, '0xf123'],
    ['shalf', -3, '-3'],
    ['word', 0xf1234567, '0xf1234567'],
    ['sword', -4, '-4'],
  ] as const),
  ...([
    ['wide', 0xf123456789abcdefn, '0xf123456789abcdef'],
    ['swide', -5n, '-5'],
  ] as const),
  ...([
    ['ashort', -6, '-6'],
    ['anint', 0xfffffff9, '-7'],
    ['along', -8n, '-8'],
    ['alonglong', 9n, '9'],
  ] as const),
  ...([
    ['le_half', 0x102, '0x102'],
    ['le_word', 0x1020304, '0x1020304'],
    ['le_wide', 5n, '5'],
  ] as const),
  ...([
    ['be_half', 0x102, '__builtin_bswap16(0x102)'],
    ['be_word', 0x1020304, '__builtin_bswap32(0x1020304)'],
  ] as const),
  ['be_wide', 0x102030405060708n, '__builtin_bswap64(0x102030405060708)'],
  ...([
    ['colour', 1, 'FIX_BLUE'],
    ['aligned', 6n, '6'],
    ['or.low', 0x1234, '0x1234'],
    ['or.high', 0x5678, '0x5678'],
  ] as const),
  ...([
    ['nested.before', 7, '7'],
    ['nested.within.deep', -8, '-8'],
    ['last', 9, '9'],
  ] as const),
];

/** Everything else that C sets in `e`. */
const others =
  'memcpy(e.mac, "\\1\\2\\3\\4\\5\\6", 6); memcpy(e.name, "dpdk", 5); e.halves[2] = 0xabcd; ' +
  'e.be_words[1] = __builtin_bswap32(77); e.one[0] = -1; e.inner.a = 11; e.inner.b = 12; e.pair[1].b = 13; ' +
  'e.pointer = (void *)0x1122334455667788; ';

const everyField = `${numbers.map(([path]) => path).join(' ')} mac name halves be_words one inner pair[] pointer tail[]`;

compilerTest('every kind of field is read as C wrote it, and written as C reads it', async (t) => {
  const folder = includeFolder(t);
  const files = generated(folder, { structs: { fix_inner: 'a b', fix_every: everyField } });
  const module = await load(t, files, 'every.js');
  const every = module['fix_every'] as AnyStruct;
  const inner = module['fix_inner'] as AnyStruct;

  const set = numbers.map(([path, , value]) => `e.${path} = ${value};`).join(' ');
  const print = 'for (i = 0; i < sizeof e; i++) printf("%02x", ((unsigned char *)&e)[i]);';
  const printed = inC(t, folder, `struct fix_every e; unsigned i; memset(&e, 0, sizeof e); ${set} ${others} ${print}`);
  const written = Uint8Array.from(Buffer.from(printed, 'hex'));
  t.is(every.sizeof, written.length);

  const fieldAt = (path: string) =>
    path.split('.').reduce<unknown>((at, name) => (at as Record<string, unknown>)[name], every) as AnyField;
  const view = new DataView(written.buffer);
  for (const [path, value] of numbers) t.is(fieldAt(path).get(view), value, path);
  t.deepEqual((every['mac'] as Bytes).get(view), Uint8Array.of(1, 2, 3, 4, 5, 6));
  t.is(Buffer.from((every['name'] as Bytes).get(view)).toString(), 'dpdk\0');
  t.is((every['halves'] as Numbers).get(view, 2), 0xabcd);
  t.is((every['halves'] as Numbers).length, 3);
  t.is((every['be_words'] as Numbers).get(view, 1), 77);
  t.is((every['one'] as Numbers<bigint>).get(view, 0), -1n);
  t.is((inner['b'] as Field).get(view, every['inner']!.offset), 12);
  t.is((inner['b'] as Field).get(view, every['pair']!.at(1)), 13);
  t.is(every['tail']!.stride, inner.sizeof);
  t.is(every['pointer']!.width, 8);

  const own = new DataView(new ArrayBuffer(written.length));
  for (const [path, value] of numbers) fieldAt(path).set(own, value);
  for (const path of ['mac', 'name', 'inner', 'pointer']) {
    (every[path] as Bytes).set(own, (every[path] as Bytes).get(view));
  }
  (every['halves'] as Numbers).set(own, 2, 0xabcd);
  (every['be_words'] as Numbers).set(own, 1, 77);
  (every['one'] as Numbers<bigint>).set(own, 0, -1n);
  (inner['b'] as Field).set(own, 13, every['pair']!.at(1));
  t.deepEqual(new Uint8Array(own.buffer), written);
});

compilerTest('a packed struct has no gaps; arrays without a length have an offset and a stride', async (t) => {
  const folder = includeFolder(t);
  const wish = { structs: { fix_packed: 'a b c d numbers[]', fix_ends: 'count list[]' } };
  const module = await load(t, generated(folder, wish), 'every.js');
  const packed = module['fix_packed'] as AnyStruct;
  t.is(packed.sizeof, 12);
  t.deepEqual(
    ['a', 'b', 'c', 'd', 'numbers'].map((name) => packed[name]!.offset),
    [0, 1, 9, 11, 12],
  );
  t.is(packed['numbers']!.length, undefined);
  t.is(packed['numbers']!.at(3, 100), 118);
  const { offset, stride } = (module['fix_ends'] as AnyStruct)['list']!;
  t.deepEqual({ offset, stride }, { offset: 1, stride: 6 });
});

compilerTest('the text is laid out as Prettier would, and says where it comes from', async (t) => {
  const folder = includeFolder(t);
  const wish = { constants: ['FIX_*'], without: ['FIX_TEXT'], structs: { fix_every: everyField, fix_ends: 'list[]' } };
  const files = generated(folder, wish);
  t.deepEqual([...files.keys()], ['every.ts', 'fields.ts']);
  t.regex(files.get('every.ts')!, /^\/\*\*\n \* <fixture\/every\.h> of Linux \d+\.\d+: a test\.\n/);
  for (const [name, text] of files) {
    t.true(await prettier.check(text, { parser: 'typescript', printWidth: 120, singleQuote: true }), name);
  }
});

compilerTest('constants alone make a module that imports nothing', (t) => {
  const files = generated(includeFolder(t), { constants: ['FIX_NUMBER'] });
  t.deepEqual([...files.keys()], ['every.ts']);
  t.false(files.get('every.ts')!.includes('import'));
});

const lacking: readonly (readonly [title: string, wish: Wish, sentence: RegExp])[] = [
  [
    'a header that is not there',
    { header: 'fixture/none.h' },
    /^<fixture\/none\.h> cannot be compiled: .*No such file/,
  ],
  ['a header that is no C', { header: 'fixture/broken.h' }, /^<fixture\/broken\.h> cannot be compiled: .*no_such_type/],
  ['a constant', { constants: ['FIX_THIRD'] }, /^<fixture\/every\.h> does not have FIX_THIRD as it is asked for: /],
  ['a pattern', { constants: ['FIX_NUMBR*'] }, /has no constant that FIX_NUMBR\* matches; did you mean FIX_NUMBER\?$/],
  ['a pattern of another header', { constants: ['FIX_OTHER*'] }, /has no constant that FIX_OTHER\* matches/],
  ['a constant that is text', { constants: ['FIX_*'] }, /does not have FIX_TEXT as it is asked for: /],
  ['a value', { constants: ['FIX_EMPTY'] }, /does not have FIX_EMPTY as it is asked for: /],
  ['a name in an expression', { constants: ['A = FIX_NOT'] }, /does not have A = FIX_NOT as it is asked for: /],
  ['a struct', { structs: { fix_none: 'a' } }, /does not have struct fix_none as it is asked for: /],
  ['a field', { structs: { fix_every: 'byte none' } }, /have fix_every\.none as it is asked for: .*'none'/],
  [
    'an inner field',
    { structs: { fix_every: 'or.middle' } },
    /have fix_every\.or\.middle as it is asked for: .*'middle'/,
  ],
  [
    'the offset of a bit-field',
    { structs: { fix_every: 'bit' } },
    /have fix_every\.bit as it is asked for: .*bit-?field/,
  ],
  [
    'the size of its tail',
    { structs: { fix_every: 'tail' } },
    /fix_every\.tail as .*; an array without a length is written tail\[\]$/,
  ],
  ['elements in a number', { structs: { fix_every: 'word[]' } }, /have fix_every\.word\[\] as it is asked for: /],
  [
    'an array behind a pointer',
    { structs: { fix_every: 'words[]' } },
    /^<fixture\/every\.h>: fix_every\.words\[\] is a pointer, not an array/,
  ],
];

for (const [title, wish, sentence] of lacking) {
  compilerTest(`an error names the header and what it lacks: ${title}`, (t) => {
    const folder = includeFolder(t);
    const error = t.throws(() => generated(folder, wish));
    t.true(isVirtioPmdError(error, 'EOPTION'));
    t.regex(error!.message, sentence);
    t.false(error!.message.includes('\n'));
  });
}

test('without a compiler the sentence says what to install', (t) => {
  const error = t.throws(() => generated('/nowhere', { constants: ['A'] }, 'no-such-compiler'));
  t.true(isVirtioPmdError(error, 'ESYSTEM'));
  t.regex(error!.message, /^a C compiler is needed: no-such-compiler cannot be run \[ENOENT\]; install one/);
});
