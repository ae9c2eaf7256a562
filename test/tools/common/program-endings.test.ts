/** Ways in which our programs end before their work is done: signals, readers that go away, a disk that is full. */
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, writeFileSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { lasting, Program } from '../support/ending-programs.js';
import { eventually, temporaryDirectory } from '../../support/peers.js';

/** What is in a folder; the compiler of TypeScript may keep its code there. */
const leftIn = (folder: string) => readdirSync(folder).filter((name) => !name.startsWith('v8-compile-cache'));

const STACK = /\n {4}at /;

for (const { name, start, print, after } of lasting) {
  // the tests of each program have SIGINT
  for (const signal of ['SIGTERM', 'SIGHUP', 'SIGQUIT'] as const) {
    test.serial(`${name}: ${signal} is a clean end`, async (t) => {
      const { program, made } = await start(t);
      await eventually('something made', () => leftIn(made), (names) => names.length > 0); // prettier-ignore
      program.signal(signal);
      t.is(await program.ended, `exit code ${after(constants.signals[signal])}`);
      t.deepEqual(leftIn(made), []);
      t.notRegex(program.stderr, STACK);
    });
  }

  if (print === undefined) continue;
  test.serial(`${name}: the reader of its output goes away`, async (t) => {
    const { program, made } = await start(t);
    program.closeOutput();
    print(program);
    t.is(await program.ended, 'exit code 141');
    t.deepEqual(leftIn(made), []);
    t.notRegex(program.stderr, STACK);
  });
}

const brief: readonly [name: string, args: readonly string[]][] = [
  ['testpmd', ['--help']],
  ['testpmd', ['--version']],
  ['l3fwd-power', ['--help']],
  ['vhost-switch', ['--help']],
  ['devbind', ['--status']],
  ['vfio-bindings-generator', ['--help']],
];
for (const [name, args] of brief) {
  const line = [name, ...args].join(' ');
  test.serial(`${line}: nobody reads its output`, async (t) => {
    const program = new Program(t, name, args);
    program.closeOutput();
    t.is(await program.ended, 'exit code 141');
    t.is(program.stderr, '');
  });

  test.serial(`${line}: its output cannot be written`, async (t) => {
    const full = openSync('/dev/full', 'w');
    const program = new Program(t, name, args, {}, full);
    closeSync(full);
    t.is(await program.ended, 'exit code 1');
    t.regex(program.stderr, /^error\[ESYSTEM\]: cannot write to stdout: ENOSPC[^\n]*\n$/);
  });
}

for (const name of ['testpmd', 'l3fwd-power', 'vhost-switch', 'devbind', 'vfio-bindings-generator']) {
  test.serial(`${name} --version: one line, and the end`, async (t) => {
    const program = new Program(t, name, ['--version']);
    t.is(await program.ended, 'exit code 0');
    t.regex(program.stdout, new RegExp(`^${name} \\(virtio-pmd\\) \\d+\\.\\d+\\.\\d+\\n$`));
    t.is(program.stderr, '');
  });
}

test.serial('vfio-bindings-generator, SIGTERM while the compiler runs: no scratch folder stays', async (t) => {
  const folder = temporaryDirectory(t);
  const scratch = join(folder, 'tmp');
  mkdirSync(scratch);
  const cc = join(folder, 'cc');
  writeFileSync(cc, `#!/bin/sh\n[ "$5" = -o ] && touch ${folder}/compiling && sleep 1\nexec cc "$@"\n`, {
    mode: 0o755,
  });
  const args = ['--config', 'tools/vfio-bindings-generator/linux.json', '--out', join(folder, 'out'), '--cc', cc];
  const program = new Program(t, 'vfio-bindings-generator', args, { TMPDIR: scratch });
  await eventually('the compiler', () => existsSync(join(folder, 'compiling')), Boolean);
  program.signal('SIGTERM');
  t.is(await program.ended, 'exit code 143', program.stderr);
  t.deepEqual(readdirSync(scratch), []);
});
