/** testpmd on QEMU's devices: two of one machine, joined by QEMU's hub; commands and what they print. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { ourCpu, peerCpu, startPeer, temporaryDirectory, type Peer } from '../../../../support/peers.js';
import { flow, setForwarding, startForwarding, stopForwarding } from '../../../../support/traffic.js';
import { lacks, needs } from '../../../../support/needs.js';

const test = needs(lacks('qemu-system-x86_64'));

/** Our testpmd on the devices `allowed`, of which none is this machine's own. */
function startOnQtest(t: ExecutionContext, ...allowed: readonly string[]): Peer {
  return startPeer(t, 'our testpmd', process.execPath, [
    ...['--import', './tools/ts.mjs', 'tools/testpmd/main.ts'],
    ...['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge', ...allowed.flatMap((devargs) => ['-a', devargs])],
    ...['--', '-i', '--total-num-mbufs=4096'],
  ]);
}

test.serial(
  '-a qtest:... starts a QEMU with two devices; packets go round between them; quit leaves nothing',
  async (t) => {
    const directory = temporaryDirectory(t);
    const [socket, ram] = [join(directory, 'q'), join(directory, 'ram')];
    const first = `qtest:${socket},ram=${ram},nics=2,qemu=packed=on`;
    const second = `qtest:${socket},ram=${ram},addr=05.0`;
    const ours = startOnQtest(t, first, second);
    await ours.waitFor(/testpmd> /, 60_000);
    t.true(existsSync(socket));
    await ours.ask('show port info 0', /Driver name: net_virtio\b/);
    await setForwarding('mac', ours);
    await startForwarding(ours, 'tx_first 1');
    await flow(ours, 200);
    await stopForwarding(ours);
    t.is(await ours.stop(), 'exit code 0');
    t.deepEqual(readdirSync(directory), []);
  },
);

test.serial('the same function twice is refused in one sentence', async (t) => {
  const directory = temporaryDirectory(t);
  const devargs = `qtest:${join(directory, 'q')},ram=${join(directory, 'ram')}`;
  const ours = startOnQtest(t, devargs, `${devargs},addr=04.0`);
  await ours.waitFor(/Cause: [^\n]*no free virtio-net function 04\.0 on bus 0; there are 04\.0 \(in use\)\n/, 60_000);
  t.is(await ours.end(), 'exit code 1');
  t.deepEqual(readdirSync(directory), []);
});
