/**
 * A back-end that makes the kick and call eventfds, which are ours, blocking, and fills or empties them all the time: testpmd and
 * l3fwd-power keep forwarding, stop and quit.
 */
import { backEnds, movesOn, vdev } from './support/back-end.js';
import { spawnL3fwd } from '../support/l3fwd-program.js';
import { ourCpu, peerCpu, sleep } from '../support/peers.js';
import { spawnTestpmd } from '../support/testpmd-process.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('cc'));

const PACKED = 1n << 34n;
const MRG_RXBUF = 1n << 15n;

for (const more of ['', ',packed_vq=1']) {
  for (const how of ['full', 'empty']) {
    const title = `testpmd's own eventfds, blocking and ${how}: both ports go on, stop and quit work${more}`;
    test.serial(title, async (t) => {
      const [bad, good] = await backEnds(t);
      await bad.ask(`features 0x${((more === '' ? 0n : PACKED) | MRG_RXBUF).toString(16)}`);
      const peer = spawnTestpmd(t, [vdev(0, bad, more), vdev(1, good)], ['-i', '--total-num-mbufs=4096']);
      await peer.waitFor(/testpmd> /, 60_000);
      await peer.ask('start', /testpmd> /);
      await movesOn('before', bad, 'taken');
      await bad.ask(how);
      await sleep(500);
      await movesOn(`eventfds that are ${how}`, good, 'made');
      await movesOn(`eventfds that are ${how}`, bad, 'taken');
      await peer.ask('show port stats all', /NIC statistics for port 1[^]*testpmd> /, 15_000);
      await peer.ask('stop', /Done\.\n|testpmd> /, 20_000);
      await peer.ask('start tx_first', /testpmd> /, 20_000);
      await movesOn('started again', good, 'made');
      peer.send('quit');
      t.is(await Promise.race([peer.end(), sleep(30_000).then(() => 'quit did not end it')]), 'exit code 0');
    });
  }
}

for (const how of ['full', 'empty']) {
  test.serial(`l3fwd-power's own eventfds, blocking and ${how}: it goes on and SIGTERM ends it`, async (t) => {
    const [bad, good] = await backEnds(t);
    const vdevs = ['--vdev', vdev(0, bad), '--vdev', vdev(1, good)];
    const eal = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge', '--no-pci', ...vdevs];
    const peer = spawnL3fwd(t, eal, ['-p', '0x3', '--parse-ptype', '--config', '(0,0,1),(1,0,1)']);
    // what the good back-end makes has a route to port 0
    await movesOn('before', bad, 'taken', 60_000);
    await bad.ask(how);
    await sleep(500);
    await movesOn(`eventfds that are ${how}`, good, 'made');
    await movesOn(`eventfds that are ${how}`, bad, 'taken');
    process.kill(peer.pid, 'SIGTERM');
    t.is(await Promise.race([peer.end(), sleep(30_000).then(() => 'SIGTERM did not end it')]), 'exit code 0');
  });
}
