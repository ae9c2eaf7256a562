/**
 * Offloads from end to end: what an application asks for, finished by a device that knows nothing but the net header, is the
 * packet with all its checksums; what was received unfinished and is sent on is the packet that it would have been.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import test from 'ava';
import type { SimdIsa } from '../../../../native/helper.js';
import type { RxPathName, TxPathName } from '../../../../paths/guest/queue.js';
import {
  readPacket,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_IPV6,
  RTE_MBUF_F_TX_TCP_CKSUM,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
} from '../../../../paths/mbuf.js';
import { PacketHeaders, parseHeaders } from '../../../../paths/packet-headers.js';
import { destroyFixtureRegion, shape, type GuestFixture, type Shape } from '../../../support/guest-fixture.js';
import { testWithSimd } from '../../../support/simd-here.js';
import { buildPacket, noiseBytes, offloadableArbitrary, type Packet } from '../../../support/offload-packets.js';
import {
  emptyHeader,
  GSO_TCPV4,
  GSO_TCPV6,
  NEEDS_CSUM,
  put16,
  TCP,
  withPseudoSum,
  type NetHeader,
} from '../../../support/offload-reference.js';
import { deliverOne, rxOffloadFixture } from './support/offload-rx.js';
import { requestFor, txOffloadFixture, type Request } from './support/offload-tx.js';
import { checkSegments, onTheWire, sendOne, tagged } from './support/offload-wire.js';

test.after.always(destroyFixtureRegion);

const txPaths: TxPathName[] = ['virtio_xmit_pkts', 'virtio_xmit_pkts_inorder', 'virtio_xmit_pkts_packed'];

const wide = { size: 64, mbufs: 140 };
const all = { csum: true, tso: true };

const headersOf = ({ l2Len, l3Len, l4Len }: Packet) => l2Len + l3Len + l4Len;

/** Cuts that leave the headers in the first segment. */
const cutsArbitrary = (packet: Packet) =>
  fc
    .array(fc.integer({ min: 1, max: 700 }), { maxLength: 6 })
    .map((rest) => (rest.length > 0 ? [headersOf(packet) + rest[0]! - 1, ...rest.slice(1)] : []));

const vlanArbitrary = fc.option(fc.nat({ max: 65535 }), { nil: undefined });

function withTx(path: TxPathName, more: Partial<Shape>, run: (fixture: GuestFixture) => void, which = 0): void {
  const fixture = txOffloadFixture(shape(path, { ...wide, ...more }), all, which);
  try {
    run(fixture);
  } catch (error) {
    fixture.abandon();
    throw error;
  }
  fixture.finish();
}

/** The packet as an application leaves it: whatever is in the checksum field. */
function unfinished({ bytes, l2Len, l3Len, csumOffset }: Packet, seed: number): Uint8Array {
  const copy = bytes.slice();
  put16(copy, l2Len + l3Len + csumOffset, noiseBytes(seed, 1)[0]! * 257);
  return copy;
}

function checkCompleted(path: TxPathName, more: Partial<Shape> = {}): void {
  withTx(path, { indirect: true, ...more }, (fixture) => {
    const tx = fixture.openTx();
    const cases = offloadableArbitrary(1800).chain((packet) =>
      fc.tuple(fc.constant(packet.recipe), cutsArbitrary(packet)),
    );
    fc.assert(
      fc.property(cases, vlanArbitrary, fc.nat(), ([recipe, cuts], vlanTci, seed) => {
        const packet = buildPacket(recipe);
        const seen = sendOne(fixture, tx, unfinished(packet, seed), cuts, requestFor(packet, 0, vlanTci));
        assert.deepEqual(onTheWire(seen, 0), [tagged(packet.bytes, vlanTci)]);
      }),
      { numRuns: 200, includeErrorInReport: true },
    );
  });
}

/** A long TCP packet and its segment size: at most some 100 segments. */
const longArbitrary = offloadableArbitrary(1, { l4: 'tcp', padding: 0 }).chain(({ recipe }) =>
  fc
    .record({
      payload: fc.oneof(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 1, max: 65535 })),
      mss: fc.integer({ min: 1, max: 9000 }),
    })
    .map(({ payload, mss }) => {
      const most = 65535 - headersOf(buildPacket({ ...recipe, payload: 0 })) + 14; // what the length field of IP can say
      const length = Math.min(payload, most);
      return { recipe: { ...recipe, payload: length }, mss: Math.max(mss, Math.ceil(length / 100)) };
    }),
);

function checkCut(path: TxPathName, more: Partial<Shape> = {}): void {
  withTx(path, more, (fixture) => {
    const tx = fixture.openTx();
    fc.assert(
      fc.property(
        longArbitrary,
        vlanArbitrary,
        fc.nat(),
        fc.array(fc.nat({ max: 3000 }), { maxLength: 4 }),
        ({ recipe, mss }, vlanTci, seed, cuts) => {
          const packet = buildPacket(recipe);
          const tagLen = vlanTci === undefined ? 0 : 4;
          const sizes = cuts.map((cut, i) => cut + (i === 0 ? headersOf(packet) : 1));
          const seen = sendOne(fixture, tx, unfinished(packet, seed), sizes, requestFor(packet, mss, vlanTci));
          assert.equal(seen.header.gsoSize, mss);
          assert.equal(seen.header.gsoType, recipe.l3 === 'ipv4' ? GSO_TCPV4 : GSO_TCPV6);
          checkSegments(onTheWire(seen, packet.l2Len + tagLen), packet, seen.header, tagLen);
        },
      ),
      { numRuns: 60, includeErrorInReport: true },
    );
  });
}

for (const path of txPaths) {
  test(`${path}: a checksum that the device completes is the right one, with and without a tag, in one segment or several`, (t) => {
    checkCompleted(path);
    checkCompleted(path, { indirect: false, headroom: 20, hdrSize: 20 });
    t.pass();
  });

  test(`${path}: a long TCP packet that the device cuts becomes valid segments, IPv4 and IPv6, up to 64 KiB`, (t) => {
    checkCut(path);
    t.pass();
  });
}

/** What an application asks for of a packet that it sends on: what the packet came with. */
function requestOf({ pool }: GuestFixture, m: number): Request | undefined {
  const headers = new PacketHeaders();
  parseHeaders(pool, m, headers);
  const { l2Len, l3Len, l4Len, etherType, protocol } = headers;
  const flags = pool.olFlags[m]!;
  if ((flags & RTE_MBUF_F_RX_L4_CKSUM_NONE) !== RTE_MBUF_F_RX_L4_CKSUM_NONE) return undefined;
  const version = etherType === 0x0800 ? RTE_MBUF_F_TX_IPV4 : RTE_MBUF_F_TX_IPV6;
  const checksum = protocol === TCP ? RTE_MBUF_F_TX_TCP_CKSUM : RTE_MBUF_F_TX_UDP_CKSUM;
  const lro = (flags & RTE_MBUF_F_RX_LRO) !== 0;
  const tsoSegsz = lro ? pool.tsoSegsz[m]! : 0;
  return { flags: version | (lro ? RTE_MBUF_F_TX_TCP_SEG : checksum), l2Len, l3Len, l4Len, tsoSegsz, vlanTci: 0 };
}

/** Receives on one queue, sends on another. */
function checkRound(from: RxPathName, to: TxPathName, mergeable: boolean): void {
  const rxFixture = rxOffloadFixture(shape(from, { ...wide, mergeable }), { csum: true, lro: mergeable });
  const rx = rxFixture.openRx();
  rx.fill();
  const receive = (bytes: Uint8Array, header: NetHeader): [Uint8Array, Request] => {
    const m = deliverOne(rxFixture, rx, bytes, header);
    assert(m !== undefined, 'the packet was dropped');
    const received = readPacket(rxFixture.pool, m);
    const request = requestOf(rxFixture, m);
    rxFixture.pool.free(m);
    assert(request !== undefined, 'no word of the checksum');
    assert.deepEqual(received, bytes);
    return [received, request];
  };
  withTx(
    to,
    {},
    (fixture) => {
      const tx = fixture.openTx();
      const finish = (packet: Packet, bytes: Uint8Array, request: Request) => {
        const sizes = [headersOf(packet)]; // the payload in segments of its own
        return sendOne(fixture, tx, bytes, sizes, request);
      };
      fc.assert(
        fc.property(offloadableArbitrary(1800), ({ recipe }) => {
          const packet = buildPacket(recipe);
          const { bytes, l2Len, l3Len, csumOffset } = packet;
          const l4 = l2Len + l3Len;
          const header = { ...emptyHeader, flags: NEEDS_CSUM, csumStart: l4, csumOffset };
          const partial = withPseudoSum(bytes, packet, bytes.length - recipe.padding - l4);
          const seen = finish(packet, ...receive(partial, header));
          assert.deepEqual(seen.packet, partial);
          assert.deepEqual(onTheWire(seen, l2Len), [bytes]);
        }),
        { numRuns: 60, includeErrorInReport: true },
      );
      if (!mergeable) return;
      fc.assert(
        fc.property(longArbitrary, ({ recipe, mss }) => {
          const packet = buildPacket(recipe);
          const { bytes, l2Len, l3Len, csumOffset } = packet;
          const csumStart = l2Len + l3Len;
          const gsoType = recipe.l3 === 'ipv4' ? GSO_TCPV4 : GSO_TCPV6;
          const header = { flags: NEEDS_CSUM, gsoType, gsoSize: mss, hdrLen: headersOf(packet), csumStart, csumOffset };
          const partial = withPseudoSum(bytes, packet, bytes.length - csumStart);
          const seen = finish(packet, ...receive(partial, header));
          assert.deepEqual(seen.header, header);
          assert.deepEqual(seen.packet, partial);
          checkSegments(onTheWire(seen, l2Len), packet, seen.header, 0);
        }),
        { numRuns: 30, includeErrorInReport: true },
      );
    },
    1,
  );
  rxFixture.finish();
}

const rounds: [RxPathName, TxPathName, mergeable: boolean][] = [
  ['virtio_recv_pkts', 'virtio_xmit_pkts', false],
  ['virtio_recv_mergeable_pkts', 'virtio_xmit_pkts_packed', true],
  ['virtio_recv_pkts_inorder', 'virtio_xmit_pkts_inorder', true],
  ['virtio_recv_pkts_packed', 'virtio_xmit_pkts', false],
  ['virtio_recv_mergeable_pkts_packed', 'virtio_xmit_pkts_packed', true],
];

for (const [from, to, mergeable] of rounds) {
  const what = mergeable ? 'unfinished packets and long ones' : 'unfinished packets';
  test(`${from} to ${to}: ${what} go out as the device had them, and come out whole`, (t) => {
    checkRound(from, to, mergeable);
    t.pass();
  });
}

testWithSimd(
  'virtio_xmit_pkts_packed_vec: a checksum that the device completes is the right one',
  (t, simd: SimdIsa) => {
    checkCompleted('virtio_xmit_pkts_packed_vec', { simd });
    t.pass();
  },
);
