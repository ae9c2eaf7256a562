#!/usr/bin/env node
// `node tools/build-native.mjs [DIR] [--arch arm64|x64|all] [--emulate] [--sanitize]` compiles the C files of native/helper/ to
// DIR/helper.linux-ARCH.so (see native/helper.ts). Without DIR: beside every helper.ts or helper.js of this folder.
// Plain Node: it ships with the package.
//   --arch      for another architecture, with Debian's cross compiler (gcc-aarch64-linux-gnu, gcc-x86-64-linux-gnu);
//               all: for each one that has a compiler here
//   --emulate   the SIMD code of every ISA on any machine, through Debian's libsimde-dev: helper.emulated.so
//   --sanitize  with AddressSanitizer and UndefinedBehaviorSanitizer: helper.*.sanitized.so
// CC names the compiler for this machine, CFLAGS adds to its flags. What the C files see: simd.c, once per ISA,
// VPMD_ISA_SSE, _AVX2, _AVX512 or _NEON; all of them VPMD_EMULATE under --emulate; cpu.c VPMD_ISAS_BUILT, the bits of the
// ISAs that could be compiled.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const root = fileURLToPath(new URL('..', import.meta.url));
const native = join(root, 'native/helper');

/** What a library is made from: every C file and header. */
export const sources = readdirSync(native)
  .filter((name) => /\.[ch]$/.test(name))
  .map((name) => join(native, name));

/** The bit of each ISA in vpmd_isas_built, and what the compiler has to be told. */
const isas = {
  SSE: { bit: 1, arch: 'x64', flags: ['-msse4.2'] },
  AVX2: { bit: 2, arch: 'x64', flags: ['-mavx2'] },
  AVX512: { bit: 4, arch: 'x64', flags: ['-mavx512f', '-mavx512bw', '-mavx512vl', '-mavx512dq'] },
  NEON: { bit: 8, arch: 'arm64', flags: [] },
};

const crossCompilers = { arm64: 'aarch64-linux-gnu-gcc', x64: 'x86_64-linux-gnu-gcc' };
const crossPackages = {
  arm64: 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross',
  x64: 'gcc-x86-64-linux-gnu libc6-dev-amd64-cross',
};

/** The name of the library that these options make. */
export function libraryName({ arch = process.arch, emulate = false, sanitize = false } = {}) {
  return `helper.${emulate ? 'emulated' : `linux-${arch}`}${sanitize ? '.sanitized' : ''}.so`;
}

/** Runs the compiler. @returns '' or what went wrong, in the compiler's words; its warnings go to stderr. */
function run(compiler, args) {
  const { status, stderr, error } = spawnSync(compiler, args, { encoding: 'utf8' });
  if (status !== 0) return (stderr || error?.message || `exit code ${status}`).trim();
  if (stderr) process.stderr.write(stderr);
  return '';
}

const works = (compiler) => spawnSync(compiler, ['--version']).status === 0;

/** @returns the compiler, or undefined and the reason. */
function findCompiler(arch) {
  if (arch !== process.arch) {
    const compiler = crossCompilers[arch];
    if (compiler === undefined) return [undefined, `--arch ${arch}: expected arm64 or x64`];
    if (works(compiler)) return [compiler, ''];
    return [undefined, `no cross compiler ${compiler} (Debian: apt-get install ${crossPackages[arch]})`];
  }
  const candidates = process.env.CC ? [process.env.CC] : ['cc', 'gcc', 'clang'];
  const compiler = candidates.find(works);
  if (compiler) return [compiler, ''];
  return [undefined, `no C compiler found (${candidates.join(', ')}; Debian: apt-get install gcc)`];
}

/** The headers behind the emulated intrinsics. @returns '' when the compiler finds them */
function checkSimde(compiler, scratch) {
  const probe = join(scratch, 'simde.c');
  writeFileSync(probe, '#include <simde/x86/avx512.h>\n#include <simde/arm/neon.h>\n');
  const missing = run(compiler, ['-fsyntax-only', '-w', probe]) !== '';
  return missing ? '--emulate needs the headers of SIMDe (Debian: apt-get install libsimde-dev)' : '';
}

/** Compiles and links in `scratch`. @returns { problem, notes } */
function compile(compiler, { arch, emulate, sanitize }, scratch, target) {
  const common = ['-std=c11', '-O3', '-fPIC', '-ffp-contract=off', '-Wall', '-Wextra'];
  common.push(...(process.env.CFLAGS ?? '').split(' ').filter(Boolean));
  if (emulate) common.push('-DVPMD_EMULATE', '-Wno-psabi'); // GCC's remarks on vectors as arguments
  if (sanitize) common.push('-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all');
  const objects = [];
  const object = (source, name, flags) => {
    const output = join(scratch, `${name}.o`);
    const problem = run(compiler, [...common, ...flags, '-c', '-o', output, join(native, source)]);
    if (problem === '') objects.push(output);
    return problem;
  };
  const notes = [];
  let built = 0;
  for (const [isa, { bit, arch: isaArch, flags }] of Object.entries(isas)) {
    if (!emulate && isaArch !== arch) continue;
    const problem = object('simd.c', `simd-${isa}`, [`-DVPMD_ISA_${isa}`, ...(emulate ? [] : flags)]);
    if (problem === '') built |= bit;
    else notes.push(`no SIMD code for ${isa}, ${compiler} cannot build it: ${problem}`);
  }
  let problem =
    object('guard.c', 'guard', []) ||
    object('monitor.c', 'monitor', []) ||
    object('closer.c', 'closer', ['-pthread']) ||
    object('cpu.c', 'cpu', [`-DVPMD_ISAS_BUILT=${built}`]);
  // nodelete: its threads (closer.c) and its signal handler (guard.c) may still run when Node unloads libraries at its end
  const sanitizers = sanitize ? ['-fsanitize=address,undefined'] : [];
  const link = ['-shared', '-pthread', '-Wl,-z,relro,-z,now,-z,nodelete', ...sanitizers];
  problem ||= run(compiler, [...link, '-o', target, ...objects]);
  return { problem: problem && `${compiler} failed: ${problem}`, notes };
}

/**
 * Makes one library in `directory`.
 * @returns { problem: '' or why it was not built, notes: what was left out of it }
 */
export function buildNative(directory, { arch = process.arch, emulate = false, sanitize = false } = {}) {
  const [compiler, why] = findCompiler(arch);
  if (compiler === undefined) return { problem: why, notes: [] };
  mkdirSync(directory, { recursive: true });
  const target = join(directory, libraryName({ arch, emulate, sanitize }));
  const fresh = `${target}.${process.pid}`; // renamed when complete: another process may be loading the old one
  const scratch = mkdtempSync(join(tmpdir(), 'vpmd-native-'));
  try {
    const simde = emulate ? checkSimde(compiler, scratch) : '';
    if (simde) return { problem: simde, notes: [] };
    const result = compile(compiler, { arch, emulate, sanitize }, scratch, fresh);
    if (result.problem === '') renameSync(fresh, target);
    return result;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
    rmSync(fresh, { force: true });
  }
}

/** Where a library is looked for: beside the source of the loader, and beside what the build made of it. */
export function helperFolders() {
  return ['native/helper.ts', 'dist/native/helper.js']
    .map((path) => join(root, path))
    .filter((path) => existsSync(path))
    .map((path) => resolve(path, '..'));
}

function main() {
  const options = {
    arch: { type: 'string', default: process.arch },
    emulate: { type: 'boolean', default: false },
    sanitize: { type: 'boolean', default: false },
  };
  let parsed;
  try {
    parsed = parseArgs({ options, allowPositionals: true });
    if (parsed.positionals.length > 1) throw new Error('one DIR at most');
  } catch (error) {
    console.error(
      `build-native: ${error.message}\nusage: build-native.mjs [DIR] [--arch ARCH] [--emulate] [--sanitize]`,
    );
    process.exit(2);
  }
  const { values, positionals } = parsed;
  const directories = positionals.length > 0 ? [resolve(positionals[0])] : helperFolders();
  const all = values.arch === 'all';
  let built = 0;
  let failed = 0;
  for (const directory of directories) {
    for (const arch of all ? Object.keys(crossCompilers) : [values.arch]) {
      const request = { ...values, arch };
      const { problem, notes } = buildNative(directory, request);
      for (const note of notes) console.error(`${libraryName(request)}: ${note}`);
      if (problem !== '') console.error(`${libraryName(request)} was not built: ${problem}`);
      if (problem === '') built++;
      else failed++;
    }
  }
  // of all architectures one is enough: a package with fewer libraries serves fewer machines, and says so there
  if (all ? built === 0 : failed > 0) process.exitCode = 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main();
