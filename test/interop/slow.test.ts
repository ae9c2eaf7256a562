/** DPDK's back-end on a busy machine: it is slow to answer, and healthy. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, startDpdk, startOurs, startPeer, temporaryDirectory } from '../support/peers.js';
import { flow, loopPackets, setForwarding, startForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

const BUSY_LOOPS = 4;

test.serial('four busy loops beside: net_vhost is attached, forwards, is killed, and comes back', async (t) => {
  for (let i = 0; i < BUSY_LOOPS; i++) startPeer(t, `busy loop ${i}`, process.execPath, ['-e', 'for (;;);']);
  const socket = join(temporaryDirectory(t), 's');
  const startFar = () => {
    rmSync(socket, { force: true }); // what the killed one left: DPDK does not listen where a file is
    return startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=1,client=0`] });
  };
  const linkUp = () =>
    eventually(
      'link up',
      () => ours.ask('show port info 0', /Link status: (\w+)/),
      (match) => match[1] === 'up',
    );
  const far = await startFar();
  const ours = await startOurs(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1`] });
  await linkUp();
  await setForwarding('mac', ours, far);
  await loopPackets(t, ours, far, 64);
  await far.kill();
  const again = await startFar();
  await linkUp();
  await setForwarding('mac', again);
  await startForwarding(again, 'tx_first 32');
  await flow(again, 1000);
  await flow(ours, 1000);
  t.is(await ours.stop(), 'exit code 0');
});
