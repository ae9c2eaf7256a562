/**
 * What devices say of received packets, on every Rx path that takes such queues: true headers, lies, and bytes that are no
 * packet.
 */
import fc from 'fast-check';
import test from 'ava';
import type { SimdIsa } from '../../../../native/helper.js';
import type { RxPathName } from '../../../../paths/guest/queue.js';
import { destroyFixtureRegion, type Shape } from '../../../support/guest-fixture.js';
import { testWithSimd } from '../../../support/simd-here.js';
import { deliveryArbitrary, runRxOffload, rxShapeArbitrary, rxTermsArbitrary } from './support/offload-rx.js';

test.after.always(destroyFixtureRegion);

const paths: [title: string, path: RxPathName, more: Partial<Shape>][] = [
  ['', 'virtio_recv_pkts', {}],
  ['', 'virtio_recv_mergeable_pkts', {}],
  [' mergeable', 'virtio_recv_pkts_inorder', { mergeable: true }],
  [' non-mergeable', 'virtio_recv_pkts_inorder', { mergeable: false }],
  ['', 'virtio_recv_pkts_packed', {}],
  [' in order', 'virtio_recv_pkts_packed', { inOrder: true }],
  ['', 'virtio_recv_mergeable_pkts_packed', {}],
  [' in order', 'virtio_recv_mergeable_pkts_packed', { inOrder: true }],
];

const TITLE =
  'any header with any packet gives what the reference says, and no byte beside the packet is read or written';

function check(path: RxPathName, more: Partial<Shape>): void {
  const deliveries = fc.array(deliveryArbitrary(2300), { minLength: 1, maxLength: 8 });
  fc.assert(fc.property(rxShapeArbitrary(path, more), rxTermsArbitrary, deliveries, fc.nat(), runRxOffload), {
    numRuns: 300,
    includeErrorInReport: true,
  });
}

for (const [suffix, path, more] of paths) {
  test(`${path}${suffix}: ${TITLE}`, (t) => {
    check(path, more);
    t.pass();
  });
}

testWithSimd(`virtio_recv_pkts_packed_vec: ${TITLE}`, (t, simd: SimdIsa) => {
  check('virtio_recv_pkts_packed_vec', { simd });
  t.pass();
});
