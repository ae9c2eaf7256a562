/** Modules of users' forwarding modes: which files are taken, what is said of the others, and that each load is a module of its own. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { isVirtioPmdError } from '../../../native/errors.js';
import type { ForwardStream } from '../../../driver/port/stream.js';
import { loadMode, locateMode, sentenceOf } from '../../../tools/testpmd/engines/load-mode.js';
import { isModePath } from '../../../tools/testpmd/engines/modes.js';
import { temporaryDirectory } from '../../support/peers.js';

/** Writes a module. @returns its mode. */
function modeFile(t: ExecutionContext, name: string, source: string) {
  const path = join(temporaryDirectory(t), name);
  writeFileSync(path, source);
  return locateMode(path);
}

const refusals: readonly [title: string, file: string, source: string, sentence: RegExp][] = [
  ['no default export', 'm.mjs', 'export const mode = 1;', /^testpmd: forwarding mode m\.mjs has no default export: it must export default a function/],
  ['an object as default export', 'm.mjs', 'export default {};', /m\.mjs exports an object as its default/],
  ['null as default export', 'm.mjs', 'export default null;', /m\.mjs exports null as its default/],
  ['an empty file', 'm.ts', '', /m\.ts has no default export/],
  ['a syntax error in JavaScript', 'm.mjs', 'export default (', /m\.mjs cannot be loaded: SyntaxError: Unexpected end of input$/],
  ['a syntax error in TypeScript', 'm.ts', 'const a = 1;\nexport default ((x: number => {};', /m\.ts cannot be loaded: SyntaxError: .*m\.ts.*2.*error TS1005/],
  ['an import that leads nowhere', 'm.mjs', 'import "./nowhere.mjs";', /m\.mjs cannot be loaded: Cannot find module '[^']*nowhere\.mjs'/],
  ['a module that throws', 'm.mjs', '\n\nthrow new RangeError("no");', /m\.mjs cannot be loaded: m\.mjs:3: RangeError: no$/],
  ['a module that throws a string', 'm.mjs', 'throw "no";', /m\.mjs cannot be loaded: a string was thrown: no$/],
]; // prettier-ignore
for (const [title, file, source, sentence] of refusals) {
  test.serial(`${title}: one sentence that names the file`, async (t) => {
    const error = await t.throwsAsync(loadMode(modeFile(t, file, source)));
    t.true(isVirtioPmdError(error, 'EOPTION'));
    t.regex(error!.message, sentence);
    t.notRegex(error!.message, /\n/);
  });
}

test.serial('what package.json says is no module: .ts is one all the same, .js gets a hint', async (t) => {
  const directory = temporaryDirectory(t);
  const write = (name: string, source: string) => writeFileSync(join(directory, name), source);
  write('package.json', '{ "type": "commonjs" }');
  write('m.ts', 'export default (() => () => {}) as () => () => void;');
  write('m.js', 'export default () => () => {};');
  write('n.js', 'import "node:fs";\n');
  t.is(typeof (await loadMode(locateMode(join(directory, 'm.ts')))), 'function');
  for (const name of ['m.js', 'n.js']) {
    const error = await t.throwsAsync(loadMode(locateMode(join(directory, name))));
    t.regex(error!.message, /is it a module\? Name it \.mjs, or write "type": "module" into its package\.json$/);
  }
});

test('a path that is no file, or no module, is refused before anything is loaded', (t) => {
  const directory = temporaryDirectory(t);
  mkdirSync(join(directory, 'd.js'));
  writeFileSync(join(directory, 'm.txt'), '');
  const refused = (path: string, sentence: RegExp) =>
    t.throws(() => locateMode(join(directory, path)), { code: 'EOPTION', message: sentence });
  refused('m.ts', /no such file/);
  refused('d.js', /is no file/);
  refused('m.txt', /must end in \.ts, \.mts, \.js or \.mjs/);
});

test('a relative path counts from the working directory', (t) => {
  const { name, url } = locateMode('./docs/examples/reflector.ts');
  t.is(name, 'reflector.ts');
  t.regex(url, /^file:\/\/\/.*\/docs\/examples\/reflector\.ts$/);
});

test('what has a slash or the ending of a module is a path, and no mode of testpmd is', (t) => {
  for (const path of ['./a.ts', 'a.ts', 'a.mjs', 'a.cjs', '/a', 'modes/a']) t.true(isModePath(path), path);
  for (const word of ['io', '5tswap', 'nothing', 'mts', 'a.c']) t.false(isModePath(word), word);
});

const aMode = 'export default (stream) => () => void stream.receive();';
const sources: readonly [title: string, file: string, source: string][] = [
  ['.mjs', 'm.mjs', aMode],
  ['.js without a package.json', 'm.js', aMode],
  ['.ts without a package.json', 'm.ts', 'enum E { A }\nexport default ((stream: { receive(): number }) => () => void (stream.receive() + E.A));'],
  ['.mts', 'm.mts', 'export default ((stream: { receive(): number }) => () => void stream.receive());'],
  ['.cjs', 'm.cjs', 'module.exports = (stream) => () => void stream.receive();'],
  ['what a compiler makes of it for CommonJS', 'm.cjs', 'exports.__esModule = true; exports.default = (stream) => () => void stream.receive();'],
]; // prettier-ignore
for (const [title, file, source] of sources) {
  test.serial(`${title} is loaded`, async (t) => {
    const make = await loadMode(modeFile(t, file, source));
    let received = 0;
    make({ receive: () => ++received } as unknown as ForwardStream)();
    t.is(received, 1);
  });
}

for (const [name, source] of [
  ['m.mjs', 'let n = 0;\nexport default () => () => ++n;'],
  ['m.ts', 'let n: number = 0;\nexport default () => () => ++n;'],
] as const) {
  test.serial(`${name}: each load is a module of its own, and as the file says then`, async (t) => {
    const mode = modeFile(t, name, source);
    const stream = {} as ForwardStream;
    const [a, b] = [(await loadMode(mode))(stream), (await loadMode(mode))(stream)] as unknown as (() => number)[];
    t.deepEqual([a!(), a!(), b!()], [1, 2, 1]);
    writeFileSync(new URL(mode.url), source.replace('++n', '--n'));
    const c = (await loadMode(mode))(stream) as unknown as () => number;
    t.is(c(), -1);
  });
}

const throwing: readonly [name: string, source: string, sentence: string][] = [
  ['m.ts', 'interface A {\n  a: number;\n}\nexport default () => () => {\n  throw new TypeError("no" + ({ a: 1 } as A).a);\n};\n', 'm.ts:5: TypeError: no1'],
  ['a mode.ts', 'enum A {\n  B,\n}\nexport default () => () => {\n  throw new Error("no" + A.B);\n};\n', 'a mode.ts:5: no0'],
  ['ä mode.mjs', 'export default () => () => {\n  throw new Error("no");\n};\n', 'ä mode.mjs:2: no'],
]; // prettier-ignore
for (const [name, source, sentence] of throwing) {
  test.serial(`${name}: the line of an error is that of the source`, async (t) => {
    const mode = modeFile(t, name, source);
    const turn = (await loadMode(mode))({} as ForwardStream);
    t.is(sentenceOf(mode, t.throws(turn)), sentence);
  });
}

test('an error from elsewhere has the line of the mode that it came through, or none', (t) => {
  const mode = { name: 'm+(1).mjs', url: 'file:///x/m+(1).mjs' };
  const error = Object.assign(new Error('no\nmore of it'), { stack: 'Error: no\n at a (file:///y.mjs:1:2)\n at file:///x/m+(1).mjs?7:30:4' });
  t.is(sentenceOf(mode, error), 'm+(1).mjs:30: no');
  t.is(sentenceOf(mode, Object.assign(new RangeError('no'), { stack: '' })), 'RangeError: no');
  t.is(sentenceOf(mode, undefined), 'undefined was thrown');
}); // prettier-ignore
