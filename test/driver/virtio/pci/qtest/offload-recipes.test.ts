/**
 * Every interface of QEMU's device with every recipe that it can have, and every offload that goes with it: a short transfer
 * between two kernels.
 */
import { virtqueues } from '../../../../support/virtio-port.js';
import { RX_OFFLOAD_RSS_HASH, RX_OFFLOAD_TCP_LRO } from '../../../../../driver/port/types.js';
import { ifSimd } from '../../../../support/simd-here.js';
import { CHECKSUMS, LARGE, SCATTERED, startTransfer } from './support/net-transfer.js';
import { tcpEcho, udpEcho } from './support/net.js';
import { lacks, needs } from '../../../../support/needs.js';
import { whyNoTap } from '../../../../support/tap.js';

const test = needs(lacks('qemu-system-x86_64') || whyNoTap());

const HALF_MIB = 1 << 19;
/** The longest packets of a kernel fit into one of these. */
const WHOLE = 65_000;

interface Recipe {
  readonly name: string;
  /** Options of the device. */
  readonly device: string;
  readonly devargs?: string;
  readonly port: { readonly rxOffloads: number; readonly txOffloads: number };
  readonly dataRoom?: number;
  readonly rx: string;
  readonly tx: string;
}

const splitPlain = { device: 'mrg_rxbuf=off', rx: 'virtio_recv_pkts', tx: 'virtio_xmit_pkts' };
const packedPlain = {
  ...{ device: 'packed=on,mrg_rxbuf=off' },
  ...{ rx: 'virtio_recv_pkts_packed', tx: 'virtio_xmit_pkts_packed' },
};
const splitMergeable = { device: '', port: SCATTERED, rx: 'virtio_recv_mergeable_pkts', tx: 'virtio_xmit_pkts' };
const packedMergeable = {
  ...{ device: 'packed=on', port: SCATTERED },
  ...{ rx: 'virtio_recv_mergeable_pkts_packed', tx: 'virtio_xmit_pkts_packed' },
};
/** The hash makes the net header longer. */
const HASHED = { ...SCATTERED, rxOffloads: SCATTERED.rxOffloads | RX_OFFLOAD_RSS_HASH };
const legacy = 'disable-legacy=off,disable-modern=on';

const recipes: readonly Recipe[] = [
  { name: 'split mergeable', ...splitMergeable },
  { name: 'split mergeable, no indirect descriptors', ...splitMergeable, device: 'indirect_desc=off' },
  { name: 'split mergeable, legacy device', ...splitMergeable, device: legacy },
  { name: 'split non-mergeable', ...splitPlain, port: LARGE, dataRoom: WHOLE },
  { name: 'split non-mergeable, checksums only', ...splitPlain, port: CHECKSUMS },
  { name: 'split non-mergeable, legacy device', ...splitPlain, device: `${legacy},mrg_rxbuf=off`, port: CHECKSUMS },
  {
    ...{ name: 'split non-mergeable, vectorized=1 and Rx offloads that rule it out' },
    ...{ ...splitPlain, devargs: ',vectorized=1', port: CHECKSUMS },
  },
  ...ifSimd({
    ...{ name: 'split vectorized, Tx offloads only', ...splitPlain, rx: 'virtio_recv_pkts_vec' },
    ...{ devargs: ',vectorized=1', port: { rxOffloads: 0, txOffloads: LARGE.txOffloads } },
  }),
  { name: 'packed mergeable', ...packedMergeable },
  { name: 'packed mergeable, no indirect descriptors', ...packedMergeable, device: 'packed=on,indirect_desc=off' },
  { name: 'split mergeable, reported hashes', ...splitMergeable, device: 'rss=on,hash=on', port: HASHED },
  { name: 'packed mergeable, reported hashes', ...packedMergeable, device: 'packed=on,rss=on,hash=on', port: HASHED },
  { name: 'packed non-mergeable', ...packedPlain, port: LARGE, dataRoom: WHOLE },
  { name: 'packed non-mergeable, checksums only', ...packedPlain, port: CHECKSUMS },
];

for (const { name, device, devargs = '', port, dataRoom = 2048, rx, tx } of recipes) {
  test.serial(`${name}: TCP and UDP between two kernels`, async (t) => {
    const net = await startTransfer(t, { device, port: { ...port, devargs }, dataRoom });
    t.like(net.ports[0]!.path(), { rx, tx });
    const mergeable = rx.includes('mergeable');
    const { hdrSize } = virtqueues(net.ports[0]!).rx[0]!;
    t.is(hdrSize, port === HASHED ? 20 : device.startsWith(legacy) && !mergeable ? 10 : 12);
    const [a, b] = net.ends;
    for (const host of [b.ipv4, b.ipv6]) {
      await tcpEcho(t, a, host, HALF_MIB);
      await udpEcho(t, a, host, [0, 1, 63, 1452, 4000]);
    }
    for (const { lro, none, longest } of await net.finish()) {
      t.is(none > 0, port.rxOffloads !== 0);
      const long = (port.rxOffloads & RX_OFFLOAD_TCP_LRO) !== 0;
      t.is(lro > 0, long);
      t.is(longest > 1514, long);
    }
  });
}
