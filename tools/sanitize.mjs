// `npm run test:sanitize`: the tests of the SIMD code with AddressSanitizer and UndefinedBehaviorSanitizer in the native helper. Their
// runtime has to be in the process before anything else, so it is preloaded; what Node itself leaks is not our business.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative, libraryName } from './build-native.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const options = { sanitize: true };
const directory = mkdtempSync(join(tmpdir(), 'vpmd-sanitize-'));
let status = 1;
try {
  const { problem, notes } = buildNative(directory, options);
  for (const complaint of [...notes, ...(problem ? [problem] : [])]) console.error(`sanitize: ${complaint}`);
  if (problem === '' && notes.length === 0) {
    const runtime = spawnSync(process.env.CC || 'cc', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
    const env = {
      ...process.env,
      LD_PRELOAD: runtime.stdout.trim(),
      ASAN_OPTIONS: 'detect_leaks=0',
      UBSAN_OPTIONS: 'print_stacktrace=1',
      VPMD_HELPER: join(directory, libraryName(options)),
      VPMD_SANITIZE: '1', // libraries that the tests build themselves are to be sanitized too
    };
    const ava = [join(root, 'node_modules/ava/entrypoints/cli.mjs'), 'test/paths/simd/*.test.ts', '--timeout=20m'];
    status = spawnSync(process.execPath, ava, { cwd: root, env, stdio: 'inherit' }).status ?? 1;
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
process.exit(status);
