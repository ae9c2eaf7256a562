import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { truncateSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { guardAvailable, guardHit, guardMapping, unguardMapping } from '../../native/guard.js';
import { whyNoHugepages } from '../support/hugepages.js';
import { needs } from '../support/needs.js';

const script = fileURLToPath(new URL('./support/guard-child.ts', import.meta.url));

/** Truncates the file under the child's feet. Returns what the child printed last and how it ended. */
async function truncateUnder(t: ExecutionContext, mode: string) {
  const child = spawn(process.execPath, ['--import', './tools/ts.mjs', script, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  const ended = once(child, 'exit');
  const lines: Record<string, unknown>[] = [];
  for await (const line of createInterface(child.stdout)) {
    lines.push(JSON.parse(line) as Record<string, unknown>);
    if (lines.length === 1) {
      await new Promise((resolve) => setTimeout(resolve, 200)); // let the reading loop get compiled
      truncateSync(String(lines[0]!['file']), 0);
    }
  }
  const [code, signal] = (await ended) as [number | null, string | null];
  return { first: lines[0], last: lines[1], code, signal };
}

const guardTest = needs(guardAvailable().reason);
const hugepageTest = needs(guardAvailable().reason || whyNoHugepages(4));

const survived = { seen: 0, hit: true, written: 7, last: 0 };

guardTest(
  'a peer truncates its file while we read: zeros from then on, the hit is marked, the process lives',
  async (t) => {
    const { first, last, code } = await truncateUnder(t, 'guarded');
    t.is(first!['hitBefore'], false);
    t.deepEqual(last, survived);
    t.is(code, 0);
  },
);

guardTest('the same in a worker thread, seen from the main thread', async (t) => {
  const { last, code } = await truncateUnder(t, 'worker');
  t.deepEqual(last, survived);
  t.is(code, 0);
});

hugepageTest('the same with 2 MiB hugepages', async (t) => {
  const { last, code } = await truncateUnder(t, 'hugepages');
  t.deepEqual(last, survived);
  t.is(code, 0);
});

test('outside guarded memory SIGBUS still ends the process', async (t) => {
  const { last, signal } = await truncateUnder(t, 'unguarded');
  t.true(last === undefined);
  t.is(signal, 'SIGBUS');
});

guardTest('8192 mappings can be guarded; the next is refused and a freed entry is used again', (t) => {
  const mapping = (i: number) => ({ address: BigInt(0x1000_0000 + i * 4096), byteLength: 4096 });
  for (let i = 0; i < 8192; i++) guardMapping(mapping(i));
  t.throws(() => guardMapping(mapping(8192)), { code: 'EMEMORY' });
  unguardMapping(mapping(5));
  t.notThrows(() => guardMapping(mapping(8192)));
  t.false(guardHit(mapping(8192)));
  for (let i = 0; i <= 8192; i++) unguardMapping(mapping(i));
});
