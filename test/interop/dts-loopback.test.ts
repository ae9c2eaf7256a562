/**
 * DTS: loopback_multi_paths_port_restart, loopback_multi_queues and loopback_virtio_user_server_mode. The vhost testpmd starts
 * the packets, and both sides send back what they receive.
 *
 * Otherwise than there: one vhost testpmd serves all paths of a ring format; a port is restarted 20 times instead of 100; the
 * cases that switch on checksum offload at the vhost port (8k packets in `csum` mode) are left out, as is pdump.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, temporaryDirectory } from '../support/peers.js';
import {
  forEnds,
  packedPaths,
  pathArgs,
  rings,
  splitPaths,
  startVhost,
  startVirtio,
  virtioMac,
  type PmdOutput,
} from './support/dts.js';

const DESCRIPTORS = ['--txd=1024', '--rxd=1024'];

/** port_restart of loopback_multi_paths_port_restart */
async function restart(vhost: PmdOutput, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await vhost.executeAll('stop', 'port stop 0');
    if (times === 1) await vhost.checkStopped();
    await vhost.executeAll('clear port stats all', 'port start all');
  }
  await vhost.checkLinks();
  await vhost.executeAll('set burst 1', 'start tx_first 1');
}

for (const [ring, paths] of rings) {
  forEnds(`each ${ring} path loops 64 and 1518 bytes, before and after a restart with bursts of 1`, async (t, ends) => {
    const socket = join(temporaryDirectory(t), 'vhost-net');
    const vhost = await startVhost(t, ends, {
      vdevs: [`net_vhost0,iface=${socket},queues=1,client=0`],
      args: DESCRIPTORS,
    });
    await vhost.executeCmd('set fwd mac');
    for (const path of paths) {
      const { name, devargs } = path;
      vhost.expectFrontEnd();
      const virtio = await startVirtio(t, ends, {
        vdevs: [`net_virtio_user0,${virtioMac},path=${socket},${devargs}`],
        args: [...pathArgs(path, ends), ...DESCRIPTORS],
      });
      await virtio.executeAll('set fwd mac', 'start');
      await vhost.waitForQueues(1);
      for (const size of [64, 1518]) {
        await vhost.executeAll('set burst 32', `set txpkts ${size}`, 'start tx_first 32');
        await vhost.checkThroughput(`${name}, ${size}`);
        await restart(vhost, name === 'split ring mergeable' ? 20 : 1);
        await vhost.checkThroughput(`${name}, ${size}, after restart`);
        await vhost.executeCmd('stop');
      }
      await virtio.quit();
      await vhost.checkLink('down');
    }
    await vhost.quit();
  });
}

const eightQueues = [packedPaths[4]!, splitPaths[0]!, splitPaths[2]!];

forEnds(
  'each of 8 queues carries packets: packed vectorized, split inorder, split with VLAN strip',
  async (t, ends) => {
    const socket = join(temporaryDirectory(t), 'vhost-net');
    const queues = ['--rxq=8', '--txq=8', ...DESCRIPTORS];
    const vhost = await startVhost(t, ends, { vdevs: [`net_vhost0,iface=${socket},queues=8`], args: queues });
    await vhost.executeCmd('set fwd mac');
    for (const { name, devargs } of eightQueues) {
      vhost.expectFrontEnd();
      const virtio = await startVirtio(t, ends, {
        vdevs: [`net_virtio_user0,${virtioMac},path=${socket},queues=8,${devargs}`],
        args: ['--enable-hw-vlan-strip', ...queues],
      });
      await virtio.executeAll('set fwd mac', 'start');
      await vhost.waitForQueues(8);
      for (const size of [64, 1518]) {
        await vhost.executeAll(`set txpkts ${size}`, 'start tx_first 32');
        await vhost.checkThroughput(`${name}, ${size}`);
        await vhost.checkQueues(8, `${name}, ${size}`);
        await vhost.executeCmd('clear port stats all');
      }
      await virtio.quit();
      await vhost.checkLink('down');
    }
    await vhost.quit();
  },
);

/** What loopback_virtio_user_server_mode sends on a path. */
const serverModes = [
  { path: splitPaths[2]!, queues: 8, txpkts: '2000,2000,2000,2000' },
  { path: packedPaths[0]!, queues: 2, txpkts: '2000,2000,2000,2000' },
  { path: packedPaths[4]!, queues: 2, txpkts: '64' },
] as const;

for (const { path, queues, txpkts } of serverModes) {
  forEnds(
    `server=1, ${path.name}, ${queues} queues, ${txpkts}: reconnects of both sides, and a restart`,
    async (t, ends) => {
      const socket = join(temporaryDirectory(t), 'vhost-net');
      const pairs = [`--rxq=${queues}`, `--txq=${queues}`];
      const launchVhost = () =>
        startVhost(t, ends, { vdevs: [`eth_vhost0,iface=${socket},client=1,queues=${queues}`], args: pairs });
      const launchVirtio = () =>
        startVirtio(t, ends, {
          vdevs: [`net_virtio_user0,${virtioMac},path=${socket},server=1,queues=${queues},${path.devargs}`],
          args: [...pathArgs(path, ends), ...pairs],
        });
      /** start_to_send_packets */
      const send = async (rx: PmdOutput, tx: PmdOutput) => {
        await rx.executeAll('set fwd mac', 'start');
        await tx.executeAll('set fwd mac', `set txpkts ${txpkts}`, 'start tx_first 32');
      };

      const listens = launchVirtio();
      await eventually('the socket', () => existsSync(socket), Boolean); // prettier-ignore
      let vhost = await launchVhost();
      let virtio = await listens;
      t.regex(virtio.peer.output, /waiting for client connection\.\.\./);
      await vhost.waitForQueues(queues);
      await send(vhost, virtio);
      await vhost.checkThroughput('virtio-user first');

      await vhost.executeCmd('stop');
      await vhost.quit();
      await virtio.checkLink('down');
      vhost = await launchVhost();
      await vhost.waitForQueues(queues);
      await virtio.checkLink('up');
      await send(virtio, vhost);
      await vhost.checkThroughput('reconnect from vhost');

      await vhost.executeCmd('stop');
      await virtio.quit();
      await vhost.checkLink('down');
      vhost.expectFrontEnd();
      virtio = await launchVirtio();
      await vhost.waitForQueues(queues);
      await send(vhost, virtio);
      await vhost.checkThroughput('reconnect from virtio_user');

      await vhost.executeAll('stop', 'port stop 0');
      await vhost.checkStopped();
      await vhost.executeAll('clear port stats all', 'port start 0');
      await vhost.checkLinks();
      await vhost.executeAll(`set txpkts ${txpkts}`, 'start tx_first 32');
      await vhost.checkThroughput('port restart');
      await vhost.checkQueues(queues, 'port restart');
      await virtio.quit();
      await vhost.quit();
    },
  );
}
