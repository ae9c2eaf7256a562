import test from 'ava';
import { destroyFixtureRegion } from '../../../support/guest-fixture.js';
import { checkRx } from './support/guest-model-rx.js';

test.after.always(destroyFixtureRegion);

test('virtio_recv_pkts_packed: random sequences keep content, order, counters and mbufs', (t) => {
  checkRx('virtio_recv_pkts_packed', 1000);
  t.pass();
});
