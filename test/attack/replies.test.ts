/**
 * A back-end that answers late, wrongly or never: our testpmd keeps forwarding on its other port, keeps its prompt, connects
 * again, and quits.
 */
import { backEnds, movesOn, vdev } from './support/back-end.js';
import { eventually, sleep, type Peer } from '../support/peers.js';
import { spawnTestpmd } from '../support/testpmd-process.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

/** How long the prompt takes to answer. */
async function promptMs(peer: Peer): Promise<number> {
  const before = performance.now();
  await peer.ask('show port summary all', /Number of available ports[^]*testpmd> /, 60_000);
  return performance.now() - before;
}

test.serial('a back-end that comes back and answers late: the prompt lives, the other port forwards', async (t) => {
  t.timeout(180_000);
  const [bad, good] = await backEnds(t);
  const peer = spawnTestpmd(t, [vdev(0, bad), vdev(1, good)], ['-i', '--total-num-mbufs=4096']);
  await peer.waitFor(/testpmd> /, 60_000);
  await peer.ask('start', /testpmd> /);
  await movesOn('before', good, 'made');
  for (const [from, ms] of [
    [0, 1000],
    [0, 4500],
    [2, -1],
    [5, -1],
  ]) {
    const what = `replies from number ${from} on ${ms! < 0 ? 'never come' : `come after ${ms} ms`}`;
    await bad.ask(`delay ${from} ${ms}`);
    await bad.ask('hang-up');
    const waits = [];
    for (let i = 0; i < 4; i++) {
      await sleep(1000);
      waits.push(await promptMs(peer));
    }
    t.log(`${what}: the prompt answered after ${waits.map((wait) => wait.toFixed(0)).join(', ')} ms`);
    t.true(Math.max(...waits) < 3000, what);
    await movesOn(what, good, 'made');
    await bad.ask('mannered');
    await bad.ask('hang-up');
    await eventually(
      `${what}, mannered again`,
      () => bad.state(),
      ({ open }) => open >= 1,
      60_000,
    );
  }
  await movesOn('mannered again', good, 'made');
  peer.send('quit');
  t.is(await Promise.race([peer.end(), sleep(30_000).then(() => 'quit did not end it')]), 'exit code 0');
});

test.serial(
  'replies that are wrong, in each place: one sentence, the other port forwards, and it connects again',
  async (t) => {
    t.timeout(240_000);
    const [bad, good] = await backEnds(t);
    const peer = spawnTestpmd(t, [vdev(0, bad), vdev(1, good)], ['-i', '--total-num-mbufs=4096']);
    await peer.waitFor(/testpmd> /, 60_000);
    await peer.ask('start', /testpmd> /);
    await movesOn('before', bad, 'taken');
    let cases = 0;
    for (const kind of [
      'garbage',
      'short',
      'long',
      'huge',
      'empty',
      'request',
      'version',
      'noreply',
      'fds',
      'linger',
      'twice',
      'close',
    ]) {
      for (const place of [0, 1, 4]) {
        const { connections } = await bad.state();
        await bad.ask(`bad ${place} ${kind}`);
        await bad.ask('hang-up');
        // it has met the bad reply, and lives
        await eventually(
          `${kind} ${place}`,
          () => bad.state(),
          (state) => state.connections > connections,
          30_000,
        );
        await sleep(200);
        const ms = await promptMs(peer);
        t.true(ms < 5000, `${kind} ${place}: the prompt answered after ${ms.toFixed(0)} ms`);
        cases++;
      }
      await bad.ask('mannered');
      await bad.ask('hang-up');
      await movesOn(`${kind}, mannered again`, bad, 'taken');
      await movesOn(kind, good, 'made');
    }
    t.log(`${cases} cases`);
    t.notRegex(peer.output, /\n +at |TypeError|RangeError/, 'no stack trace');
    peer.send('quit');
    t.is(await Promise.race([peer.end(), sleep(30_000).then(() => 'quit did not end it')]), 'exit code 0');
  },
);
