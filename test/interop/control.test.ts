/** DPDK's virtio_user with a control queue (cq=1), which needs CTRL_RX of our back-end: it ended at start without. */
import { join } from 'node:path';
import { startFrontEnd, temporaryDirectory } from '../support/peers.js';
import { startSwitch } from '../support/switch.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));
for (const ring of ['packed_vq=0', 'packed_vq=1']) {
  test.serial(`${ring}: DPDK with a control queue`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    await startSwitch(t, socket);
    const far = await startFrontEnd(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1,cq=1,${ring}`] });
    await far.ask('set promisc 0 off', /testpmd> /);
    await far.ask('show port info 0', /Promiscuous mode: disabled/);
    await far.ask('set promisc 0 on', /testpmd> /);
    await far.ask('show port info 0', /Promiscuous mode: enabled/);
    t.is(await far.stop(), 'exit code 0');
    t.notRegex(far.output, /Operation not supported|not support/);
  });
}
