/**
 * Checksums and segmentation between our testpmd and DPDK: its pcap PMD reads packets with wrong checksums from a file and
 * writes what comes back to another, where a plain recomputation finds them right.
 */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { eventually, startDpdk, startOurs, temporaryDirectory, type Peer } from '../support/peers.js';
import { buildPacket, plainRecipe, type L4, type Packet } from '../support/offload-packets.js';
import { get16, onesSum, put16 } from '../support/offload-reference.js';
import { readPcap, writePcap } from './support/pcap.js';
import { pcapMissing } from './support/pcap-pmd.js';
import { startForwarding, stopForwarding } from '../support/traffic.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd') || pcapMissing());

const SIZES = [0, 1, 100, 1401, 4000];

/** One packet of each kind and size. */
function packetsOf(kinds: readonly L4[], sizes: readonly number[]): Packet[] {
  const list: Packet[] = [];
  for (const l3 of ['ipv4', 'ipv6'] as const) {
    for (const l4 of kinds) {
      for (const payload of sizes) {
        const tags = payload === 100 ? [0x8100] : [];
        list.push(buildPacket({ ...plainRecipe, tags, l3, l4, payload, seed: list.length * 97 }));
      }
    }
  }
  return list;
}

function spoil({ bytes, recipe, l2Len, l3Len, csumOffset }: Packet): Uint8Array {
  const copy = bytes.slice();
  if (recipe.l3 === 'ipv4') put16(copy, l2Len + 10, 0x1234);
  put16(copy, l2Len + l3Len + csumOffset, 0x5678);
  return copy;
}

/** Everything behind the MAC addresses; the two zeros of an IPv4 checksum are one. */
function normal({ recipe, l2Len, l3Len }: Packet, bytes: Uint8Array): string {
  const copy = bytes.slice();
  if (recipe.l3 === 'ipv4') {
    const right = onesSum(copy.subarray(l2Len, l2Len + l3Len)) === 0xffff;
    if (right && get16(copy, l2Len + 10) === 0) put16(copy, l2Len + 10, 0xffff);
  }
  return Buffer.from(copy.subarray(12)).toString('hex');
}

interface Files {
  readonly directory: string;
  readonly pcap: string;
  readonly sent: readonly Packet[];
  /** Waits until all packets are in the file that DPDK writes. */
  readonly back: () => Promise<void>;
}

function files(t: ExecutionContext, sent: readonly Packet[]): Files {
  const directory = temporaryDirectory(t);
  const [input, output] = [join(directory, 'in.pcap'), join(directory, 'out.pcap')];
  writePcap(input, sent.map(spoil));
  const back = async () => {
    const came = await eventually(
      'packets in the file',
      () => readPcap(output).length,
      (n) => n >= sent.length,
    ).then(() => readPcap(output));
    t.deepEqual(
      came.map((bytes, i) => normal(sent[i]!, bytes)),
      sent.map((packet) => normal(packet, packet.bytes)),
    );
  };
  return { directory, pcap: `net_pcap0,rx_pcap=${input},tx_pcap=${output}`, sent, back };
}

const oursIn = (directory: string, queue: string) => `net_virtio_user${queue},path=${join(directory, `s${queue}`)}`;

async function end(...peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) await stopForwarding(peer);
  for (const peer of peers) await peer.stop();
}

/** Waits until `set verbose` has shown `count` packets with these flags, and fails when there are more. */
async function shown(peer: Peer, flags: RegExp, count: number): Promise<void> {
  const matches = () => peer.output.match(flags)?.length ?? 0;
  const found = await eventually(String(flags), matches, (n) => n >= count);
  if (found > count) throw new Error(`${String(flags)}: ${found} packets instead of ${count}`);
}

for (const [title, args] of [
  ['split', ''],
  ['packed', ',packed_vq=1'],
  ['in-order, not mergeable', ',in_order=1,mrg_rxbuf=0'],
] as const) {
  test.serial(`${title}: checksums that our csum mode leaves to DPDK's vhost are right in the end`, async (t) => {
    const sizes = args.includes('mrg_rxbuf=0') ? SIZES.filter((size) => size < 2000) : SIZES;
    const { directory, pcap, back } = files(t, packetsOf(['tcp', 'udp'], sizes));
    const vhost = `net_vhost0,iface=${join(directory, 's0')},tso=1`;
    const far = await startDpdk(t, { vdevs: [pcap, vhost], args: ['--forward-mode=io', '--no-flush-rx'] });
    const ours = await startOurs(t, {
      vdevs: [oursIn(directory, '0') + args],
      args: ['--forward-mode=csum', '--tx-offloads=0xc', '--enable-rx-cksum', '--port-topology=loop'],
    });
    await ours.ask('csum show 0', /UDP checksum offload is hw\nTCP checksum offload is hw\n/);
    await startForwarding(ours);
    await startForwarding(far);
    await back();
    await end(far, ours);
  });
}

test.serial(
  "checksums that DPDK leaves to us: our csum mode sees it, and leaves them to DPDK's vhost again",
  async (t) => {
    const { directory, pcap, sent, back } = files(t, packetsOf(['tcp', 'udp'], SIZES));
    const vhost = `net_vhost0,iface=${join(directory, 's0')},tso=1`;
    const far = await startDpdk(t, { vdevs: [pcap, vhost], args: ['--forward-mode=csum', '--no-flush-rx'] });
    const ours = await startOurs(t, {
      vdevs: [oursIn(directory, '0')],
      args: ['--forward-mode=csum', '--tx-offloads=0xc', '--enable-rx-cksum', '--port-topology=loop'],
    });
    await far.ask('port stop 1', /Done/);
    for (const layer of ['tcp', 'udp']) await far.ask(`csum set ${layer} hw 1`, /testpmd> /);
    await far.ask('port start 1', /Done/);
    await ours.ask('set verbose 3', /Change verbose level/);
    await startForwarding(ours);
    await startForwarding(far);
    await back();
    await ours.ask('set verbose 0', /Change verbose level/);
    t.is(ours.output.match(/ol_flags: RTE_MBUF_F_RX_L4_CKSUM_NONE /g)?.length, sent.length);
    t.is(ours.output.match(/ol_flags: RTE_MBUF_F_TX_(TCP|UDP)_CKSUM RTE_MBUF_F_TX_IPV[46] /g)?.length, sent.length);
    const [summary] = await ours.ask('stop', /Accumulated[^]*Done\./);
    t.is(summary.length > 0 && /Bad-l4csum: 0 /.test(ours.output), true);
    await end(far);
    await ours.stop();
  },
);

test.serial('tso set: DPDK is told of the segments, and of the same when they come back through LRO', async (t) => {
  const sent = packetsOf(['tcp'], [100, 500, 501, 4000]);
  const long = sent.filter(({ recipe }) => recipe.payload > 500).length;
  const { directory, pcap, back } = files(t, sent);
  // what vhost1 receives with legacy flags, vhost2 sends on with the same requests: a wire that knows of segments
  const vhosts = ['', ',legacy-ol-flags=1', ''].map(
    (more, i) => `net_vhost${i},iface=${join(directory, `s${i}`)},tso=1${more}`,
  );
  const far = await startDpdk(t, { vdevs: [pcap, ...vhosts], args: ['--forward-mode=io', '--no-flush-rx'] });
  const ours = await startOurs(t, {
    vdevs: ['0', '1', '2'].map((n) => oursIn(directory, n)),
    args: ['--forward-mode=csum', '--tx-offloads=0x2c', '--enable-rx-cksum', '--enable-lro'],
  });
  await ours.ask('port stop 1', /Done/);
  await ours.ask('tso set 500 1', /TSO segment size for non-tunneled packets is 500\n/);
  await ours.ask('port start 1', /Done/);
  await ours.ask('set verbose 3', /Change verbose level/);
  await startForwarding(ours);
  await startForwarding(far);
  await back();
  await shown(ours, /RTE_MBUF_F_RX_L4_CKSUM_NONE RTE_MBUF_F_RX_LRO /g, long);
  // once from port 1 as `tso set` says, once from port 2 as they were received
  await shown(ours, /RTE_MBUF_F_TX_TCP_CKSUM RTE_MBUF_F_TX_TCP_SEG RTE_MBUF_F_TX_IPV[46] /g, 2 * long);
  await end(far, ours);
});
