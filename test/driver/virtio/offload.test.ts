/** Offloads of a port: what the device's offer makes possible, what is negotiated on demand, what is refused and how. */
import { virtioPort, virtqueues } from '../../support/virtio-port.js';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { createEal } from '../../../driver/eal/eal.js';
import { parseVirtioUser } from '../../../driver/devargs/devargs.js';
import * as types from '../../../driver/port/types.js';
import * as F from '../../../driver/wire/virtio-features.js';
import { FakeTransport } from '../../support/mock-transport.js';

const RX_CSUM = F.VIRTIO_NET_F_GUEST_CSUM;
const RX_TSO = F.VIRTIO_NET_F_GUEST_TSO4 | F.VIRTIO_NET_F_GUEST_TSO6;
const TX_CSUM = F.VIRTIO_NET_F_CSUM;
const TX_TSO = F.VIRTIO_NET_F_HOST_TSO4 | F.VIRTIO_NET_F_HOST_TSO6;
const EVERYTHING = RX_CSUM | RX_TSO | TX_CSUM | TX_TSO;
const BASE = F.VIRTIO_F_VERSION_1 | F.VIRTIO_NET_F_MRG_RXBUF;

const RX_CKSUM = types.RX_OFFLOAD_UDP_CKSUM | types.RX_OFFLOAD_TCP_CKSUM;
const TX_CKSUM = types.TX_OFFLOAD_UDP_CKSUM | types.TX_OFFLOAD_TCP_CKSUM;

function offered(t: ExecutionContext, features: bigint, supported = (1n << 64n) - 1n) {
  const eal = createEal({ noHuge: true, memoryMiB: 32, log: () => undefined, pinMain: false });
  const mempool = eal.createMempool({ count: 600 });
  const transport = new (class extends FakeTransport {
    override readonly supported = supported;
  })({ offered: BASE | features });
  const lines: string[] = [];
  const devargs = 'net_virtio_user0,path=/nowhere';
  const log = (level: string, line: string) => void lines.push(`${level} ${line}`);
  const port = virtioPort({ eal, id: 0, devargs, args: parseVirtioUser(devargs), transport, log });
  t.teardown(() => {
    port.close();
    eal.close();
  });
  const acknowledged = (rxOffloads: number, txOffloads = 0) => {
    port.configure({ mempool, rxOffloads, txOffloads });
    return port.path().features.acknowledged & EVERYTHING;
  };
  return { port, mempool, lines, acknowledged };
}

test('capabilities: checksums need one feature, LRO and TSO need both of theirs and the checksum', (t) => {
  const capa = (features: bigint) => {
    const { rxOffloadCapa, txOffloadCapa } = offered(t, features).port.info();
    return [rxOffloadCapa, txOffloadCapa];
  };
  const rx = types.RX_OFFLOAD_VLAN_STRIP | types.RX_OFFLOAD_SCATTER;
  const tx = types.TX_OFFLOAD_VLAN_INSERT | types.TX_OFFLOAD_MULTI_SEGS;
  t.deepEqual(capa(0n), [rx, tx]);
  t.deepEqual(capa(RX_CSUM | TX_CSUM), [rx | RX_CKSUM, tx | TX_CKSUM]);
  t.deepEqual(capa(RX_TSO | TX_TSO), [rx, tx]);
  const one = RX_CSUM | TX_CSUM | F.VIRTIO_NET_F_GUEST_TSO4 | F.VIRTIO_NET_F_HOST_TSO6;
  t.deepEqual(capa(one), [rx | RX_CKSUM, tx | TX_CKSUM]);
  t.deepEqual(capa(EVERYTHING), [rx | RX_CKSUM | types.RX_OFFLOAD_TCP_LRO, tx | TX_CKSUM | types.TX_OFFLOAD_TCP_TSO]);
});

test('negotiation on demand: nothing without a request, and nothing but what a request needs', (t) => {
  const { acknowledged } = offered(t, EVERYTHING);
  t.is(acknowledged(0), 0n);
  t.is(acknowledged(types.RX_OFFLOAD_UDP_CKSUM), RX_CSUM);
  t.is(acknowledged(types.RX_OFFLOAD_TCP_CKSUM), RX_CSUM);
  t.is(acknowledged(types.RX_OFFLOAD_TCP_LRO), RX_CSUM | RX_TSO);
  t.is(acknowledged(0, types.TX_OFFLOAD_UDP_CKSUM), TX_CSUM);
  t.is(acknowledged(0, 0x2c), TX_CSUM | TX_TSO);
  t.is(acknowledged(0, types.TX_OFFLOAD_TCP_TSO), TX_CSUM | TX_TSO);
  t.is(acknowledged(types.RX_OFFLOAD_VLAN_STRIP, types.TX_OFFLOAD_VLAN_INSERT), 0n);
});

test('the queues of a port know what was negotiated, each for its direction', (t) => {
  const { port, acknowledged } = offered(t, EVERYTHING);
  acknowledged(types.RX_OFFLOAD_TCP_CKSUM, types.TX_OFFLOAD_TCP_CKSUM);
  const of = () => {
    const [rx, tx] = [virtqueues(port).rx[0]!, virtqueues(port).tx[0]!];
    return [rx.rxOffload, rx.lro, rx.txOffload, rx.txTso, tx.rxOffload, tx.lro, tx.txOffload, tx.txTso];
  };
  t.deepEqual(of(), [true, false, false, false, false, false, true, false]);
  acknowledged(types.RX_OFFLOAD_TCP_LRO, types.TX_OFFLOAD_TCP_TSO);
  t.deepEqual(of(), [true, true, false, false, false, false, true, true]);
});

test('an offload beyond the capabilities is refused before anything is negotiated, whatever it is', (t) => {
  const { port, mempool } = offered(t, 0n);
  const { rxOffloadCapa, txOffloadCapa } = port.info();
  fc.assert(
    fc.property(fc.nat(0xfffff), fc.nat(0xfffff), (rxOffloads, txOffloads) => {
      const fits = (rxOffloads & ~rxOffloadCapa) === 0 && (txOffloads & ~txOffloadCapa) === 0;
      const configure = () => port.configure({ mempool, rxOffloads, txOffloads });
      if (fits) t.notThrows(configure);
      else
        t.throws(configure, {
          code: 'ECONFIG',
          message: /requested [RT]x offloads 0x\w+ doesn't match .*: leave out 0x/,
        });
    }),
  );
});

test('what this kind of device cannot carry is no capability', (t) => {
  const { port } = offered(t, EVERYTHING, ((1n << 64n) - 1n) & ~EVERYTHING);
  const { rxOffloadCapa, txOffloadCapa } = port.info();
  t.is(rxOffloadCapa & (RX_CKSUM | types.RX_OFFLOAD_TCP_LRO), 0);
  t.is(txOffloadCapa & (TX_CKSUM | types.TX_OFFLOAD_TCP_TSO), 0);
});

test('LRO without mergeable buffers: a warning says what is lost', (t) => {
  const eal = createEal({ noHuge: true, memoryMiB: 32, log: () => undefined, pinMain: false });
  const mempool = eal.createMempool({ count: 600 });
  const transport = new FakeTransport({ offered: F.VIRTIO_F_VERSION_1 | EVERYTHING });
  const lines: string[] = [];
  const devargs = 'net_virtio_user0,path=/nowhere,mrg_rxbuf=0';
  const log = (level: string, line: string) => void lines.push(`${level} ${line}`);
  const port = virtioPort({ eal, id: 0, devargs, args: parseVirtioUser(devargs), transport, log });
  t.teardown(() => {
    port.close();
    eal.close();
  });
  port.configure({ mempool, rxOffloads: RX_CKSUM });
  t.false(lines.some((line) => line.includes('LRO')));
  port.configure({ mempool, rxOffloads: types.RX_OFFLOAD_TCP_LRO });
  t.true(lines.some((line) => /^warning port 0: LRO without mergeable buffers: .* 2048 bytes/.test(line)));
});
