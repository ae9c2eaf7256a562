/** Our side listens and DPDK's connects; DPDK's side is killed and comes back. And the same with the roles exchanged. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { RECIPES } from '../../tools/common/recipes.js';
import { eventually, startDpdk, startOurs, temporaryDirectory, type Peer } from '../support/peers.js';
import { checkPathLines, flow, loopPackets, setForwarding, startForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

async function waitForLink(ours: Peer, state: 'up' | 'down'): Promise<void> {
  await eventually(
    `link ${state}`,
    () => ours.ask('show port info 0', /Link status: (\w+)/),
    (match) => match[1] === state,
  );
}

/** Kills `far`, lets `restart` start another, and sees packets go round again without a word to ours. */
async function killAndRestart(t: ExecutionContext, ours: Peer, far: Peer, restart: () => Promise<Peer>): Promise<void> {
  await far.kill();
  await waitForLink(ours, 'down');
  const again = await restart();
  await waitForLink(ours, 'up');
  await setForwarding('mac', again);
  await startForwarding(again, 'tx_first 32');
  await flow(again, 1000);
  await flow(ours, 1000);
  t.is(await ours.stop(), 'exit code 0');
}

for (const recipe of RECIPES) {
  test.serial(`${recipe.name}, server=1: DPDK connects, is killed, connects again, and packets flow`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const startFar = () => startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=1,client=1`] });
    const devargs = `net_virtio_user0,path=${socket},queues=1,server=1,${recipe.devargs}`;
    const [ours, far] = await Promise.all([startOurs(t, { vdevs: [devargs] }), startFar()]);
    checkPathLines(t, ours, recipe);
    await waitForLink(ours, 'up');
    await setForwarding('mac', ours, far);
    for (const size of [64, 1518]) await loopPackets(t, ours, far, size);
    await killAndRestart(t, ours, far, startFar);
  });
}

test.serial('a client-mode port connects again by itself after its back-end was killed', async (t) => {
  const socket = join(temporaryDirectory(t), 's');
  const startFar = () => {
    rmSync(socket, { force: true }); // what the killed one left: DPDK does not listen where a file is
    return startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=1,client=0`] });
  };
  const far = await startFar();
  const ours = await startOurs(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1`] });
  await setForwarding('mac', ours, far);
  await loopPackets(t, ours, far, 64);
  await killAndRestart(t, ours, far, startFar);
});
