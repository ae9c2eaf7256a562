/** The native helper: what is built, how it is found, what is said when it is not there. */
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import test, { type ExecutionContext } from 'ava';
import { helperStatus, simdFunctions, type HelperStatus, type SimdIsa } from '../../native/helper.js';
import { temporaryDirectory } from '../support/peers.js';
import { lacks, needs, wants } from '../support/needs.js';

const compilerTest = needs(lacks(process.env['CC'] ?? 'cc'));
const [otherArch, otherCompiler] =
  process.arch === 'x64' ? ['arm64', 'aarch64-linux-gnu-gcc'] : ['x64', 'x86_64-linux-gnu-gcc'];
const crossTest = needs(lacks(otherCompiler!));

const root = fileURLToPath(new URL('../..', import.meta.url));
const ofArch: Readonly<Record<string, readonly SimdIsa[]>> = { x64: ['SSE', 'AVX2', 'AVX512'], arm64: ['NEON'] };
const isasHere = ofArch[process.arch] ?? [];

function build(t: ExecutionContext, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}) {
  const directory = temporaryDirectory(t);
  const run = spawnSync(process.execPath, ['tools/build-native.mjs', directory, ...args], {
    cwd: root,
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return { ...run, directory, files: readdirSync(directory) };
}

/** What a fresh process finds; it ends with an error of ours when it asks for code that cannot run. */
function statusIn(env: NodeJS.ProcessEnv): { status: HelperStatus; refusal: string } {
  const program = `
    import { helperStatus, simdFunctions } from './native/helper.js';
    import { guardAvailable } from './native/guard.js';
    const status = helperStatus();
    if (guardAvailable().reason !== status.reason) throw new Error('the guard has a reason of its own');
    let refusal = '';
    try {
      for (const isa of ['SSE', 'AVX2', 'AVX512', 'NEON']) if (!status.isas.includes(isa)) simdFunctions(isa);
    } catch (error) {
      refusal = error.code + ' ' + error.message;
    }
    console.log(JSON.stringify({ status, refusal }));
  `;
  const args = ['--import', './tools/ts.mjs', '--input-type=module', '-e', program];
  const run = spawnSync(process.execPath, args, { cwd: root, env: { ...process.env, ...env }, encoding: 'utf8' });
  return JSON.parse(run.stdout || `"${run.stderr}"`) as { status: HelperStatus; refusal: string };
}

test('every instruction set of this architecture either runs here or is lacking for a reason', (t) => {
  const { isas, lacking, reason } = helperStatus();
  t.deepEqual(new Set([...isas, ...lacking.map(({ isa }) => isa)]), new Set(isasHere));
  for (const { isa, why } of lacking) t.not(why, '', isa);
  for (const isa of isas) t.deepEqual(Object.keys(simdFunctions(isa)), ['rxSplit', 'rxPacked', 'txPacked']);
  if (reason) t.log(reason);
});

test('SIMD code that cannot run here is refused with the reason', (t) => {
  const other: SimdIsa = process.arch === 'arm64' ? 'SSE' : 'NEON';
  t.throws(() => simdFunctions(other), { code: 'ECONFIG', message: new RegExp(`^no ${other} code: .+`) });
  for (const { isa, why } of helperStatus().lacking) {
    t.throws(() => simdFunctions(isa), { code: 'ECONFIG', message: `no ${isa} code: ${why}` });
  }
});

test('a worker thread finds what the main thread finds', async (t) => {
  const program = `
    import { parentPort } from 'node:worker_threads';
    import { helperStatus } from '${new URL('../../native/helper.js', import.meta.url).href}';
    parentPort.postMessage(helperStatus());
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`));
  t.teardown(() => worker.terminate());
  const status = await new Promise((resolve, reject) => worker.on('message', resolve).on('error', reject));
  t.deepEqual(status, helperStatus());
});

test('VPMD_HELPER=none switches it off', (t) => {
  const { status, refusal } = statusIn({ VPMD_HELPER: 'none' });
  const reason = 'VPMD_HELPER=none switches the native helper off: unset it';
  t.deepEqual(status, { path: '', reason, isas: [], lacking: isasHere.map((isa) => ({ isa, why: reason })) });
  t.is(refusal, `ECONFIG no SSE code: ${reason}`);
});

test('VPMD_HELPER names a file that is not there', (t) => {
  const path = join(temporaryDirectory(t), 'helper.so');
  const { status } = statusIn({ VPMD_HELPER: path });
  t.is(status.path, path);
  t.regex(status.reason, /^there is no native helper \/.*helper\.so: let VPMD_HELPER name .* or unset it$/);
  t.deepEqual(status.isas, []);
});

test('VPMD_HELPER names something that is no library', (t) => {
  const path = join(temporaryDirectory(t), 'text.so');
  writeFileSync(path, 'not a library');
  t.regex(statusIn({ VPMD_HELPER: path }).status.reason, /^the native helper text\.so cannot be loaded \(.+\): let /);
});

test('VPMD_HELPER names the library of something else', (t) => {
  const { status } = statusIn({ VPMD_HELPER: koffiModule() });
  t.regex(status.reason, /^the native helper koffi\.node cannot be loaded \(.*vpmd_abi.*\): let /);
});

/** A shared object that is there wherever the tests run. */
function koffiModule(): string {
  const folder = join(root, 'node_modules/@koromix');
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((name) => /koffi\.node$/.test(name));
  return join(folder, found!);
}

compilerTest('VPMD_HELPER names a helper of another version', (t) => {
  const directory = temporaryDirectory(t);
  const [source, path] = [join(directory, 'old.c'), join(directory, 'old.so')];
  writeFileSync(source, 'unsigned vpmd_abi(void) { return 99; }\n');
  spawnSync(process.env['CC'] ?? 'cc', ['-shared', '-fPIC', '-o', path, source]);
  const { status } = statusIn({ VPMD_HELPER: path });
  t.regex(status.reason, /^the native helper old\.so has ABI 99, \d+ is expected: let VPMD_HELPER name /);
  t.deepEqual(status.isas, []);
});

compilerTest('the compiler builds all SIMD code of this architecture, with no warning', (t) => {
  const { status, stderr, directory, files } = build(t);
  t.is(stderr, '');
  t.is(status, 0);
  t.deepEqual(files, [`helper.linux-${process.arch}.so`]);
  const found = statusIn({ VPMD_HELPER: join(directory, files[0]!) }).status;
  t.is(found.reason, '');
  for (const { why } of found.lacking) t.is(why, 'the CPU does not have it');
});

// elsewhere there is but one instruction set
const onX64 = process.arch === 'x64' ? compilerTest : wants(`this is ${process.arch}`);

onX64('an instruction set that the compiler does not know is left out, with a note, and the rest works', (t) => {
  const compiler = join(temporaryDirectory(t), 'old-cc');
  const refuse = 'case "$*" in *-mavx512f*) echo "unknown option -mavx512f" >&2; exit 1;; esac';
  writeFileSync(compiler, `#!/bin/sh\n${refuse}\nexec ${process.env['CC'] ?? 'cc'} "$@"\n`, { mode: 0o755 });
  const { status, stderr, directory } = build(t, [], { CC: compiler });
  t.is(status, 0);
  t.regex(
    stderr,
    /^helper\.linux-x64\.so: no SIMD code for AVX512, .*old-cc cannot build it: unknown option -mavx512f\n$/,
  );
  const found = statusIn({ VPMD_HELPER: join(directory, 'helper.linux-x64.so') }).status;
  t.true(found.isas.includes('SSE'));
  t.true(found.lacking.some(({ isa }) => isa === 'AVX512'));
});

compilerTest('--emulate without its headers says what to install', (t) => {
  const { status, stderr, files } = build(t, ['--emulate'], { CFLAGS: '', CC: withoutSimde(t) });
  t.is(status, 1);
  t.is(
    stderr,
    'helper.emulated.so was not built: --emulate needs the headers of SIMDe (Debian: apt-get install libsimde-dev)\n',
  );
  t.deepEqual(files, []);
});

function withoutSimde(t: ExecutionContext): string {
  const compiler = join(temporaryDirectory(t), 'cc');
  const refuse = 'case "$*" in *simde.c) exit 1;; esac';
  writeFileSync(compiler, `#!/bin/sh\n${refuse}\nexec ${process.env['CC'] ?? 'cc'} "$@"\n`, { mode: 0o755 });
  return compiler;
}

crossTest('the other architecture is built with its cross compiler, and cannot be loaded here', (t) => {
  const { status, stderr, directory, files } = build(t, ['--arch', otherArch!]);
  t.is(stderr, '');
  t.is(status, 0);
  t.deepEqual(files, [`helper.linux-${otherArch}.so`]);
  t.regex(statusIn({ VPMD_HELPER: join(directory, files[0]!) }).status.reason, /cannot be loaded/);
});

test('without a C compiler the build says so and fails', (t) => {
  const { status, stderr, files } = build(t, [], { CC: '/nonexistent/cc' });
  t.is(status, 1);
  t.regex(stderr, /was not built: no C compiler found \(\/nonexistent\/cc; Debian: apt-get install gcc\)/);
  t.deepEqual(files, []);
});

test('an option or architecture that does not exist is refused', (t) => {
  t.is(build(t, ['--speed']).status, 2);
  const { status, stderr } = build(t, ['--arch', 'vax']);
  t.is(status, 1);
  t.regex(stderr, /--arch vax: expected arm64 or x64/);
});

wants(process.platform === 'linux' && helperStatus().reason === '' ? '' : 'there is no helper')(
  'the library stays in a process that ends: its threads may still be closing descriptors',
  (t) => {
    const program = `
      import { openSync } from 'node:fs';
      import { closeApart } from './native/closer.js';
      for (let i = 0; i < 400; i++) closeApart(...Array.from({ length: 8 }, () => openSync('/dev/null', 'r')));
    `;
    for (let i = 0; i < 5; i++) {
      const args = ['--import', './tools/ts.mjs', '--input-type=module', '-e', program];
      const env = { ...process.env, LD_DEBUG: 'files' };
      const { status, signal, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' });
      t.deepEqual([status, signal], [0, null]);
      t.notRegex(stderr, /native\/helper[^\n]*destroying link map/);
    }
  },
);
