/** The SIMD code of every instruction set that this CPU has, against the scalar paths. */
import test from 'ava';
import { helperStatus } from '../../../native/helper.js';
import { requirePeer } from '../../support/peers.js';
import { testSimd } from './support/suite.js';

const { isas, lacking, reason } = helperStatus();

test('the native helper is there', (t) => {
  for (const { isa, why } of lacking) t.log(`${isa}: ${why}`);
  if (reason !== '') requirePeer(t, 'cc', reason);
  else t.true(isas.length > 0);
});

for (const isa of isas) testSimd(isa);
