/** Another number of queues for a stopped port: the control queue enables what is used from then on. */
import test from 'ava';
import { eventually, type Peer } from '../../../support/peers.js';
import { startTestpmd } from '../../../support/testpmd-process.js';

/** Packets go round in `queues` queues, and the summary has all of them. */
async function forwardsOn(ours: Peer, queues: number): Promise<string> {
  await ours.ask('clear port stats all', /cleared/);
  await ours.ask('start tx_first 4', new RegExp(`streams=${queues}[^]*testpmd> `));
  await eventually(
    `packets in ${queues} queues`,
    async () => (await ours.ask('show port xstats 0', /NIC extended[^]*testpmd> /))[0],
    (text) => [...text.matchAll(/^[rt]x_q\d+_good_packets: [1-9]\d\d+$/gm)].length === 2 * queues,
  );
  return (await ours.ask('stop', /[^]*Forward statistics for port 0[^]*Done\./))[0];
}

test.serial('port config all rxq and txq while stopped: more queues, fewer, more than there are', async (t) => {
  const ours = await startTestpmd(t, { queues: 2 });
  await ours.waitFor(/testpmd> /, 30_000);
  t.notRegex(await forwardsOn(ours, 1), /Queue= 1/);
  for (const queues of [2, 1]) {
    await ours.ask('port stop all', /Stopping ports\.\.\.[^]*Done\n/);
    await ours.ask(
      'port config all rxq 3',
      /Fail: input rxq \(3\) can't be greater than max_rx_queues \(2\) of port 0\n/,
    );
    await ours.ask(`port config all rxq ${queues}`, /testpmd> /);
    await ours.ask(`port config all txq ${queues}`, /testpmd> /);
    await ours.ask('port start all', /Configuring Port 0 \(socket 0\)\nPort 0: [^]*Done\n/);
    const summary = await forwardsOn(ours, queues);
    t.is(/RX Port= 0\/Queue= 1 -> TX Port= 0\/Queue= 1 -------\n {2}RX-packets: [1-9]/.test(summary), queues === 2);
  }
  t.is(await ours.stop(), 'exit code 0');
});
