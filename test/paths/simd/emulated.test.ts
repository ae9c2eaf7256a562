/**
 * The SIMD code of every instruction set on whatever CPU this is: built with emulated intrinsics (SIMDe) for this test.
 * VPMD_SANITIZE=1 builds them with sanitizers too; libasan has to be preloaded then (`npm run test:sanitize`).
 */
import test from 'ava';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { helperStatus, type SimdIsa } from '../../../native/helper.js';
import { testSimd } from './support/suite.js';
import { needs } from '../../support/needs.js';

const isas: readonly SimdIsa[] = ['SSE', 'AVX2', 'AVX512', 'NEON'];

const sanitize = process.env['VPMD_SANITIZE'] === '1';

/** Builds into `folder`. @returns '' or why it cannot be done */
function build(folder: string): string {
  const script = fileURLToPath(new URL('../../../tools/build-native.mjs', import.meta.url));
  const options = sanitize ? ['--emulate', '--sanitize'] : ['--emulate'];
  const env = { ...process.env, LD_PRELOAD: '' }; // libasan is for us, not for the compiler
  const { status, stderr } = spawnSync(process.execPath, [script, folder, ...options], { env, encoding: 'utf8' });
  return status === 0 ? '' : stderr.trim();
}

const folder = mkdtempSync(join(tmpdir(), 'vpmd-'));
const forget = () => rmSync(folder, { recursive: true, force: true });
test.after.always(forget);
const problem = build(folder);
if (problem === '') process.env['VPMD_HELPER'] = join(folder, readdirSync(folder)[0]!);
const loaded = problem === '' && helperStatus().reason === '';
// a library that is loaded needs no file, but a sanitizer's report names lines with it
if (!sanitize) forget();

needs(problem).serial('SIMD code with emulated intrinsics can be built and loaded', (t) => {
  t.is(helperStatus().reason, '');
  t.deepEqual([...helperStatus().isas].sort(), [...isas].sort());
});

// CI runs this file twice: the many random lives are for the sanitizers
if (loaded) for (const isa of isas) testSimd(isa, sanitize ? 1000 : 300);
