/** How programs end: every kind of error in every program, as the table of docs/errors.md says. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { sleep, startPeer, temporaryDirectory } from '../../support/peers.js';
import { startBackend, startTestpmd, waitForSocket } from '../../support/testpmd-process.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const programs = ['testpmd', 'l3fwd-power', 'vhost-switch', 'devbind', 'vfio-bindings-generator'] as const;
type Program = (typeof programs)[number];

const command = (program: Program, args: readonly string[], flags: readonly string[] = []) => [
  ...flags,
  ...['--import', './tools/ts.mjs', `tools/${program}/main.ts`],
  ...args,
];

function run(program: Program, args: readonly string[], flags?: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, command(program, args, flags), {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    input: '',
  });
  return { status: signal ?? status, stdout, stderr };
}

/** The page's table: row -> program -> cell. */
function exitCodes(): Map<string, Map<string, string>> {
  const page = readFileSync(join(root, 'docs/errors.md'), 'utf8');
  const rows = page
    .slice(page.indexOf('| exit code |'), page.indexOf('- `npm start`'))
    .trim()
    .split('\n')
    .map((line) => line.split(/(?<!\\)[|]/).slice(1, -1).map((cell) => cell.trim())); // prettier-ignore
  const [head, , ...body] = rows;
  return new Map(
    body.map(([kind, ...cells]) => [
      kind!,
      new Map(cells.flatMap((cell, i) => head![i + 1]!.split(', ').map((program) => [program, cell] as const))),
    ]),
  );
}

const table = exitCodes();
const expected = (kind: string, program: Program) => table.get(kind)!.get(program)!;

const framed = (program: Program) => program === 'testpmd' || program === 'l3fwd-power';
/** The last that a program says: all of stderr when it says nothing else. */
function saysOnly(t: ExecutionContext, program: Program, stderr: string, line: RegExp) {
  const frame = framed(program) ? /^(?:EAL: Detected CPU lcores: \d+\n)?(?:EAL: lcore \d+ is alone[^\n]*\n)?EAL: Error - exiting with code: 1\n {2}Cause: / : /^/; // prettier-ignore
  t.regex(stderr, new RegExp(`${frame.source}${line.source}\n$`), program);
}

test('the table names every program, and every kind of end that is tested', (t) => {
  for (const cells of table.values()) t.deepEqual([...cells.keys()].sort(), [...programs].sort());
  t.deepEqual(
    [...table.keys()],
    [
      'done, `--help`, `--version`',
      'the command line cannot be understood (`EOPTION`)',
      'any other error',
      'a fault of the program (`EBUG`)',
      'SIGINT, SIGTERM, SIGHUP, SIGQUIT',
      // these are in program-endings
      'nobody reads the output any more (`\\| head -1`)',
      'the output cannot be written (disk full)',
    ],
  );
});

for (const program of programs) {
  test(`${program} --help`, (t) => {
    const { status, stdout, stderr } = run(program, ['--help']);
    t.is(String(status), expected('done, `--help`, `--version`', program));
    t.regex(stdout, new RegExp(program));
    t.is(stderr, '');
  });

  test(`${program}: an option that is none`, (t) => {
    const { status, stdout, stderr } = run(program, ['--bogus-option']);
    t.is(String(status), expected('the command line cannot be understood (`EOPTION`)', program));
    saysOnly(t, program, stderr, /error\[EOPTION\]: [^\n]*--bogus-option[^\n]*/);
    t.is(stdout, '');
  });

  test(`${program}: a fault of its own is one line; the stack only with VPMD_STACK=1`, (t) => {
    const broken = 'process.stdout.write=()=>{throw new TypeError("made\\nup")}'; // --help writes there
    const flags = ['--import', `data:text/javascript,${encodeURIComponent(broken)}`];
    const { status, stderr } = run(program, ['--help'], flags);
    t.is(String(status), expected('a fault of the program (`EBUG`)', program));
    saysOnly(
      t,
      program,
      stderr,
      /error\[EBUG\]: TypeError: made up\. This is a fault of virtio-pmd: please [^\n]*VPMD_STACK=1[^\n]*/,
    );
    const loud = run(program, ['--help'], flags, { VPMD_STACK: '1' });
    t.is(loud.status, status);
    t.regex(loud.stderr, /^TypeError: made\nup\n {4}at /);
    t.true(loud.stderr.endsWith(stderr));
  });
}

const impossible: Readonly<Record<Program, readonly [code: string, args: readonly string[]]>> = {
  testpmd: ['ESOCKET', ['--no-pci', '--no-huge', '--vdev', 'net_virtio_user0,path=/nowhere/s', '--', '-i']],
  'l3fwd-power': [
    'ESOCKET',
    [
      ...['--no-pci', '--no-huge', '-l', '0', '--vdev', 'net_virtio_user0,path=/nowhere/s'],
      ...['--', '-p', '1', '--config=(0,0,0)', '--parse-ptype', '--interrupt-only'],
    ],
  ],
  'vhost-switch': ['E\\w+', ['--socket-file', '/nowhere/s']],
  devbind: ['ECONFIG', ['--bind=no-such-driver', 'ff:1f.7']],
  'vfio-bindings-generator': ['ESYSTEM', ['--config', '/nowhere', '--out', '/nowhere']],
};

for (const program of programs) {
  const [code, args] = impossible[program];
  test(`${program}: what cannot be done`, (t) => {
    const { status, stderr } = run(program, args);
    t.is(String(status), expected('any other error', program));
    const cause = framed(program) ? 'EAL: Error - exiting with code: 1\n {2}Cause: ' : '';
    t.regex(stderr, new RegExp(`(?:^|\n)${cause}error\\[${code}\\]: [^\n]+\n$`));
    t.notRegex(stderr, /^ {4}at /m);
  });
}

// native code

const noPackage = `import Module from 'node:module';
const load = Module._load;
Module._load = (request, ...more) => {
  if (!/koromix|\\.node$/.test(request)) return load(request, ...more);
  throw Object.assign(new Error('Cannot find module ' + request), { code: 'MODULE_NOT_FOUND' });
};`;
const withoutNative: readonly (readonly [title: string, flags: readonly string[], what: RegExp])[] = [
  ['with --no-addons', ['--no-addons'], /: start Node without --no-addons/],
  [
    "without koffi's package for this machine",
    ['--import', `data:text/javascript,${encodeURIComponent(noPackage)}`],
    /: install its package for this machine too \(@koromix\/koffi-[^\n]*--omit=optional/,
  ],
];

for (const [title, flags, what] of withoutNative) {
  test(`${title}: --help and --version work, and what else needs no native code`, (t) => {
    for (const program of programs) {
      const { status, stdout, stderr } = run(program, ['--help'], flags);
      t.deepEqual({ status, stderr }, { status: 0, stderr: '' }, program);
      t.regex(stdout, new RegExp(program));
      t.regex(run(program, ['--bogus'], flags).stderr, /error\[EOPTION\]: [^\n]*--bogus/);
    }
    t.regex(run('vhost-switch', ['--version'], flags).stdout, /^vhost-switch [^\n]+\n$/);
  });

  test(`${title}: all else is a sentence`, (t) => {
    for (const program of ['testpmd', 'l3fwd-power', 'vhost-switch'] as const) {
      const { status, stderr } = run(program, impossible[program][1], flags);
      t.is(status, 1);
      saysOnly(t, program, stderr, new RegExp(`error\\[ESYSTEM\\]: [^\n]*koffi[^\n]*${what.source}`));
    }
  });

  test(`${title}: a program of the library's user gets an error where it calls, not where it imports`, (t) => {
    const source = `import { createEal, parseLcores, isVirtioPmdError } from './driver/index.js';
      import { VhostDriver } from './driver/vhost/index.js';
      for (const call of [createEal, () => parseLcores('-l', '0'), () => new VhostDriver('/nowhere/s', {}, {}).start()])
        try { call(); console.log('no error'); } catch (error) { console.log(isVirtioPmdError(error, 'ESYSTEM'), error.message); }`;
    const file = join(root, 'test/tools/common', `no-koffi-${process.pid}.tmp.ts`);
    writeFileSync(file, source.replaceAll('./driver', '../../../driver'));
    t.teardown(() => spawnSync('rm', ['-f', file]));
    const { stdout, stderr } = spawnSync(process.execPath, [...flags, '--import', './tools/ts.mjs', file], {
      cwd: root,
      encoding: 'utf8',
    });
    t.is(stderr, '');
    t.is(stdout.split('\n').length, 4, stdout);
    for (const line of stdout.trim().split('\n')) t.regex(line, new RegExp(`^true [^\n]*koffi[^\n]*${what.source}`));
  });
}

test.serial('with --disallow-code-generation-from-strings queues share code; it is said once', async (t) => {
  const flags = ['--disallow-code-generation-from-strings'];
  const path = await waitForSocket(startBackend(t));
  const args = ['--no-pci', '--no-huge', '--vdev', `net_virtio_user0,path=${path}`, '--', '-i'];
  const ours = startPeer(t, 'our testpmd', process.execPath, command('testpmd', args, flags));
  await ours.waitFor(/testpmd> /, 60_000);
  await ours.ask('start tx_first', /testpmd> /);
  // they are back when the back-end's lcore has had a CPU
  for (let i = 0; i < 100 && !/RX-packets: [1-9]/.test(ours.output); i++) {
    await sleep(100);
    await ours.ask('show port stats 0', /RX-packets: [^]*testpmd> /);
  }
  await ours.ask('stop', /RX-packets: [1-9]\d*[^]*testpmd> /);
  await ours.ask('quit', /Bye/);
  t.is(await ours.end(), 'exit code 0');
  t.is(ours.output.match(/queues share code, which is slower/g)?.length, 1, ours.output);
});

// signals, and exceptions that nothing catches

const inAMoment = (statement: string) => [
  ...['--import', `data:text/javascript,${encodeURIComponent(`setTimeout(()=>{${statement}},4000)`)}`],
];

test.serial('testpmd: SIGTERM ends it in an orderly way', async (t) => {
  const ours = await startTestpmd(t);
  await ours.waitFor(/testpmd> /, 60_000);
  process.kill(ours.pid, 'SIGTERM');
  t.is(
    await ours.end(),
    `exit code ${expected('SIGINT, SIGTERM, SIGHUP, SIGQUIT', 'testpmd').slice(0, 1)}`,
    ours.output,
  );
});

test.serial('testpmd: an exception that nothing catches closes its ports, and is one line', async (t) => {
  const path = await waitForSocket(startBackend(t));
  const args = ['--no-pci', '--no-huge', '--vdev', `net_virtio_user0,path=${path}`, '--', '-i'];
  const ours = startPeer(t, 'our testpmd', process.execPath, command('testpmd', args, inAMoment('null.x')));
  t.is(await ours.end(), `exit code ${expected('a fault of the program (`EBUG`)', 'testpmd')}`, ours.output);
  t.regex(
    ours.output,
    /EAL: Error - exiting with code: 1\n {2}Cause: error\[EBUG\]: TypeError: Cannot read [^\n]*\n[^]*Port 0 is closed/,
  );
  t.notRegex(ours.output, /^ {4}at /m);
});

test.serial('vhost-switch: an exception that nothing catches removes its socket, and is one line', async (t) => {
  const path = join(temporaryDirectory(t), 's');
  const ours = startPeer(
    t,
    'vhost-switch',
    process.execPath,
    command('vhost-switch', ['--socket-file', path], inAMoment('Promise.reject(new RangeError("made up"))')),
  );
  t.is(await ours.end(), 'exit code 1', ours.output);
  t.regex(ours.output, /^error\[EBUG\]: RangeError: made up\. [^\n]*\n$/m);
  t.notRegex(ours.output, /^ {4}at /m);
  t.false(existsSync(path));
});
