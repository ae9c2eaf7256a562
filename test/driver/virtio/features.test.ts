/** Feature negotiation: virtio 1.2 sections 2.2 and 5.1.3.1, and DPDK's request set. */
import test from 'ava';
import fc from 'fast-check';
import {
  bitsOf,
  has,
  missingPrerequisite,
  negotiate,
  netHeaderSize,
  requestFeatures,
  type FeatureWishes,
} from '../../../driver/virtio/features.js';
import {
  RX_OFFLOAD_RSS_HASH,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  TX_OFFLOAD_TCP_CKSUM,
  TX_OFFLOAD_TCP_TSO,
} from '../../../driver/port/types.js';
import * as F from '../../../driver/wire/virtio-features.js';

const ALL = (1n << 64n) - 1n;
const defaults: FeatureWishes = {
  mrgRxbuf: true,
  inOrder: true,
  packedVq: false,
  cq: false,
  eventIdx: false,
  rxOffloads: 0,
  txOffloads: 0,
};
const ask = (wishes: Partial<FeatureWishes> = {}) => requestFeatures({ ...defaults, ...wishes });
const offer = (bits: bigint) => ({ bits, withheld: new Map<bigint, string>() });

const anyWishes = fc.record({
  mrgRxbuf: fc.boolean(),
  inOrder: fc.boolean(),
  packedVq: fc.boolean(),
  cq: fc.boolean(),
  eventIdx: fc.boolean(),
  rxOffloads: fc.integer({ min: 0, max: 0xfffff }),
  txOffloads: fc.integer({ min: 0, max: 0xffff }),
});
// beyond 63 as well: virtio 1.4 has bits 64 to 70
const anyBits = fc.bigInt({ min: 0n, max: (1n << 71n) - 1n });

test('never a bit that was not offered, not asked for, not carried by the transport, or without its prerequisite', (t) => {
  fc.assert(
    fc.property(anyBits, anyBits, anyWishes, (offered, supported, wishes) => {
      const request = requestFeatures(wishes);
      const { acknowledged } = negotiate(offer(offered), request, supported);
      if ((acknowledged & ~(offered & request.bits & supported)) !== 0n) return false;
      return bitsOf(acknowledged).every((bit) => missingPrerequisite(bit, acknowledged) === 0n);
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test('every bit that one side wanted and did not get has a reason, and no other has one', (t) => {
  fc.assert(
    fc.property(anyBits, anyWishes, (offered, wishes) => {
      const request = requestFeatures(wishes);
      const { acknowledged, refused } = negotiate(offer(offered), request, ALL);
      const expected = bitsOf((offered | request.bits) & ~acknowledged).map((bit) => F.featureName(bit));
      t.deepEqual(
        refused.map(({ what }) => what),
        expected,
      );
      return refused.every(({ why }) => why.length > 0 && !why.includes('undefined'));
    }),
    { numRuns: 200 },
  );
});

test('an offer of everything with default devargs gives MRG, IN_ORDER, VERSION_1, INDIRECT and no control queue', (t) => {
  const { acknowledged } = negotiate(offer(ALL), ask(), ALL);
  for (const bit of [
    F.VIRTIO_NET_F_MRG_RXBUF,
    F.VIRTIO_F_IN_ORDER,
    F.VIRTIO_F_VERSION_1,
    F.VIRTIO_F_INDIRECT_DESC,
    F.VIRTIO_NET_F_MAC,
    F.VIRTIO_NET_F_STATUS,
  ]) {
    t.true(has(acknowledged, bit), F.featureName(bit));
  }
  for (const bit of [
    F.VIRTIO_F_EVENT_IDX,
    F.VIRTIO_F_ANY_LAYOUT,
    F.VIRTIO_F_RING_RESET,
    F.VIRTIO_NET_F_CTRL_VQ,
    F.VIRTIO_NET_F_MQ,
    F.VIRTIO_F_RING_PACKED,
    F.VIRTIO_NET_F_CSUM,
    F.VIRTIO_NET_F_GUEST_CSUM,
    F.VIRTIO_NET_F_RSS,
  ]) {
    t.false(has(acknowledged, bit), F.featureName(bit));
  }
});

const masks: [string, Partial<FeatureWishes>, bigint, RegExp][] = [
  ['mrg_rxbuf=0', { mrgRxbuf: false }, F.VIRTIO_NET_F_MRG_RXBUF, /mrg_rxbuf=0/],
  ['in_order=0', { inOrder: false }, F.VIRTIO_F_IN_ORDER, /in_order=0/],
  ['packed_vq=0', { packedVq: false }, F.VIRTIO_F_RING_PACKED, /packed_vq=1/],
  ['cq=0', { cq: false }, F.VIRTIO_NET_F_CTRL_VQ, /cq=1/],
  ['cq=0', { cq: false }, F.VIRTIO_NET_F_MQ, /cq=1/],
  ['event_idx=0', { eventIdx: false }, F.VIRTIO_F_EVENT_IDX, /event_idx=1/],
];
for (const [devarg, wishes, bit, why] of masks) {
  test(`${devarg} keeps ${F.featureName(bit)} out, and the reason names the devarg`, (t) => {
    const { acknowledged, refused } = negotiate(offer(ALL), ask(wishes), ALL);
    t.false(has(acknowledged, bit));
    t.regex(refused.find(({ what }) => what === F.featureName(bit))!.why, why);
  });
}

test('EVENT_IDX is acknowledged with event_idx=1 only', (t) => {
  t.true(has(negotiate(offer(ALL), ask({ eventIdx: true }), ALL).acknowledged, F.VIRTIO_F_EVENT_IDX));
});

test('MQ without CTRL_VQ in the offer is refused for its prerequisite', (t) => {
  const { acknowledged, refused } = negotiate(offer(F.VIRTIO_NET_F_MQ), ask({ cq: true }), ALL);
  t.is(acknowledged, 0n);
  t.regex(refused.find(({ what }) => what === 'VIRTIO_NET_F_MQ')!.why, /needs VIRTIO_NET_F_CTRL_VQ/);
});

test('offloads ask for their features and for what those need', (t) => {
  const rx = ask({ rxOffloads: RX_OFFLOAD_TCP_LRO }).bits;
  t.true(
    has(rx, F.VIRTIO_NET_F_GUEST_CSUM) && has(rx, F.VIRTIO_NET_F_GUEST_TSO4) && has(rx, F.VIRTIO_NET_F_GUEST_TSO6),
  );
  t.is(ask({ rxOffloads: RX_OFFLOAD_UDP_CKSUM }).bits & F.VIRTIO_NET_F_GUEST_TSO4, 0n);
  t.true(has(ask({ txOffloads: TX_OFFLOAD_TCP_CKSUM }).bits, F.VIRTIO_NET_F_CSUM));
  t.true(has(ask({ txOffloads: TX_OFFLOAD_TCP_TSO }).bits, F.VIRTIO_NET_F_CSUM));
  t.true(has(ask({ rxOffloads: RX_OFFLOAD_RSS_HASH, cq: true }).bits, F.VIRTIO_NET_F_HASH_REPORT));
  t.false(has(ask({ rxOffloads: RX_OFFLOAD_RSS_HASH, cq: false }).bits, F.VIRTIO_NET_F_HASH_REPORT));
});

test('what the transport withholds is refused with the transport’s reason', (t) => {
  const withheld = new Map([[F.VIRTIO_NET_F_MQ, 'the back-end lacks the protocol feature MQ']]);
  const { refused } = negotiate({ bits: 0n, withheld }, ask({ cq: true }), ALL);
  t.is(refused.find(({ what }) => what === 'VIRTIO_NET_F_MQ')!.why, 'the back-end lacks the protocol feature MQ');
});

test('an unknown bit in the offer changes nothing', (t) => {
  const base = negotiate(offer(F.VIRTIO_F_VERSION_1), ask(), ALL).acknowledged;
  t.is(negotiate(offer(F.VIRTIO_F_VERSION_1 | (1n << 50n) | (1n << 70n)), ask(), ALL).acknowledged, base);
});

test('header: 20 with HASH_REPORT, 12 with MRG or VERSION_1 or packed, else 10', (t) => {
  t.is(netHeaderSize(0n), 10);
  t.is(netHeaderSize(F.VIRTIO_NET_F_MRG_RXBUF), 12);
  t.is(netHeaderSize(F.VIRTIO_F_VERSION_1), 12);
  t.is(netHeaderSize(F.VIRTIO_F_RING_PACKED), 12);
  t.is(netHeaderSize(F.VIRTIO_NET_F_HASH_REPORT | F.VIRTIO_F_VERSION_1), 20);
});
