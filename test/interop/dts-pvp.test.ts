/**
 * DTS: pvp_virtio_user_multi_queues_port_restart and pvp_virtio_user_4k_pages. Port 0 of the vhost testpmd is the NIC there, with
 * a traffic generator at its wire. Here it is a net_null or net_pcap port that has packets without end.
 *
 * Otherwise than there: one vhost testpmd serves all paths of a ring format; ports are restarted ten times instead of 100, the
 * vhost port too; no tmpfs is mounted for 4k pages, since --no-huge takes memfds.
 */
import { join } from 'node:path';
import { packetOf } from '../driver/vdevs/support/captures.js';
import { eventually, temporaryDirectory } from '../support/peers.js';
import { forEnds, pathArgs, rings, startVhost, startVirtio, virtioMac, type PmdOutput } from './support/dts.js';
import { writePcap } from './support/pcap.js';
import { pcapMissing } from './support/pcap-pmd.js';

const QUEUES = 2;
const pairs = [`--rxq=${QUEUES}`, `--txq=${QUEUES}`];

/** port_restart */
async function restart(vhost: PmdOutput, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    await vhost.executeCmd('stop');
    for (const port of [0, 1]) {
      await vhost.executeAll(`port stop ${port}`, `clear port stats ${port}`, `port start ${port}`);
    }
    await vhost.checkLinks();
    await vhost.executeCmd('start');
  }
}

for (const [ring, paths] of rings) {
  forEnds(`2 queues of each ${ring} path between net_null and net_vhost, ports restart`, async (t, ends) => {
    const socket = join(temporaryDirectory(t), 'vhost-net');
    const vhost = await startVhost(t, ends, {
      vdevs: ['net_null0,size=64', `net_vhost0,iface=${socket},queues=2,client=0`],
      args: [...pairs, '--rss-ip'],
      cores: 2,
    });
    await vhost.executeCmd('set fwd mac');
    for (const path of paths) {
      const size = ring === 'packed' ? 255 : 256;
      vhost.expectFrontEnd();
      const virtio = await startVirtio(t, ends, {
        vdevs: [`net_virtio_user0,${virtioMac},path=${socket},queues=2,${path.devargs},queue_size=${size}`],
        args: [...pathArgs(path, ends), ...pairs, ...(size === 255 ? ['--txd=255', '--rxd=255'] : [])],
        cores: 2,
      });
      await virtio.executeAll('set fwd mac', 'start');
      await vhost.waitForQueues(QUEUES);
      await vhost.executeCmd('start');
      await virtio.checkThroughput(path.name);
      await virtio.checkQueues(QUEUES, path.name);
      await virtio.executeCmd('start');
      await restart(vhost, path.name === 'packed ring mergeable' ? 10 : 1);
      await virtio.checkThroughput(`${path.name}, after restart`);
      await virtio.checkQueues(QUEUES, `${path.name}, after restart`);
      await vhost.executeCmd('stop');
      await virtio.quit();
      await vhost.checkLink('down', 1);
    }
    await vhost.quit();
  });
}

for (const packed of ['', 'packed_vq=1,']) {
  const sizes = [64, 128, 256, 512, 1024, 1518];
  forEnds(
    `4k pages, ${packed || 'split'}: frames of ${sizes.join()} go from net_pcap through virtio-user and back`,
    async (t, ends) => {
      const directory = temporaryDirectory(t);
      const [socket, frames] = [join(directory, 'vhost-net'), join(directory, 'vhost.pcap')];
      writePcap(
        frames,
        sizes.map((size) => packetOf(size, size)),
      );
      const vhost = await startVhost(t, ends, {
        vdevs: [`net_pcap0,rx_pcap=${frames},infinite_rx=1`, `net_vhost0,iface=${socket},queues=1`],
        args: ['--no-numa', '--socket-num=0'],
        ealArgs: ['-m', '192', '--no-huge'],
      });
      const virtio = await startVirtio(t, ends, {
        vdevs: [`net_virtio_user0,mac=00:11:22:33:44:10,path=${socket},${packed}queues=1`],
        ealArgs: ['-m', '192', '--no-huge'],
      });
      await virtio.executeAll('set fwd mac', 'start');
      await vhost.waitForQueues(1);
      await vhost.executeCmd('start');
      const scopes = ['64', '128_255', '256_511', '512_1023', '1024_1518'];
      await eventually(
        'frames of each size, both ways',
        () => vhost.executeCmd('show port xstats 1'),
        (out) =>
          ['rx', 'tx'].every((way) =>
            scopes.every(
              (scope) => Number(new RegExp(`${way}_q0_size_${scope}_packets:\\s*(\\d*)`).exec(out)?.[1]) > 0,
            ),
          ),
      );
      t.regex(
        await vhost.executeCmd('show port xstats 1'),
        /rx_q0_size_65_127_packets: 0\n[^]*rx_q0_size_1519_max_packets: 0\n/,
      );
      await virtio.quit();
      await vhost.quit();
    },
    pcapMissing(),
  );
}
