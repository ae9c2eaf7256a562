/**
 * Offloads are negotiated on demand, and only what a device has is on offer: QEMU's device, on a tap that knows
 * virtio_net_hdr and on a wire that does not.
 */
import type { ExecutionContext } from 'ava';
import type { Port } from '../../../../../driver/port/port.js';
import {
  RX_OFFLOAD_SCATTER,
  RX_OFFLOAD_TCP_CKSUM,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  RX_OFFLOAD_VLAN_FILTER,
  RX_OFFLOAD_VLAN_STRIP,
  TX_OFFLOAD_MULTI_SEGS,
  TX_OFFLOAD_TCP_CKSUM,
  TX_OFFLOAD_TCP_TSO,
  TX_OFFLOAD_UDP_CKSUM,
  TX_OFFLOAD_VLAN_INSERT,
} from '../../../../../driver/port/types.js';
import * as F from '../../../../../driver/wire/virtio-features.js';
import { startBridge, startPorts } from './support/net.js';
import { pingPong, startMachine, startPort } from '../../../support/qtest.js';
import { lacks, needs } from '../../../../support/needs.js';
import { whyNoTap } from '../../../../support/tap.js';

const qemuTest = needs(lacks('qemu-system-x86_64'));
const netTest = needs(lacks('qemu-system-x86_64') || whyNoTap());

const GUEST_TSO = F.VIRTIO_NET_F_GUEST_TSO4 | F.VIRTIO_NET_F_GUEST_TSO6;
const HOST_TSO = F.VIRTIO_NET_F_HOST_TSO4 | F.VIRTIO_NET_F_HOST_TSO6;
const ON_DEMAND = F.VIRTIO_NET_F_GUEST_CSUM | GUEST_TSO | F.VIRTIO_NET_F_CSUM | HOST_TSO;
/** Offered by QEMU, and never wanted. */
const NEVER = F.VIRTIO_NET_F_GUEST_UFO | F.VIRTIO_NET_F_HOST_UFO | F.VIRTIO_NET_F_GUEST_ECN | F.VIRTIO_NET_F_HOST_ECN;

const RX_CHECKSUMS = RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM;
const TX_CHECKSUMS = TX_OFFLOAD_UDP_CKSUM | TX_OFFLOAD_TCP_CKSUM;
/** What there is of every device of QEMU's. */
const RX_ALWAYS = RX_OFFLOAD_VLAN_STRIP | RX_OFFLOAD_VLAN_FILTER | RX_OFFLOAD_SCATTER;
const TX_ALWAYS = TX_OFFLOAD_VLAN_INSERT | TX_OFFLOAD_MULTI_SEGS;

/** A port on a tap, not configured for anything. */
async function startPlain(t: ExecutionContext, device: string): Promise<{ port: Port; configure: Configure }> {
  const machine = await startBridge(t, { devices: [device] });
  const { ports, mempool } = await startPorts(t, machine, [{}]);
  const port = ports[0]!;
  return {
    port,
    configure: (rxOffloads, txOffloads) => {
      port.stop();
      port.configure({ mempool, rxOffloads, txOffloads });
      port.start();
    },
  };
}

type Configure = (rxOffloads: number, txOffloads: number) => void;

for (const device of ['', 'packed=on', 'disable-legacy=off,disable-modern=on']) {
  netTest.serial(
    `a feature is negotiated while an offload asks for it, and no longer (${device || 'default'})`,
    async (t) => {
      const { port, configure } = await startPlain(t, device);
      for (const [rx, tx, expected] of [
        [0, 0, 0n],
        [RX_OFFLOAD_UDP_CKSUM, 0, F.VIRTIO_NET_F_GUEST_CSUM],
        [RX_OFFLOAD_TCP_CKSUM, 0, F.VIRTIO_NET_F_GUEST_CSUM],
        [RX_OFFLOAD_TCP_LRO | RX_OFFLOAD_SCATTER, 0, F.VIRTIO_NET_F_GUEST_CSUM | GUEST_TSO],
        [RX_ALWAYS, TX_ALWAYS, 0n],
        [0, TX_OFFLOAD_UDP_CKSUM, F.VIRTIO_NET_F_CSUM],
        [0, TX_OFFLOAD_TCP_CKSUM, F.VIRTIO_NET_F_CSUM],
        [0, TX_OFFLOAD_TCP_TSO, F.VIRTIO_NET_F_CSUM | HOST_TSO],
        [RX_CHECKSUMS, TX_OFFLOAD_TCP_TSO, F.VIRTIO_NET_F_GUEST_CSUM | F.VIRTIO_NET_F_CSUM | HOST_TSO],
        [RX_CHECKSUMS | RX_OFFLOAD_TCP_LRO | RX_OFFLOAD_SCATTER, TX_CHECKSUMS | TX_OFFLOAD_TCP_TSO, ON_DEMAND],
        [0, 0, 0n],
      ] as const) {
        configure(rx, tx);
        const { offered, asked, acknowledged, refused } = port.path().features;
        const what = `rx 0x${rx.toString(16)}, tx 0x${tx.toString(16)}`;
        t.is(offered & ON_DEMAND, ON_DEMAND);
        t.is(offered & NEVER, NEVER);
        t.is(acknowledged & ON_DEMAND, expected, what);
        t.is(asked & NEVER, 0n, what);
        const reasons = new Map(refused.map((each) => [each.what, each.why]));
        for (const name of F.featureNames(ON_DEMAND & ~expected)) {
          t.regex(reasons.get(name)!, /^no (Rx|Tx) offload asks for it$/, name);
        }
        t.like(port.info(), { rxOffloads: rx, txOffloads: tx });
      }
    },
  );
}

for (const { device, rx, tx } of [
  { device: '', rx: RX_CHECKSUMS | RX_OFFLOAD_TCP_LRO, tx: TX_CHECKSUMS | TX_OFFLOAD_TCP_TSO },
  { device: 'guest_tso6=off', rx: RX_CHECKSUMS, tx: TX_CHECKSUMS | TX_OFFLOAD_TCP_TSO },
  { device: 'host_tso4=off', rx: RX_CHECKSUMS | RX_OFFLOAD_TCP_LRO, tx: TX_CHECKSUMS },
  { device: 'csum=off', rx: RX_CHECKSUMS | RX_OFFLOAD_TCP_LRO, tx: 0 },
  { device: 'guest_csum=off', rx: 0, tx: TX_CHECKSUMS | TX_OFFLOAD_TCP_TSO },
  { device: 'gso=off,csum=off,guest_csum=off,guest_tso4=off,guest_tso6=off,host_tso4=off,host_tso6=off', rx: 0, tx: 0 },
]) {
  netTest.serial(
    `only what the device has is on offer, anything else is refused (${device || 'default'})`,
    async (t) => {
      const { port, configure } = await startPlain(t, device);
      const [rxCapa, txCapa] = [RX_ALWAYS | rx, TX_ALWAYS | tx];
      t.like(port.info(), { rxOffloadCapa: rxCapa, txOffloadCapa: txCapa });
      checkRefusals(t, port, configure, rxCapa, txCapa);
      configure(rxCapa, txCapa);
      t.like(port.info(), { rxOffloads: rxCapa, txOffloads: txCapa });
    },
  );
}

/** Each offload by itself is refused unless it is among the capabilities; the port stays as it is. */
function checkRefusals(t: ExecutionContext, port: Port, configure: Configure, rxCapa: number, txCapa: number): void {
  const hex = (offloads: number) => `0x${offloads.toString(16)}`;
  const before = port.path().features.acknowledged;
  for (const [kind, capa, offloads] of [
    ['Rx', rxCapa, [RX_OFFLOAD_UDP_CKSUM, RX_OFFLOAD_TCP_CKSUM, RX_OFFLOAD_TCP_LRO]],
    ['Tx', txCapa, [TX_OFFLOAD_UDP_CKSUM, TX_OFFLOAD_TCP_CKSUM, TX_OFFLOAD_TCP_TSO]],
  ] as const) {
    for (const offload of offloads.filter((each) => (capa & each) === 0)) {
      const message = `Ethdev port_id=0 requested ${kind} offloads ${hex(offload)} doesn't match ${kind} offloads capabilities ${hex(capa)}: leave out ${hex(offload)}`;
      const ask = () => (kind === 'Rx' ? configure(offload, 0) : configure(0, offload));
      t.throws(ask, { code: 'ECONFIG', message });
      t.is(port.path().features.acknowledged, before);
    }
  }
}

qemuTest.serial('a wire that knows no virtio_net_hdr: no offload is on offer, and none is needed', async (t) => {
  const machine = await startMachine(t);
  const { port, mempool, ...rest } = await startPort(t, machine);
  t.like(port.info(), { rxOffloadCapa: RX_ALWAYS, txOffloadCapa: TX_ALWAYS });
  const configure: Configure = (rxOffloads, txOffloads) => {
    port.stop();
    port.configure({ mempool, rxOffloads, txOffloads });
  };
  checkRefusals(t, port, configure, RX_ALWAYS, TX_ALWAYS);
  port.start();
  await pingPong(t, { port, mempool, ...rest }, machine.wires[0]!, [64, 1514]);
});
