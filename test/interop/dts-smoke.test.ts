/**
 * DTS: virtio_smoke. Port 0 of the vhost testpmd in the PVP case is the NIC there, with packets that scapy sends. Here it is a
 * net_pcap port with a file.
 */
import { join } from 'node:path';
import { packetOf } from '../driver/vdevs/support/captures.js';
import { eventually, temporaryDirectory } from '../support/peers.js';
import { forEnds, startVhost, startVirtio, virtioMac } from './support/dts.js';
import { readPcap, writePcap } from './support/pcap.js';
import { pcapMissing } from './support/pcap-pmd.js';

forEnds('loopback: vhost as a client with 2 of 8 queues, then again with all of them', async (t, ends) => {
  const socket = join(temporaryDirectory(t), 'vhost-net');
  const launchVhost = (queues: number) =>
    startVhost(t, ends, {
      vdevs: [`eth_vhost0,iface=${socket},client=1,queues=8`],
      args: [`--rxq=${queues}`, `--txq=${queues}`],
      cores: 2,
    });
  let vhost = await launchVhost(2);
  await vhost.executeAll('set fwd mac', 'start');
  const virtio = await startVirtio(t, ends, {
    vdevs: [`net_virtio_user0,${virtioMac},path=${socket},server=1,queues=8,mrg_rxbuf=1,in_order=1`],
    args: ['--tx-offloads=0x0', '--enable-hw-vlan-strip', '--rxq=8', '--txq=8'],
    cores: 2,
  });
  await vhost.waitForQueues(2);
  await virtio.executeAll('set fwd mac', 'start tx_first 32');
  await vhost.checkThroughput('2 of 8 queues');
  await vhost.checkQueues(2, '2 of 8 queues');
  await vhost.quit();

  vhost = await launchVhost(8);
  await vhost.waitForQueues(8);
  await vhost.executeAll('set fwd mac', 'start tx_first 32');
  await vhost.checkThroughput('8 queues');
  await vhost.executeAll('stop', 'set burst 1', 'start tx_first 1');
  await vhost.checkThroughput('8 queues, bursts of 1');
  await vhost.checkQueues(8, '8 queues, bursts of 1');
  await virtio.quit();
  await vhost.quit();
});

forEnds(
  'PVP: a packed vectorized ring of 1024, an MTU of 9000 at the other port, ten packets of 64 and of 1518 bytes',
  async (t, ends) => {
    const directory = temporaryDirectory(t);
    const [socket, frames, back] = ['vhost-net', 'in', 'out'].map((name) => join(directory, name)) as [string, string, string]; // prettier-ignore
    writePcap(frames, []);
    const descriptors = ['--txd=1024', '--rxd=1024'];
    const vhost = await startVhost(t, ends, {
      vdevs: [`net_pcap0,rx_pcap=${frames},tx_pcap=${back}`, `net_vhost0,iface=${socket},queues=1`],
      args: [...descriptors, '--no-flush-rx'],
      cores: 2,
    });
    await vhost.executeAll('set fwd mac', 'start');
    const path = 'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1,queue_size=1024';
    const virtio = await startVirtio(t, ends, {
      vdevs: [`net_virtio_user0,${virtioMac},path=${socket},${path}`],
      args: descriptors,
    });
    await virtio.executeAll('set fwd mac', 'start');
    await vhost.waitForQueues(1);

    const packets = [64, 1518].flatMap((size) => Array.from({ length: 10 }, (_, i) => packetOf(size, size + i)));
    writePcap(frames, packets);
    // net_pcap may have no MTU that can be set: the suite does not look at the answer
    await vhost.executeAll('stop', 'port stop 0', 'port config mtu 0 9000', 'port start 0', 'start');
    for (const direction of ['RX', 'TX']) {
      const pattern = new RegExp(`${direction}-packets:\\s*(\\d*)`);
      await eventually(`${direction} of virtio-user`, () => virtio.number('show port stats all', pattern), (n) => n >= 20); // prettier-ignore
    }
    const all = await eventually('the packets are back', () => readPcap(back), (found) => found.length >= 20); // prettier-ignore
    // the mode `mac` has changed the addresses
    const payload = (packet: Uint8Array) => Buffer.from(packet.subarray(12)).toString('hex');
    t.deepEqual(all.map(payload), packets.map(payload));
    await virtio.quit();
    await vhost.quit();
  },
  pcapMissing(),
);
