/** A job that fails and that nobody asks about: programs end as they do on an unhandled rejection. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';

const program = fileURLToPath(new URL('./support/lcore-loud.ts', import.meta.url));

const cases: readonly (readonly [mode: string, title: string, status: number, out: RegExp, err: RegExp])[] = [
  [
    'throws',
    'a job that throws',
    1,
    /^$/,
    /lcore 1, job throwPlain: something broke[^]*cause.*TypeError: something broke/,
  ],
  [
    'no module',
    'a module that does not exist',
    1,
    /^$/,
    /lcore 1, job throwPlain: Cannot find module[^]*ERR_MODULE_NOT_FOUND/,
  ],
  ['no export', 'a function that the module does not export', 1, /^$/, /exports no function of that name/],
  ['dies', 'a rejection in the thread that nobody caught', 1, /^$/, /uncaught exception: nobody caught this/],
  ['leaves', 'a job that ends its thread', 1, /^$/, /the job ended its thread \(process\.exit\(7\)\)/],
  ['waits', 'a failure that wait() has thrown is not told again', 0, /^caught: lcore 1, job throwPlain/, /^$/],
  [
    'closes',
    'a failure that nobody was told of is thrown by close(), once',
    0,
    /^caught: lcore 1, job throwPlain/,
    /^$/,
  ],
  [
    'told',
    'a failure that onFailure was told of is not told again',
    0,
    /^told: 1, TypeError: something broke\n$/,
    /^$/,
  ],
];

for (const [mode, title, status, out, err] of cases) {
  test(`${title}: exit code ${status}`, (t) => {
    t.timeout(120_000);
    const args = ['--import', './tools/ts.mjs', program, mode];
    const run = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 100_000 });
    t.is(run.status, status, run.stderr);
    t.regex(run.stdout, out);
    t.regex(run.stderr, err);
  });
}
