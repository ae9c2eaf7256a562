/** The SIMD code of every instruction set that this CPU has, against the scalar paths. */
import { helperStatus } from '../../../native/helper.js';
import { needs } from '../../support/needs.js';
import { testSimd } from './support/suite.js';

const { isas, lacking, reason } = helperStatus();

needs(reason)('the native helper is there', (t) => {
  for (const { isa, why } of lacking) t.log(`${isa}: ${why}`);
  t.true(isas.length > 0);
});

for (const isa of isas) testSimd(isa);
