/** Rings of odd and extreme sizes, EVENT_IDX, and packets that fill several buffers, with DPDK's vhost PMD. */
import { join } from 'node:path';
import { startDpdk, startOurs, temporaryDirectory, type Peer } from '../support/peers.js';
import { flow, setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

/** The far side injects two bursts of packets made of `segments`; both sides hand them on for a while. */
async function goRound(far: Peer, ours: Peer, segments: string): Promise<{ packets: number; bytes: number }> {
  await setForwarding('mac', ours, far);
  await far.ask(`set txpkts ${segments}`, /testpmd> /);
  await startForwarding(ours);
  await startForwarding(far, 'tx_first 2');
  await flow(ours, 1000);
  const seen = await flow(far, 1000);
  await stopForwarding(ours);
  await stopForwarding(far);
  return seen;
}

const rings = [
  'packed_vq=1,queue_size=255',
  'packed_vq=1,in_order=0,queue_size=1025',
  'packed_vq=1,in_order=0,mrg_rxbuf=0,queue_size=33',
  'queue_size=32',
  'queue_size=32768,in_order=0',
  'event_idx=1,in_order=0',
  'event_idx=1,packed_vq=1',
];

for (const devargs of rings) {
  test.serial(`${devargs}: packets go round, none is an error`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const far = await startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=1`] });
    const ours = await startOurs(t, { vdevs: [`net_virtio_user0,path=${socket},${devargs}`] });
    await goRound(far, ours, '64');
    const [stats] = await ours.ask('show port stats 0', /NIC statistics[^]*testpmd> /);
    t.regex(stats, /RX-errors: 0\n/);
    t.regex(stats, /TX-errors: 0 /);
    t.is(await ours.stop(), 'exit code 0');
    t.is(await far.stop(), 'exit code 0');
  });
}

for (const devargs of ['in_order=0', 'in_order=1', 'packed_vq=1,in_order=0', 'packed_vq=1,in_order=1']) {
  test.serial(`${devargs}: packets of 8000 bytes fill four mergeable buffers and go back as chains`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const far = await startDpdk(t, { vdevs: [`net_vhost0,iface=${socket},queues=1`] });
    const vdevs = [`net_virtio_user0,path=${socket},mrg_rxbuf=1,${devargs}`];
    const ours = await startOurs(t, { vdevs, args: ['--enable-scatter', '--max-pkt-len=9000'] });
    await goRound(far, ours, '2000,2000,2000,2000');
    const [xstats] = await ours.ask('show port xstats 0', /NIC extended[^]*testpmd> /);
    const value = (name: string) => Number(new RegExp(`^${name}: (\\d+)`, 'm').exec(xstats)?.[1]);
    t.is(value('rx_q0_errors'), 0);
    t.true(value('rx_q0_good_packets') >= 1000);
    t.is(value('rx_q0_size_1519_max_packets'), value('rx_q0_good_packets'));
    t.is(value('rx_q0_good_bytes'), 8000 * value('rx_q0_good_packets'));
    t.is(value('tx_q0_good_bytes'), 8000 * value('tx_q0_good_packets'));
    t.is(await ours.stop(), 'exit code 0');
    t.is(await far.stop(), 'exit code 0');
  });
}
