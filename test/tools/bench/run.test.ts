/** The benchmarks themselves, as short as they can be: that they measure something, keep it, and leave nothing behind. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { newResult, resumeResult, runForwarding } from '../../../tools/bench/forwarding/forwarding.js';
import { latencyTable, runLatency } from '../../../tools/bench/latency/latency.js';
import { describeMachine } from '../../../tools/bench/common/machine.js';
import type { Peer } from '../../../tools/bench/common/peer.js';
import { loadResult, type ForwardingOptions, type Run } from '../../../tools/bench/forwarding/results.js';
import { withScope } from '../../../tools/bench/common/scope.js';
import { turnOnce, turnTable } from '../../../tools/bench/turn/turn.js';
import { recipeNamed } from '../../../tools/common/recipes.js';
import { lacks, needs } from '../../support/needs.js';

const dpdkTest = needs(lacks('dpdk-testpmd'));

const SCOPE_PREFIX = 'vpmd-bench-';
const never = new AbortController().signal;

function temporary(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

const tiny: ForwardingOptions = {
  ...{ recipes: ['packed mergeable'], sizes: [64], modes: ['io'], pairs: 1, seconds: 1, warmUpSeconds: 0.5 },
};

function context(t: ExecutionContext, signal: AbortSignal) {
  const lines: string[] = [];
  const json = join(temporary(t), 'result.json');
  return { lines, json, program: 'source' as const, print: (line: string) => void lines.push(line), signal };
}

dpdkTest.serial('one pair of one recipe, with everything that the table needs', async (t) => {
  const bench = context(t, never);
  const result = await runForwarding(newResult(tiny, describeMachine()), bench);
  t.deepEqual(result.failures, []);
  t.deepEqual(loadResult(bench.json), result);
  t.deepEqual(
    result.runs.map(({ side }) => side),
    ['ours', 'dpdk'],
  );
  for (const run of result.runs) {
    t.is(run.windows.length, 1);
    t.true(run.windows[0]! > 0 && run.packets > 0 && run.lost >= 0, JSON.stringify(run));
    t.deepEqual([run.rx, run.tx], ['virtio_recv_mergeable_pkts_packed', 'virtio_xmit_pkts_packed']);
  }
  t.true(result.runs[0]!.collections! >= 0);
  t.regex(
    bench.lines.at(-1)!,
    /^\[1\/1\] pair 1\/1 {2}io +64 {2}packed mergeable +ours +[\d.]+ {2}DPDK +[\d.]+ {2}ratio/,
  );
});

for (const mode of ['rxonly', 'txonly'] as const) {
  dpdkTest.serial(`${mode}: the receiver's packets are counted, on either side`, async (t) => {
    const options = { ...tiny, recipes: ['split mergeable'], sizes: [1518], modes: [mode] };
    const { runs, failures } = await runForwarding(newResult(options, describeMachine()), context(t, never));
    t.deepEqual(failures, []);
    t.true(runs.length === 2 && runs.every(({ packets, windows }) => packets > 0 && windows[0]! > 0));
  });
}

for (const mode of ['io', 'rxonly', 'txonly'] as const) {
  dpdkTest.serial(`${mode} with our own net_vhost port at the other end of both`, async (t) => {
    const bench = context(t, never);
    const options = { ...tiny, modes: [mode], peer: 'ours' as const };
    const result = await runForwarding(newResult(options, describeMachine()), bench);
    t.deepEqual(result.failures, []);
    t.is(loadResult(bench.json).options.peer, 'ours');
    t.true(result.runs.length === 2 && result.runs.every(({ packets, windows }) => packets > 0 && windows[0]! > 0));
    t.true(bench.lines.includes('At the other end: our own net_vhost port.'));
  });
}

dpdkTest.serial(
  'interrupted in the middle of a pair: the pairs before it are kept, and can be gone on with',
  async (t) => {
    const controller = new AbortController();
    const bench = context(t, controller.signal);
    const machine = describeMachine();
    const timer = setInterval(() => {
      if (existsSync(bench.json) && loadResult(bench.json).runs.length > 0) controller.abort();
    }, 50);
    t.teardown(() => clearInterval(timer));
    const { runs } = await runForwarding(newResult({ ...tiny, pairs: 2 }, machine), bench);
    t.deepEqual(
      runs.map(({ side }: Run) => side),
      ['ours', 'dpdk'],
    );
    t.deepEqual(loadResult(bench.json).failures, [], 'an interruption is no failure');
    t.deepEqual(resumeResult(bench.json, machine).runs, runs);
  },
);

dpdkTest.serial('a side that cannot be started is noted, and the others are measured', async (t) => {
  const options = { ...tiny, recipes: ['no such recipe', 'packed mergeable'] };
  const result = await runForwarding(newResult(options, describeMachine()), context(t, never));
  t.is(result.failures.length, 1);
  t.is(result.failures[0]!.recipe, 'no such recipe');
  t.is(result.runs.length, 2);
});

dpdkTest.serial('latency: both sides, every packet accounted for', async (t) => {
  const options = { recipes: ['split mergeable'], size: 64, pairs: 1, seconds: 1, warmUpSeconds: 0.2, pps: 20_000 };
  const result = await runLatency(options, { ...context(t, never), machine: describeMachine() });
  t.is(result.runs.length, 2);
  for (const { sent, received, latency, tainted } of result.runs) {
    t.true(sent > 0 && received > 0 && received <= sent);
    t.is(latency.count + tainted.count, received);
    t.true(latency.p50 <= latency.p99 && latency.p99 <= latency.p999 && latency.p999 <= latency.max);
  }
  t.regex(latencyTable(result), /^split mergeable +ours /m);
});

for (const name of ['split mergeable', 'packed mergeable', 'packed in-order non-mergeable', 'packed vector Rx+Tx']) {
  test.serial(`a turn of ${name} forwards against the device that uses at once`, async (t) => {
    const job = { recipe: name, burst: 32, simd: 256, size: 64, seconds: 0.1, warmUpSeconds: 0.1 };
    const run = await turnOnce(job, never);
    t.true(run.best > 0 && run.best <= run.median);
    const { rx, tx } = recipeNamed(name);
    if (!name.includes('vector')) t.deepEqual([run.rx, run.tx], [rx, tx]); // kernels may be missing
    t.regex(turnTable([name], [run]), new RegExp(`^${name.replace('+', '\\+')} +virtio_recv`, 'm'));
  });
}

test.serial('what a scope has started ends with it, also when its body fails', async (t) => {
  const scopes = () => readdirSync(tmpdir()).filter((name) => name.startsWith(SCOPE_PREFIX));
  const before = scopes();
  let peer: Peer | undefined;
  const error = new Error('the body failed');
  const controller = new AbortController();
  const failing = withScope(controller.signal, async (scope) => {
    peer = scope.start('cat', ['cat', []]);
    peer.send('testpmd> ');
    await peer.waitFor(/testpmd> /);
    controller.abort();
    throw error;
  });
  t.is(await t.throwsAsync(failing), error);
  t.is(peer!.ended, 'SIGKILL');
  t.deepEqual(
    scopes().filter((name) => !before.includes(name)),
    [],
  );
  await t.throwsAsync(
    withScope(controller.signal, () => Promise.resolve()),
    { any: true },
  );
});
