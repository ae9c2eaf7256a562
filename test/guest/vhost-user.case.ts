/**
 * A guest whose NICs are served by vhost-user back-ends on the host: DPDK's net_vhost, through the IOMMU and with four
 * queue pairs, and our own switch, which gives its only guest back what it sends.
 */
import { join } from 'node:path';
import { isInstalled, startDpdk, temporaryDirectory, type Peer, type Scope } from '../support/peers.js';
import { startSwitch } from '../support/switch.js';
import { flow, startForwarding } from '../support/traffic.js';
import { casesInGuest } from './support/cases.js';
import type { GuestOptions } from './support/guest.js';
import { bind, goRound, quit, start, startTestpmd, stop, xstat } from './support/testpmd.js';
import { served } from './support/vhost-nics.js';
import { lacks } from '../support/needs.js';

const QUEUES = 4;
const DPDK = 'dpdk-testpmd';

let dpdk: Peer;

async function withBackends(scope: Scope): Promise<GuestOptions> {
  const directory = temporaryDirectory(scope);
  const ours = join(directory, 'ours');
  const theirs = join(directory, 'theirs');
  await startSwitch(scope, ours);
  const nics = [served('ours', ours, { properties: 'disable-legacy=on' })];
  if (isInstalled(DPDK)) {
    dpdk = await startDpdk(scope, {
      vdevs: [`net_vhost0,iface=${theirs},queues=${QUEUES},iommu-support=1`],
      args: [`--rxq=${QUEUES}`, `--txq=${QUEUES}`],
    });
    const properties = 'disable-legacy=on,iommu_platform=on,ats=on,mq=on';
    nics.push(served('theirs', theirs, { queues: QUEUES, properties }));
  }
  return { iommu: true, hugepages: 80, nics };
}

const inGuest = casesInGuest(withBackends);

inGuest('our switch serves a NIC of a guest: packets go round', async (t, guest) => {
  await bind(guest, 'uio_pci_generic', 'ours');
  const testpmd = await startTestpmd(t, guest, { devices: [guest.bdf('ours')], args: ['--port-topology=loop'] });
  await goRound(testpmd, [0]);
  await quit(t, testpmd);
});

inGuest(
  "DPDK's net_vhost serves a NIC behind the IOMMU: packets on all of four queue pairs",
  async (t, guest) => {
    await bind(guest, 'vfio-pci', 'theirs');
    const testpmd = await startTestpmd(t, guest, {
      devices: [guest.bdf('theirs')],
      args: ['--port-topology=loop', `--rxq=${QUEUES}`, `--txq=${QUEUES}`],
    });
    await start(testpmd);
    await startForwarding(dpdk, 'tx_first 32');
    await flow(dpdk, 1000);
    for (let queue = 0; queue < QUEUES; queue++) {
      t.true((await xstat(testpmd, `rx_q${queue}_good_packets`)) > 0, `packets on Rx queue ${queue}`);
    }
    await stop(testpmd);
    await quit(t, testpmd);
  },
  lacks(DPDK),
);
