/** What all measurements have in common: the file after every step, and what is left of one that was interrupted. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { describeMachine, machineLine } from '../../../tools/bench/common/machine.js';
import { measure, type Context } from '../../../tools/bench/common/measurement.js';

const machine = describeMachine();

function contextOf(t: ExecutionContext, signal: AbortSignal): Context & { readonly lines: string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const lines: string[] = [];
  const json = join(directory, 'made/result.json');
  return { program: 'source', json, machine, lines, print: (line) => void lines.push(line), signal };
}

test('the file has the result of each step when `keep` returns, and then the whole', async (t) => {
  const context = contextOf(t, new AbortController().signal);
  const runs: number[] = [];
  const result = await measure('test', { pairs: 2 }, context, { runs }, async (keep) => {
    for (const run of [1, 2]) {
      await Promise.resolve();
      runs.push(run);
      keep();
      t.deepEqual((JSON.parse(readFileSync(context.json, 'utf8')) as { runs: number[] }).runs, runs);
    }
  });
  const { kind, options } = result;
  t.deepEqual({ kind, options, runs: result.runs }, { kind: 'test', options: { pairs: 2 }, runs: [1, 2] });
  t.deepEqual(JSON.parse(readFileSync(context.json, 'utf8')), result);
  t.deepEqual(context.lines, [machineLine(machine)]);
});

test('interrupted, it has what was measured; any other error is thrown', async (t) => {
  const controller = new AbortController();
  const context = contextOf(t, controller.signal);
  const runs: number[] = [];
  const failing = () =>
    measure('test', {}, context, { runs }, async () => {
      await Promise.resolve();
      runs.push(1);
      throw new Error('a step failed');
    });
  await t.throwsAsync(failing, { message: 'a step failed' });
  controller.abort();
  t.deepEqual((await failing()).runs, [1, 1]);
});
