/** DPDK's virtio_user as the front-end of our vhost-switch, whose single port is a loopback: every recipe that DPDK can run. */
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { eventually, portStats, startFrontEnd, temporaryDirectory, type Peer } from '../support/peers.js';
import { startSwitch } from '../support/switch.js';
import { flow, setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

/** Name, devargs, and the path that DPDK says it takes. */
const recipes: readonly (readonly [name: string, devargs: string, path: RegExp])[] = [
  ['split mergeable', 'mrg_rxbuf=1,in_order=0', /using mergeable buffer Rx path/],
  ['split non-mergeable', 'mrg_rxbuf=0,in_order=0', /using standard Rx path/],
  ['split in-order mergeable', 'mrg_rxbuf=1,in_order=1', /using inorder Rx path/],
  ['split in-order non-mergeable', 'mrg_rxbuf=0,in_order=1', /using inorder Rx path/],
  ['split vectorized', 'mrg_rxbuf=0,in_order=0,vectorized=1', /using vectorized Rx path/],
  ['packed mergeable', 'packed_vq=1,mrg_rxbuf=1,in_order=0', /using packed ring mergeable buffer Rx path/],
  ['packed non-mergeable', 'packed_vq=1,mrg_rxbuf=0,in_order=0', /using packed ring standard Rx path/],
  ['packed in-order mergeable', 'packed_vq=1,mrg_rxbuf=1,in_order=1', /using packed ring mergeable buffer Rx path/],
  ['packed in-order non-mergeable', 'packed_vq=1,mrg_rxbuf=0,in_order=1', /using packed ring standard Rx path/],
  [
    // without AVX-512 DPDK falls back to the scalar path and says so; with it, our rings serve the vectorized one
    'packed vectorized, or its fallback',
    'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1',
    /using packed ring (vectorized|standard) Rx path/,
  ],
  ['split in-order, 512 entries', 'mrg_rxbuf=1,in_order=1,queue_size=512', /using inorder Rx path/],
];

/** SIGTERM. */
async function endSwitch(t: ExecutionContext, peer: Peer, socket: string): Promise<void> {
  process.kill(peer.pid, 'SIGTERM');
  t.is(await peer.end(), 'exit code 0');
  t.false(existsSync(socket), 'the socket file is removed');
  t.notRegex(peer.output, /is given up|connection closed|Error/);
}

const debug = ['--log-level=pmd.net.virtio.*:info'];

for (const [name, devargs, path] of recipes) {
  test.serial(`${name}: DPDK virtio_user on our loopback, packets go round, stop and start again`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const ours = await startSwitch(t, socket);
    const vdevs = [`net_virtio_user0,path=${socket},queues=1,${devargs}`];
    const far = await startFrontEnd(t, { vdevs, ealArgs: debug });
    await eventually(
      'the path',
      () => far.output,
      (text) => path.test(text),
    );
    t.regex(ours.output, /virtio is now ready for processing/);

    await setForwarding('mac', far);
    await startForwarding(far, 'tx_first 32');
    await flow(far, 20_000);
    await stopForwarding(far);
    // while packets flow, DPDK reads its two counters at different moments
    const { rxPackets, rxBytes, rxErrors } = await portStats(far);
    t.is(rxBytes, rxPackets * 64, 'every packet comes back whole');
    t.is(rxErrors, 0);

    await far.ask('port stop 0', /Done/);
    await far.ask('port start 0', /Done/);
    await startForwarding(far, 'tx_first 1');
    await flow(far, 1000);
    t.is((await portStats(far)).rxErrors, 0);
    t.is(await far.stop(), 'exit code 0');
    await eventually(
      'peer closed',
      () => ours.output,
      (text) => /vhost peer closed/.test(text),
    );
    await endSwitch(t, ours, socket);
  });
}

for (const ring of ['packed_vq=0', 'packed_vq=1']) {
  test.serial(`two queue pairs, ${ring}: both carry packets`, async (t) => {
    const socket = join(temporaryDirectory(t), 's');
    const ours = await startSwitch(t, socket, '--queues', '2');
    const far = await startFrontEnd(t, {
      vdevs: [`net_virtio_user0,path=${socket},queues=2,${ring}`],
      args: ['--rxq=2', '--txq=2'],
    });
    await setForwarding('mac', far);
    await startForwarding(far, 'tx_first 32');
    await flow(far, 20_000);
    const [text] = await far.ask('stop', /[^]*Done\./);
    for (const queue of [0, 1]) {
      const line = new RegExp(`RX Port= 0/Queue= ?${queue}[^]*?RX-packets: (\\d+)`).exec(text);
      t.true(Number(line?.[1]) > 1000, `queue ${queue} received`);
    }
    t.is((await portStats(far)).rxErrors, 0);
    t.is(await far.stop(), 'exit code 0');
    await endSwitch(t, ours, socket);
  });
}

test.serial('we connect, DPDK virtio_user listens (server=1): a new front-end is found within seconds', async (t) => {
  const socket = join(temporaryDirectory(t), 's');
  const ours = await startSwitch(t, socket, '--client');
  await ours.waitFor(/reconnecting/);
  for (let round = 0; round < 2; round++) {
    const far = await startFrontEnd(t, { vdevs: [`net_virtio_user0,path=${socket},queues=1,server=1`] });
    await setForwarding('mac', far);
    await startForwarding(far, 'tx_first 32');
    await flow(far, 5000);
    // SIGKILL the first time: the socket file stays behind, as it would
    if (round === 0) {
      await far.kill();
      await ours.waitFor(/vhost peer closed/);
      rmSync(socket, { force: true });
    } else t.is(await far.stop(), 'exit code 0');
  }
  await endSwitch(t, ours, socket);
});
