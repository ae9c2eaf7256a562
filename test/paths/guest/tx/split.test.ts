import test from 'ava';
import { destroyFixtureRegion } from '../../../support/guest-fixture.js';
import { checkTx } from './support/guest-model-tx.js';

test.after.always(destroyFixtureRegion);

test('virtio_xmit_pkts: random sequences keep content, order, counters and mbufs', (t) => {
  checkTx('virtio_xmit_pkts', 1000);
  t.pass();
});
