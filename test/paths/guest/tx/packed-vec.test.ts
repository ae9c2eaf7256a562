import test from 'ava';
import { destroyFixtureRegion } from '../../../support/guest-fixture.js';
import { checkTx } from './support/guest-model-tx.js';
import { testWithSimd } from '../../../support/simd-here.js';

test.after.always(destroyFixtureRegion);

testWithSimd('virtio_xmit_pkts_packed_vec: random sequences keep content, order, counters and mbufs', (t, isa) => {
  checkTx('virtio_xmit_pkts_packed_vec', 1000, isa);
  t.pass();
});
