/**
 * What the paths do on machines that reorder loads (WEAK_ORDER in native/order.ts). No such machine runs the tests, so the
 * suites of all paths run once more, with fewer random sequences, in processes that are told to be one.
 */
import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const folder = 'test/paths/guest';

/** Runs files of tests as a weakly ordered machine does. */
async function run(t: ExecutionContext, ...args: string[]): Promise<{ status: number | null; output: string }> {
  t.timeout(600_000, 'a child that runs tests');
  const child = spawn(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', '--tap', ...args], {
    cwd: root,
    env: { ...process.env, VPMD_WEAK_ORDER: '1' },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
  return { output: await text(child.stdout), status: await ended };
}

test.serial('every path, its doorbells and its interrupts', async (t) => {
  const files = ['rx/*.test.ts', 'tx/*.test.ts', 'doorbell.test.ts', 'interrupt.test.ts'];
  const { status, output } = await run(t, ...files.map((file) => `${folder}/${file}`));
  t.is(status, 0, output);
  for (const path of ['virtio_recv_pkts_packed', 'virtio_xmit_pkts_packed', 'virtio_recv_pkts', 'virtio_xmit_pkts']) {
    t.regex(output, new RegExp(`^ok .* ${path}: random sequences`, 'm'));
  }
});

test.serial('a fence that a factory does not find fails them', async (t) => {
  const mistake = `--node-arguments=--import=./${folder}/support/without-fence.mjs`;
  const { status, output } = await run(t, mistake, `${folder}/rx/packed.test.ts`);
  t.not(status, 0);
  t.regex(output, /fence is not defined/);
});
