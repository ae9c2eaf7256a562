/** Options as users type them, through the programs: one sentence, the exit code of docs/errors.md, and nothing made. */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import test from 'ava';

interface Run {
  readonly status: number | null;
  readonly out: string;
}

async function run(program: string, args: readonly string[]): Promise<Run> {
  const argv = ['--import', './tools/ts.mjs', `tools/${program}/main.ts`, ...args];
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000 });
  const status = new Promise<number | null>((resolve) => child.on('close', resolve));
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { status: await status, out: out + err };
}

const eal = ['--no-pci', '--no-huge'];
const cases: readonly [program: string, args: readonly string[], status: number, says: RegExp][] = [
  ['testpmd', [...eal, '--proc-type=bogus'], 1, /EAL: --proc-type=bogus: must be primary or auto\n/],
  ['testpmd', [...eal, '--proc-t=secondary'], 1, /there are no secondary processes here/],
  ['testpmd', [...eal, '--iova=bogus'], 1, /EAL: --iova-mode=bogus: must be pa or va\n/],
  ['testpmd', [...eal, '--huge-unlink=bogus'], 1, /--huge-unlink=bogus: must be existing, always or never\n/],
  ['testpmd', [...eal, '--no'], 1, /option '--no' is ambiguous; possibilities: .*'--no-huge'/],
  ['testpmd', [...eal, '-m', '-5'], 1, /-m -5: give MiB/],
  ['testpmd', [...eal, '--', '--rxq=1e3'], 1, /--rxq=1e3: must be a number from 0 to 1024\n/],
  ['testpmd', [...eal, '--', '--nb-'], 1, /option '--nb-' is ambiguous; possibilities: '--nb-cores' '--nb-ports'\n/],
  ['testpmd', [...eal, '--', `--txpkts=${'300,'.repeat(219)}300`], 1, /total packet length=66000 > 65535/],
  ['l3fwd-power', [...eal, '--', '-p1', '--conf=(0,0,1)', '--max=7'], 1, /option '--max' is ambiguous/],
  ['vhost-switch', ['--sock=/nowhere/s', '--que=0x'], 2, /--queues 0x: a number from 1 to 128 is expected\n/],
  ['devbind', ['--stat'], 2, /option '--stat' is ambiguous; possibilities: '--status' '--status-dev'\n/],
];
for (const [program, args, status, says] of cases) {
  test.serial(`${program} ${args.join(' ').slice(0, 60)}`, async (t) => {
    const { status: code, out } = await run(program, args);
    t.regex(out, says);
    t.is(code, status);
    t.notRegex(out, /\n {4}at /); // no stack trace
  });
}

test.serial('testpmd starts with what the test suites of DPDK write', async (t) => {
  const args = [...eal, '--iova=va', '--file=dts', '--proc-type=auto', '-n', '4', '--vfio-intr=msix', '--huge-unlink'];
  const { status, out } = await run('testpmd', [
    ...args,
    '--',
    '-i',
    '--nb-core=1',
    '--port-topo=loop',
    '--disable-flow',
  ]);
  t.regex(out, /EAL: Auto-detected process type: PRIMARY\n/);
  t.regex(out, /EAL: --iova-mode is accepted and has no effect/);
  t.regex(out, /testpmd: --disable-flow-flush is accepted and has no effect: ports here have no flow rules\n/);
  t.is(status, 0, out);
});
