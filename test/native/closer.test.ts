/** Threads of the helper that close descriptors (native/closer.ts). Attacks: test/attack/close.test.ts. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { canGoOn, lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

test('four threads close at the same time, under the thread sanitizer: no race', (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = (name: string) => fileURLToPath(new URL(name, import.meta.url));
  const program = join(directory, 'closer');
  const sources = [file('../../native/helper/closer.c'), file('./support/closer-threads.c')];
  const built = spawnSync('cc', ['-g', '-O1', '-fsanitize=thread', '-pthread', ...sources, '-o', program], {
    encoding: 'utf8',
  });
  const why = /cannot find -ltsan|libtsan/.test(built.stderr) ? 'the compiler has no thread sanitizer' : '';
  if (!canGoOn(t, why)) return;
  t.is(built.stderr, '');
  // without fixed addresses: some kernels place memory where this sanitizer cannot have it
  const { stdout, stderr, status } = spawnSync('setarch', ['-R', program], { encoding: 'utf8' });
  t.deepEqual({ stdout, stderr, status }, { stdout: 'closed\n', stderr: '', status: 0 });
});
