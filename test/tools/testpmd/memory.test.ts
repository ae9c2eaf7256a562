/** -m and --socket-mem as command lines made for DPDK have them, through the program and a vhost-user back-end. */
import test from 'ava';
import { eventually, portStats } from '../../support/peers.js';
import { spawnTestpmd, startTestpmd } from '../../support/testpmd-process.js';

for (const memory of [
  ['-m', '4096'],
  ['--socket-mem', '2048,2048'],
  ['-m', '2048'],
]) {
  test.serial(`${memory.join(' ')}: packets flow, and one line says how much is used`, async (t) => {
    const ours = await startTestpmd(t, { eal: memory });
    const [intro] = await ours.waitFor(/^[^]*testpmd> /, 60_000);
    const asked = memory.join(' ').includes('-m 2048') ? 2048 : 4096;
    t.true(intro.includes(`EAL: ${asked} MiB of packet memory were asked for: 2046 MiB are used, the most`), intro);
    await ours.ask('start tx_first', /testpmd> /);
    await eventually(
      'packets',
      () => portStats(ours),
      ({ rxPackets }) => rxPackets > 100,
    );
    t.is(await ours.stop(), 'exit code 0');
  });
}

/** Refused before or while the mempool is made. */
const refused: readonly [name: string, args: readonly string[], RegExp][] = [
  ['a mempool of 2147483647 mbufs', ['--total-num-mbufs=2147483647'], /no room for mempool mb_pool_0 \(2147483647 mbufs\): 4456448\.0 MiB asked for, and packet memory is one file of at most 2046 MiB/],
  ['--rxq=1024 on a port of one queue', ['--rxq=1024'], /Fail: input rxq \(1024\) can't be greater than max_rx_queues \(1\) of port 0: give --rxq=1 or less/],
]; // prettier-ignore
for (const [name, args, sentence] of refused) {
  test.serial(`${name}: one sentence, without a number that wrapped`, async (t) => {
    const ours = await startTestpmd(t, { args: ['-i', ...args] });
    const [text] = await ours.waitFor(/Cause: .*\n/, 60_000);
    t.regex(text, sentence);
    t.notRegex(text, /-\d+ MiB| 0 MiB/);
    t.is(await ours.end(), 'exit code 1');
  });
}

test.serial('without ports, as many queues as DPDK has are no reason to run out of memory', async (t) => {
  const ours = spawnTestpmd(t, [], ['-i', '--rxq=1024', '--txq=1024']);
  const [intro] = await ours.waitFor(/^[^]*testpmd> /, 60_000);
  t.regex(intro, /create a new mbuf pool <mb_pool_0>: n=\d+, size=2176/);
  t.is(await ours.stop(), 'exit code 0');
});
