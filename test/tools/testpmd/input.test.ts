/** Where testpmd's commands come from when nobody types: files, pipes, and what is neither. */
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { LineCutter, linesOf, LONGEST_LINE } from '../../../tools/testpmd/commands/lines.js';
import { Program } from '../support/ending-programs.js';
import { ourCpu, peerCpu, temporaryDirectory } from '../../support/peers.js';

const ealArgs = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge', '--no-pci', '--'];

/** A testpmd without ports. */
const testpmd = (t: ExecutionContext, ...args: string[]) => new Program(t, 'testpmd', [...ealArgs, ...args]);

/** The same, in a shell that gives it another stdin. */
const underShell = (t: ExecutionContext, redirection: string) =>
  new Program(t, 'testpmd', [...ealArgs, '-i'], {}, undefined, redirection);

function cut(chunks: readonly string[]) {
  const long: number[] = [];
  const cutter = new LineCutter((line) => long.push(line));
  const lines = [...chunks.flatMap((chunk) => [...cutter.push(chunk)]), ...cutter.end()];
  return { lines, long };
}

test('lines are the same however the text was cut', (t) => {
  const text = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '\r', '\n'), maxLength: 20 });
  fc.assert(
    fc.property(fc.array(text), (chunks) => {
      const whole = chunks.join('').split('\n');
      if (whole.at(-1) === '') whole.pop();
      t.deepEqual(cut(chunks).lines, whole.map((line) => line.replace(/\r$/, ''))); // prettier-ignore
    }),
  );
});

test('a line that is too long is left out and told once, with its number; the next one counts again', (t) => {
  const longest = 'x'.repeat(LONGEST_LINE);
  t.deepEqual(cut(['a\n', longest, '\nb\n']), { lines: ['a', longest, 'b'], long: [] });
  t.deepEqual(cut(['a\n', longest, 'x', longest, longest, '\nb\n']), { lines: ['a', 'b'], long: [2] });
  t.deepEqual(cut([`${longest}x\n${longest}x`]), { lines: [], long: [1, 2] });
});

test('no more is read than is asked for', async (t) => {
  const input = new PassThrough({ highWaterMark: 1024 });
  const lines = linesOf(input, new AbortController().signal, () => {});
  input.write('first\n');
  t.is((await lines.next()).value, 'first');
  let taken = 0;
  while (input.write('stop\n'.repeat(100)) && taken < 1000) taken++;
  t.true(taken < 100, 'the writer is told to wait');
  await lines.return(undefined);
  t.true(input.destroyed);
});

test('an interrupt ends the wait for a line', async (t) => {
  const interrupt = new AbortController();
  const next = linesOf(new PassThrough(), interrupt.signal, () => {}).next();
  interrupt.abort();
  t.true((await next).done);
});

const refusals: readonly [what: string, path: (t: ExecutionContext) => string, sentence: RegExp][] = [
  ['/dev/zero', () => '/dev/zero', /a text file is needed, and this is a device/],
  ['a directory', () => '/', /a text file is needed, and this is a directory/],
  ['a missing file', () => '/nowhere/commands', /ENOENT: no such file or directory/],
  [
    'one line of 64 MiB',
    (t) => {
      const path = join(temporaryDirectory(t), 'line');
      writeFileSync(path, Buffer.alloc(64 * 2 ** 20, 'x'));
      return path;
    },
    /line 1 has more than 65536 characters: this is no text file/,
  ],
];
for (const [what, pathOf, sentence] of refusals) {
  test.serial(`--cmdline-file, ${what}: one sentence and exit code 1`, async (t) => {
    const path = pathOf(t);
    const program = testpmd(t, '-i', `--cmdline-file=${path}`);
    t.is(await program.ended, 'exit code 1');
    const [, said] = /error\[EOPTION\]: testpmd: --cmdline-file=(.*)\n$/.exec(program.stderr) ?? [];
    t.regex(said ?? program.stderr, sentence);
    t.true(program.stdout.includes(`CLI commands to be read from ${path}\n`));
  });
}

test.serial('--eth-peers-configfile: one address in a line, and what is no text file', async (t) => {
  const path = join(temporaryDirectory(t), 'peers');
  writeFileSync(path, '# whom we send to\n02:00:00:00:00:11\n\nnobody\n');
  const nobody = testpmd(t, '-i', `--eth-peers-configfile=${path}`);
  t.is(await nobody.ended, 'exit code 1');
  t.regex(nobody.stderr, /error\[EOPTION\]: --eth-peers-configfile=[^ ]*: 'nobody' is no MAC address: [^\n]*\n$/);
  const endless = testpmd(t, '-i', '--eth-peers-configfile=/dev/zero');
  t.is(await endless.ended, 'exit code 1');
  t.regex(
    endless.stderr,
    /error\[EOPTION\]: testpmd: --eth-peers-configfile=\/dev\/zero: a text file is needed[^\n]*\n$/,
  );
});

test.serial('--cmdline-file, a FIFO: waits for its writer, says so, runs what comes, and hears signals', async (t) => {
  const fifo = join(temporaryDirectory(t), 'fifo');
  execFileSync('mkfifo', [fifo]);
  const program = testpmd(t, '-i', `--cmdline-file=${fifo}`);
  await program.waitFor(/waiting for lines from/);
  const writer = openSync(fifo, 'w');
  t.teardown(() => closeSync(writer));
  writeFileSync(writer, 'set burst 16\n');
  await program.waitFor(/testpmd> set burst 16\nNumber of packets per burst set to 16\n/);
  program.signal('SIGTERM');
  t.is(await program.ended, 'exit code 0');
  t.notRegex(program.stdout, /Read CLI commands/);
});

test.serial('--cmdline-file without -i; its last line has no end; --cmdline-file-noecho', async (t) => {
  const path = join(temporaryDirectory(t), 'commands');
  writeFileSync(path, 'set burst 16\r\nset verbose 1\nquit');
  const program = testpmd(t, `--cmdline-file-noecho=${path}`);
  t.is(await program.ended, 'exit code 0');
  t.regex(program.stdout, /burst set to 16\nChange verbose level from 0 to 1\n\nBye/);
  t.notRegex(program.stdout, /testpmd> /);
});

for (const redirection of ['<&-', '</dev/null', '</']) {
  test.serial(`-i ${redirection}: the end of the input is quit`, async (t) => {
    const program = underShell(t, redirection);
    t.is(await program.ended, 'exit code 0');
    t.regex(program.stdout, /testpmd> \nBye\.\.\.\n$/);
  });
}

test.serial('a line of 64 MiB on stdin is left out, and the next one runs', async (t) => {
  const program = testpmd(t, '-i');
  program.type(`${'x'.repeat(64 * 2 ** 20)}\nset burst 16\nquit`);
  t.is(await program.ended, 'exit code 0');
  t.regex(program.stderr, /testpmd: a line of more than 65536 characters is left out\n/);
  t.regex(program.stdout, /testpmd> set burst 16\nNumber of packets per burst set to 16\ntestpmd> quit\n/);
});
