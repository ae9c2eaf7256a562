/** Offloads together with what else a queue does: tags taken out, hashes, the longest packets, slots used again, streams. */
import test from 'ava';
import { ForwardStream } from '../../../../driver/port/stream.js';
import { readStreamCounts, streamCounters, streamCountersBytes } from '../../../../driver/port/stream-counters.js';
import type { RxPathName, TxPathName } from '../../../../paths/guest/queue.js';
import { MAX_LRO_PKTLEN, MAX_RX_PKTLEN } from '../../../../paths/layout.js';
import {
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_GOOD,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_RX_RSS_HASH,
  RTE_MBUF_F_RX_VLAN,
  RTE_MBUF_F_RX_VLAN_STRIPPED,
  RTE_MBUF_F_TX_TCP_CKSUM,
} from '../../../../paths/mbuf.js';
import { BYTES, DROP_OFFLOAD, DROP_SEGMENTS, ERRORS, PACKETS } from '../../../../paths/stats.js';
import { destroyFixtureRegion, packetBytes, shape } from '../../../support/guest-fixture.js';
import { ifSimd } from '../../../support/simd-here.js';
import { buildPacket, plainRecipe } from '../../../support/offload-packets.js';
import { place } from '../../../support/offload-pool.js';
import {
  completeChecksum,
  DATA_VALID,
  emptyHeader,
  GSO_TCPV4,
  GSO_UDP,
  NEEDS_CSUM,
  type NetHeader,
} from '../../../support/offload-reference.js';
import { deliverOne, rxOffloadFixture } from './support/offload-rx.js';
import { headerFor, look, requestFor, txOffloadFixture, useAll, writeRequest } from './support/offload-tx.js';

test.after.always(destroyFixtureRegion);

const rxPaths: RxPathName[] = [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  ...ifSimd('virtio_recv_pkts_packed_vec' as const),
];
const mergeablePaths: RxPathName[] = [
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  'virtio_recv_mergeable_pkts_packed',
];

const all = { csum: true, tso: true };
const needsCsum = (csumStart: number, csumOffset: number): NetHeader => ({
  ...emptyHeader,
  flags: NEEDS_CSUM,
  csumStart,
  csumOffset,
});

for (const path of rxPaths) {
  test(`${path}: the checksum of a tagged packet is judged, or completed, before the tag is taken out`, (t) => {
    const fixture = rxOffloadFixture(shape(path, { vlanStrip: true }));
    const { pool } = fixture;
    const rx = fixture.openRx();
    rx.fill();
    const stripped = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    const without = (bytes: Uint8Array) => Uint8Array.of(...bytes.subarray(0, 12), ...bytes.subarray(16));
    for (const [l4, header, flags] of [
      ['tcp', needsCsum(38, 16), RTE_MBUF_F_RX_L4_CKSUM_NONE],
      ['udp', { ...emptyHeader, flags: DATA_VALID }, RTE_MBUF_F_RX_L4_CKSUM_GOOD],
      ['icmp', needsCsum(38, 2), 0],
    ] as const) {
      const packet = buildPacket({ ...plainRecipe, tags: [0x8100], l4 });
      const m = deliverOne(fixture, rx, packet.bytes, header)!;
      const expected = l4 === 'icmp' ? completeChecksum(packet.bytes, 38, 2) : packet.bytes;
      t.deepEqual(readPacket(pool, m), without(expected), l4);
      t.is(pool.olFlags[m], flags | stripped, l4);
      t.is(pool.vlanTci[m], packet.bytes[14]! * 256 + packet.bytes[15]!);
      pool.free(m);
    }
    fixture.finish();
  });

  test(`${path}: a hash and a checksum in one header`, (t) => {
    const fixture = rxOffloadFixture(shape(path, { hdrSize: 20 }));
    Object.assign(fixture.spec, { hashReport: true });
    const { pool } = fixture;
    const rx = fixture.openRx();
    rx.fill();
    const header = { ...needsCsum(34, 16), hash: { value: 0xfeedf00d, type: 2 } };
    const m = deliverOne(fixture, rx, buildPacket(plainRecipe).bytes, header)!;
    t.is(pool.hash[m], 0xfeedf00d);
    t.is(pool.olFlags[m], RTE_MBUF_F_RX_RSS_HASH | RTE_MBUF_F_RX_L4_CKSUM_NONE);
    pool.free(m);
    fixture.finish();
  });

  test(`${path}: packets dropped for their header are errors, not packets, and their buffers go round again`, (t) => {
    const fixture = rxOffloadFixture(shape(path, { mbufs: 40 }));
    const rx = fixture.openRx();
    rx.fill();
    const { bytes } = buildPacket(plainRecipe);
    const lies: NetHeader[] = [
      needsCsum(65535, 65535),
      needsCsum(bytes.length, 0),
      needsCsum(bytes.length - 1, 0),
      needsCsum(0, 16),
      needsCsum(13, 16),
      { ...emptyHeader, gsoType: GSO_TCPV4 }, // gso_size 0
      { ...emptyHeader, gsoType: GSO_UDP, gsoSize: 1000 },
      { ...emptyHeader, gsoType: GSO_TCPV4 | 0x80, gsoSize: 1000 },
      { ...needsCsum(34, 16), gsoType: 0x20, gsoSize: 1000 },
    ];
    const rounds = 10;
    for (let i = 0; i < rounds; i++) for (const lie of lies) t.is(deliverOne(fixture, rx, bytes, lie), undefined);
    t.is(fixture.stat(ERRORS), rounds * lies.length);
    t.is(fixture.stat(DROP_OFFLOAD), rounds * lies.length);
    t.deepEqual([...fixture.state.stats.subarray(PACKETS, ERRORS)], [0, 0]);
    t.deepEqual([...fixture.state.stats.subarray(ERRORS + 1, ERRORS + 11)], new Array<number>(10).fill(0)); // groups, size bins
    t.is(fixture.broken, 0);
    const m = deliverOne(fixture, rx, bytes, { ...emptyHeader, flags: 0xf8, csumStart: 65535 })!;
    t.is(fixture.pool.olFlags[m], 0, 'unknown flags mean nothing');
    t.deepEqual([fixture.stat(PACKETS), fixture.stat(BYTES)], [1, bytes.length]);
    fixture.pool.free(m);
    fixture.finish();
  });
}

for (const path of mergeablePaths) {
  test(`${path}: with LRO the longest IP packet behind two tags, without it MAX_RX_PKTLEN; one byte more is dropped`, (t) => {
    for (const lro of [true, false]) {
      const fixture = rxOffloadFixture(shape(path, { size: 64, mbufs: 200, mergeable: true }), { csum: true, lro });
      const { pool } = fixture;
      const rx = fixture.openRx();
      rx.fill();
      const longest = lro ? MAX_LRO_PKTLEN : MAX_RX_PKTLEN;
      const header = lro
        ? { ...emptyHeader, flags: NEEDS_CSUM, gsoType: GSO_TCPV4, gsoSize: 1448, csumStart: 42, csumOffset: 16 }
        : emptyHeader;
      const { bytes: start } = buildPacket({ ...plainRecipe, tags: [0x88a8, 0x8100] });
      const bytes = packetBytes(1, longest);
      bytes.set(start);
      const m = deliverOne(fixture, rx, bytes, header)!;
      t.deepEqual(readPacket(pool, m), bytes);
      t.is(pool.olFlags[m], lro ? RTE_MBUF_F_RX_LRO | RTE_MBUF_F_RX_L4_CKSUM_NONE : 0);
      if (lro) t.is(pool.tsoSegsz[m], 1448);
      pool.free(m);
      t.is(deliverOne(fixture, rx, Uint8Array.of(...bytes, 0), header), undefined);
      t.is(fixture.stat(DROP_SEGMENTS), 1);
      fixture.finish();
    }
  });
}

const txPaths: TxPathName[] = [
  'virtio_xmit_pkts',
  'virtio_xmit_pkts_inorder',
  'virtio_xmit_pkts_packed',
  ...ifSimd('virtio_xmit_pkts_packed_vec' as const),
];

for (const path of txPaths) {
  for (const [how, indirect, headroom] of [
    ['pushed', false, 128],
    ['in a slot, with a table', true, 0],
    ['in a slot, with a chain', false, 0],
  ] as const) {
    test(`${path}: zeros where a request was before, for a header ${how}`, (t) => {
      const fixture = txOffloadFixture(shape(path, { size: 4, mbufs: 8, indirect }), all);
      const { pool } = fixture;
      const tx = fixture.openTx();
      const packet = buildPacket(plainRecipe);
      for (const tsoSegsz of [0, 500, undefined, undefined, 500, undefined, undefined, undefined]) {
        const request =
          tsoSegsz === undefined ? { ...requestFor(packet, 500), flags: 0 } : requestFor(packet, tsoSegsz);
        for (let i = 0; i < 4; i++) {
          const m = place(pool, [packet.bytes], headroom);
          writeRequest(pool, m, request);
          t.is(tx.xmit(Uint32Array.of(m), 1), 1);
          t.deepEqual(look(fixture)[0]!.header, headerFor(request, all));
          useAll(fixture, tx);
        }
      }
      fixture.finish();
    });
  }

  test(`${path}: prepare stops at the first packet that asks for what is not there, and goes on behind it`, (t) => {
    const fixture = txOffloadFixture(shape(path), { csum: true, tso: false });
    const { pool } = fixture;
    const tx = fixture.openTx();
    const packet = buildPacket(plainRecipe);
    const requests = [
      requestFor(packet),
      requestFor(packet, 100),
      requestFor(packet),
      { ...requestFor(packet), l3Len: 8 },
    ];
    const pkts = Uint32Array.from(requests, (request) => {
      const m = place(pool, [packet.bytes]);
      writeRequest(pool, m, request);
      return m;
    });
    t.is(tx.prepare(pkts, 0), 0);
    t.is(tx.prepare(pkts, 4), 1);
    t.is(tx.prepare(pkts.subarray(1), 3), 0);
    t.is(tx.prepare(pkts.subarray(2), 2), 1);
    pool.freeBulk(pkts, 0, 4);
    fixture.finish();
  });

  test(`${path}: a stream drops and counts what cannot be prepared, and sends the rest in its order`, (t) => {
    const fixture = txOffloadFixture(shape(path), { csum: true, tso: false });
    const { pool } = fixture;
    const tx = fixture.openTx();
    const shared = new SharedArrayBuffer(streamCountersBytes());
    const rx = { spec: fixture.spec, fill: () => 0, recv: () => 0 };
    const settings = { burst: 8, retries: 0, retryDelayUs: 1, ownMac: [2, 0, 0, 0, 0, 1], peerMac: [2, 0, 0, 0, 0, 2] };
    const stream = new ForwardStream(rx, tx, pool, settings, streamCounters(shared), () => {});
    const bad = [0, 1, 4, 7];
    const packets = Array.from({ length: 8 }, (_, i) => buildPacket({ ...plainRecipe, seed: i }));
    packets.forEach((packet, i) => {
      stream.pkts[i] = place(pool, [packet.bytes]);
      const request = requestFor(packet);
      writeRequest(pool, stream.pkts[i]!, bad.includes(i) ? { ...request, flags: RTE_MBUF_F_TX_TCP_CKSUM } : request);
    });
    stream.prepareAndTransmit(8);
    const wire = look(fixture).map(({ packet, header }) =>
      completeChecksum(packet, header.csumStart, header.csumOffset),
    );
    t.deepEqual(
      wire,
      packets.filter((_, i) => !bad.includes(i)).map(({ bytes }) => bytes),
    );
    t.like(readStreamCounts(shared), { txPackets: 4, txDropped: 4 });
    useAll(fixture, tx);
    t.is(pool.inUse(), 0);

    stream.pkts[0] = place(pool, [packets[0]!.bytes]);
    writeRequest(pool, stream.pkts[0], { ...requestFor(packets[0]!), l2Len: 0 });
    stream.prepareAndTransmit(1); // nothing is left to send
    t.like(readStreamCounts(shared), { txPackets: 4, txDropped: 5 });
    t.is(pool.inUse(), 0);
    fixture.finish();
  });
}
