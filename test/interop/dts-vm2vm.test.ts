/**
 * DTS: vm2vm_virtio_user. Two virtio-user testpmds, and a vhost testpmd with two ports between them. The first sends while vhost
 * does not forward, until its ring is full: how many packets of 4 x 2000 bytes still fit tells which descriptors it takes.
 *
 * Otherwise than there: no dpdk-pdump; a net_pcap port behind the receiver records, for vhost one of its own. One vhost testpmd
 * serves all paths. The cases with CBDMA, and those with checksum offload or TSO at the vhost port, are left out.
 */
import { join } from 'node:path';
import { eventually, temporaryDirectory } from '../support/peers.js';
import { forEnds, startVhost, startVirtio, virtioMac, type PmdOutput } from './support/dts.js';
import { readPcap } from './support/pcap.js';
import { pcapMissing } from './support/pcap-pmd.js';

interface Case {
  readonly name: string;
  readonly devargs: string;
  readonly ring?: number;
  /** Packets of 8000 bytes that get through, where a ring takes such. */
  readonly large?: number;
  /** Then 32 packets of 2000 bytes follow. */
  readonly resend?: boolean;
}

const packed: readonly Case[] = [
  { name: 'mergeable', devargs: 'packed_vq=1,mrg_rxbuf=1,in_order=0', large: 5, resend: true },
  { name: 'inorder mergeable', devargs: 'packed_vq=1,mrg_rxbuf=1,in_order=1', large: 5 },
  { name: 'non-mergeable', devargs: 'packed_vq=1,mrg_rxbuf=0,in_order=0' },
  { name: 'vectorized', devargs: 'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1' },
  { name: 'vectorized, ring of 255', devargs: 'packed_vq=1,mrg_rxbuf=0,in_order=1,vectorized=1', ring: 255 },
];
const split: readonly Case[] = [
  { name: 'mergeable', devargs: 'packed_vq=0,mrg_rxbuf=1,in_order=0', large: 5, resend: true },
  { name: 'inorder mergeable', devargs: 'packed_vq=0,mrg_rxbuf=1,in_order=1', large: 1 },
  // there with vectorized=1 and --enable-hw-vlan-strip, which rules the vectorized path out, and which net_pcap refuses
  { name: 'non-mergeable', devargs: 'packed_vq=0,mrg_rxbuf=0,in_order=0' },
  { name: 'inorder non-mergeable', devargs: 'packed_vq=0,mrg_rxbuf=0,in_order=1' },
  { name: 'vector_rx', devargs: 'packed_vq=0,mrg_rxbuf=0,in_order=0,vectorized=1' },
];

const SMALL = 251;
const BURST = 32;

/** 251 small packets in bursts of 1 and 32. */
const sendSmall = (virtio: PmdOutput) =>
  virtio.executeAll('stop', 'set txpkts 64', 'set burst 1', 'start tx_first 27', 'stop', 'set burst 32', 'start tx_first 7'); // prettier-ignore

const sendLarge = (virtio: PmdOutput, burst: number) =>
  virtio.executeAll('stop', `set burst ${burst}`, 'set txpkts 2000,2000,2000,2000', 'start tx_first 1');

const resend = (virtio: PmdOutput) =>
  virtio.executeAll('stop', `set burst ${BURST}`, 'set txpkts 2000', 'start tx_first 1');

const hex = (packet: Uint8Array) => Buffer.from(packet).toString('hex');

for (const [ring, cases] of [
  ['packed', packed],
  ['split', split],
] as const) {
  forEnds(
    `${ring} rings: what virtio-user 1 and vhost record of 251 small packets and of those with four segments`,
    async (t, ends) => {
      const directory = temporaryDirectory(t);
      const [socket0, socket1, vhostFile] = ['vhost-net0', 'vhost-net1', 'vhost.pcap'].map((name) => join(directory, name)) as [string, string, string]; // prettier-ignore
      const vhost = await startVhost(t, ends, {
        vdevs: [
          ...[`net_vhost0,iface=${socket0},queues=1`, `net_vhost1,iface=${socket1},queues=1`],
          `net_pcap0,tx_pcap=${vhostFile}`,
        ],
        args: ['--no-flush-rx'],
      });
      for (const [i, { name, devargs, ring: size = 256, large = 0, resend: again = false }] of cases.entries()) {
        const virtioFile = join(directory, `virtio${i}.pcap`);
        const options = (descriptors: number) => [`--txd=${descriptors}`, `--rxd=${descriptors}`];
        const path = (number: number, socket: string, descriptors: number) =>
          `net_virtio_user${number},${virtioMac},path=${socket},queues=1,${devargs},queue_size=${descriptors}`;
        // the receiver may get no CPU while vhost forwards: all has to fit into its ring
        const receiver = large > 0 ? 1024 : size;
        await vhost.executeAll('set fwd io', 'set portlist 0,1');
        const virtio1 = await startVirtio(t, ends, {
          vdevs: [path(1, socket1, receiver), `net_pcap0,tx_pcap=${virtioFile}`],
          args: options(receiver),
        });
        await virtio1.executeAll('set fwd io', 'start');
        const startSender = () => startVirtio(t, ends, { vdevs: [path(0, socket0, size)], args: options(size) });
        let virtio0 = await startSender();
        for (const port of [0, 1]) await vhost.checkLink('up', port);
        const lengths = [
          ...Array<number>(SMALL).fill(64),
          ...Array<number>(large).fill(8000),
          ...Array<number>(again ? BURST : 0).fill(2000),
        ];
        const passed = (file: string) =>
          eventually(`${name}: what was in the ring`, () => readPcap(file).length, (n) => n >= SMALL + large); // prettier-ignore
        /** check_packet_payload_valid */
        const recorded = async (file: string) => {
          const all = await eventually(`${name}: ${file}`, () => readPcap(file), (found) => found.length >= lengths.length); // prettier-ignore
          t.deepEqual(all.map((packet) => packet.length), lengths, `${name}: ${file}`); // prettier-ignore
          return all.map(hex);
        };

        await sendSmall(virtio0);
        await sendLarge(virtio0, BURST);
        await vhost.executeCmd('start');
        await passed(virtioFile);
        if (again) await resend(virtio0);
        const fromVirtio = await recorded(virtioFile);

        // the same at the vhost port. The sender starts again, and vhost forwards only later here too: only the first
        // segments of packets are written, and the others have what was in their mbufs before
        await vhost.executeCmd('stop');
        await virtio0.quit();
        await vhost.checkLink('down', 0);
        virtio0 = await startSender();
        await vhost.checkLink('up', 0);
        await vhost.executeAll('set portlist 0,2', 'port stop 2', 'port start 2');
        await sendSmall(virtio0);
        if (large > 0) await sendLarge(virtio0, BURST);
        await vhost.executeCmd('start');
        await passed(vhostFile);
        if (again) await resend(virtio0);
        const fromVhost = await recorded(vhostFile);
        const first = fromVhost.findIndex((packet, k) => packet !== fromVirtio[k]);
        t.is(fromVhost[first], fromVirtio[first], `${name}: packet ${first}`);
        await vhost.executeCmd('stop');
        await virtio0.quit();
        await virtio1.quit();
        for (const port of [0, 1]) await vhost.checkLink('down', port);
      }
      await vhost.quit();
    },
    pcapMissing(),
  );
}
