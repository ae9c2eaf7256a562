/** Several queue pairs against DPDK's vhost PMD: every queue carries packets, both ways. */
import { join } from 'node:path';
import { recipeNamed } from '../../tools/common/recipes.js';
import { eventually, startDpdk, startOurs, temporaryDirectory } from '../support/peers.js';
import { setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

/** good_packets of every queue, from the text of `show port xstats`. */
function packetsByQueue(xstats: string): { rx: number[]; tx: number[] } {
  const of = (direction: 'rx' | 'tx') => {
    const rows = xstats.matchAll(new RegExp(`${direction}_q(\\d+)_good_packets: (\\d+)`, 'g'));
    const counts: number[] = [];
    for (const [, queue, packets] of rows) counts[Number(queue)] = Number(packets);
    return counts;
  };
  return { rx: of('rx'), tx: of('tx') };
}

for (const queues of [2, 4, 8]) {
  for (const recipe of ['split mergeable', 'packed vector Rx+Tx'].map(recipeNamed)) {
    test.serial(`${queues} queue pairs, ${recipe.name}: packets in every queue`, async (t) => {
      const socket = join(temporaryDirectory(t), 's');
      const args = [`--rxq=${queues}`, `--txq=${queues}`, '--nb-cores=1'];
      const far = await startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=${queues},client=0`], args });
      const devargs = `net_virtio_user0,path=${socket},queues=${queues},${recipe.devargs}`;
      const ours = await startOurs(t, { vdevs: [devargs], args });
      await setForwarding('mac', ours, far);
      await startForwarding(ours);
      await startForwarding(far, 'tx_first 8');
      const counts = await eventually(
        `packets in all ${queues} queues`,
        async () => packetsByQueue((await ours.ask('show port xstats 0', /NIC extended[^]*testpmd> /))[0]),
        ({ rx, tx }) => [...rx, ...tx].filter((packets) => packets > 100).length === queues * 2,
      );
      t.is(counts.rx.length, queues);
      t.is(counts.tx.length, queues);
      await stopForwarding(ours);
      t.is(await ours.stop(), 'exit code 0');
    });
  }
}
