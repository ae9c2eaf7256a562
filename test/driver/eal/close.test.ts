/** What users still have in hand after `eal.close()` does no harm. Each case is a process, as its failure is a SIGSEGV. */
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { startPeer } from '../../support/peers.js';

const program = fileURLToPath(new URL('./support/closed-eal.ts', import.meta.url));

const cases = {
  mempool: 'bytes, views and mbufs of a mempool read as zeros and can be written',
  port: 'a port that is open is closed; its paths and streams do nothing',
  iterator: 'an iteration over queues that have packets ends',
  thread: 'a thread of the user’s goes on reading and writing',
  vhost: 'a vhost device after its guest has gone, and with packets of another Eal that is closed',
  waiting: 'an attach that waits for a first client ends',
  stuck: 'a job that does not stop is named, and does not crash',
  cycles: 'a thousand times: neither memory nor addresses are lost',
};

for (const [which, title] of Object.entries(cases)) {
  test.serial(title, async (t) => {
    t.timeout(200_000);
    const child = startPeer(t, which, process.execPath, ['--expose-gc', '--import', './tools/ts.mjs', program, which]);
    t.is(await child.end(), 'exit code 0', child.output);
    t.regex(child.output, /^survived$/m);
  });
}
