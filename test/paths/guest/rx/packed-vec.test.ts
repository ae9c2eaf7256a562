import test from 'ava';
import { destroyFixtureRegion } from '../../../support/guest-fixture.js';
import { checkRx } from './support/guest-model-rx.js';
import { testWithSimd } from '../../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

testWithSimd('virtio_recv_pkts_packed_vec: random sequences keep content, order, counters and mbufs', (t, isa) => {
  checkRx('virtio_recv_pkts_packed_vec', 1000, isa);
  t.pass();
});
