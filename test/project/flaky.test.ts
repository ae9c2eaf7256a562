/** The list of files that .ci/run may run again, and how it finds what failed in a log of ava's. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { failuresByFile, flakyFiles, runAgain, testFiles } from '../support/rerun.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('every file of the list exists, once, and has its cause in a sentence', (t) => {
  const flaky = flakyFiles();
  t.true(flaky.size > 0);
  t.deepEqual([...flaky.keys()], [...flaky.keys()].sort());
  for (const [file, cause] of flaky) {
    t.regex(file, /^test\/.+\.(test|case)\.ts$/);
    t.true(existsSync(join(root, file)), file);
    t.regex(cause, /^[A-Z][^\n]{30,}[^.]\.$/, file);
  }
});

test('the list is short: nine files in ten get no second chance', (t) => {
  const tests = [...flakyFiles().keys()].filter((file) => file.endsWith('.test.ts'));
  t.true(tests.length < testFiles().length / 10, String(tests.length));
});

const files = ['test/driver/eal/memory.test.ts', 'test/driver/vhost/memory.test.ts', 'test/paths/mbuf.test.ts'];
const log = [
  '  ✔ paths › mbuf › a chain › of two (257ms)',
  '  ✘ [fail]: driver › vhost › memory › a table of nine regions Error thrown in test',
  '    ℹ driver › eal › memory › said so',
  '  ✘ [fail]: paths › mbuf › driver › eal › memory › a title like a name',
  '  ✘ [fail]: driver › vhost › memory › no region at all',
  '  ✘ [fail]: memory › of no file that is there',
  '  - [skip]: driver › eal › memory › hugepages',
  '',
].join('\n');

test('a failed test belongs to the file that its name begins with', (t) => {
  t.deepEqual(
    [...failuresByFile(log, files)],
    [
      ['test/driver/vhost/memory.test.ts', 2],
      ['test/paths/mbuf.test.ts', 1],
      ['', 1],
    ],
  );
  t.is(failuresByFile('  9 tests passed\n', files).size, 0);
});

test('only what is in the list runs again', (t) => {
  const cause = 'The host is shared.';
  t.deepEqual(runAgain(log, files, new Map([['test/driver/vhost/memory.test.ts', cause]])), [
    '2 test/driver/vhost/memory.test.ts',
  ]);
  t.deepEqual(runAgain(log, files, new Map([['test/driver/eal/memory.test.ts', cause]])), []);
});
