/** What is asked for of packets that are sent, on every Tx path: the net header, and what `prepare` does to the packet. */
import fc from 'fast-check';
import test from 'ava';
import type { SimdIsa } from '../../../../native/helper.js';
import type { TxPathName } from '../../../../paths/guest/queue.js';
import { destroyFixtureRegion, shape, type Shape } from '../../../support/guest-fixture.js';
import { testWithSimd } from '../../../support/simd-here.js';
import { buildPacket, offloadableArbitrary, plainRecipe, recipeArbitrary } from '../../../support/offload-packets.js';
import {
  nearRequestArbitrary,
  requestFor,
  runHeaders,
  runPrepare,
  sendingArbitrary,
  termsArbitrary,
  txShapeArbitrary,
  wildRequestArbitrary,
} from './support/offload-tx.js';

test.after.always(destroyFixtureRegion);

const paths: TxPathName[] = ['virtio_xmit_pkts', 'virtio_xmit_pkts_inorder', 'virtio_xmit_pkts_packed'];

const anyPacket = recipeArbitrary(1500).map(buildPacket);
const anything = sendingArbitrary(anyPacket, () => wildRequestArbitrary);
const nearlyTrue = sendingArbitrary(offloadableArbitrary(1500), nearRequestArbitrary);
const sending = fc.oneof(anything, nearlyTrue);

function checkHeaders(path: TxPathName, more: Partial<Shape> = {}): void {
  const bursts = fc.array(fc.array(sending, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 });
  const property = fc.property(txShapeArbitrary(path, more), termsArbitrary, bursts, fc.nat(), runHeaders);
  fc.assert(property, { numRuns: 200, includeErrorInReport: true });
}

function checkPrepare(path: TxPathName, more: Partial<Shape> = {}): void {
  const burst = fc.array(fc.oneof({ weight: 3, arbitrary: nearlyTrue }, { weight: 1, arbitrary: anything }), {
    minLength: 1,
    maxLength: 5,
  });
  const property = fc.property(txShapeArbitrary(path, more), termsArbitrary, burst, fc.nat(), runPrepare);
  fc.assert(property, { numRuns: 400, includeErrorInReport: true });
}

const HEADERS =
  'each header says what its packet asks for, nothing that was not negotiated, and nothing of the one before';
const PREPARE =
  'prepare writes tags and sums of pseudo headers as the reference does, refuses the rest, and touches nothing else';

for (const path of paths) {
  test(`${path}: ${HEADERS}`, (t) => {
    checkHeaders(path);
    t.pass();
  });

  test(`${path}: ${PREPARE}`, (t) => {
    checkPrepare(path);
    t.pass();
  });
}

testWithSimd(`virtio_xmit_pkts_packed_vec: ${HEADERS}`, (t, simd: SimdIsa) => {
  checkHeaders('virtio_xmit_pkts_packed_vec', { simd });
  t.pass();
});

testWithSimd(`virtio_xmit_pkts_packed_vec: ${PREPARE}`, (t, simd: SimdIsa) => {
  checkPrepare('virtio_xmit_pkts_packed_vec', { simd });
  t.pass();
});

test('prepare: a first segment that ends at any byte of the headers, TCP, UDP and TSO, IPv4 and IPv6', (t) => {
  const terms = { csum: true, tso: true };
  const queue = shape('virtio_xmit_pkts', { mbufs: 8 });
  for (const l3 of ['ipv4', 'ipv6'] as const) {
    for (const l4 of ['tcp', 'udp'] as const) {
      const packet = buildPacket({ ...plainRecipe, l3, l4, tcpOptions: 2 });
      const headers = packet.l2Len + packet.l3Len + packet.l4Len;
      for (const request of [requestFor(packet), requestFor(packet, l4 === 'tcp' ? 50 : 0, 7)]) {
        for (let first = 14; first <= headers + 1; first++) {
          runPrepare(queue, terms, [{ recipe: packet.recipe, request, cuts: [first], cramped: false }], first);
        }
      }
    }
  }
  t.pass();
});
