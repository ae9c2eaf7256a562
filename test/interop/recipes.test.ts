/** Each scalar recipe against DPDK's vhost PMD, as DPDK's own test plans do it: loops, stop, restart, bursts of one. */
import { join } from 'node:path';
import { RECIPES } from '../../tools/common/recipes.js';
import { startDpdk, startOurs, temporaryDirectory } from '../support/peers.js';
import {
  checkPathLines,
  checkStill,
  flow,
  loopPackets,
  setForwarding,
  startForwarding,
  stopForwarding,
} from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

const SIZES = [64, 128, 256, 512, 1024, 1518];

for (const recipe of RECIPES) {
  test.serial(
    `${recipe.name} with DPDK net_vhost: loops at six sizes, stops, starts again with bursts of one`,
    async (t) => {
      const socket = join(temporaryDirectory(t), 's');
      const far = await startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=1,client=0`] });
      const ours = await startOurs(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1,${recipe.devargs}`] });
      checkPathLines(t, ours, recipe);
      await setForwarding('mac', ours, far);
      for (const size of SIZES) await loopPackets(t, ours, far, size);

      await stopForwarding(ours);
      await ours.ask('port stop 0', /Stopping ports[^]*Done/);
      await checkStill(t, far);

      await ours.ask('port start 0', /Done/);
      await ours.ask('set burst 1', /Number of packets per burst set to 1/);
      await startForwarding(ours, 'tx_first 1');
      await flow(far, 100);
      await flow(ours, 100);
      await stopForwarding(ours);
      t.is(await ours.stop(), 'exit code 0');
      t.is(await far.stop(), 'exit code 0');
    },
  );
}
