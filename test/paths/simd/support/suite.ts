/** The tests of the SIMD code of one instruction set, against the scalar paths. Whoever calls this has chosen the native helper before. */
import test from 'ava';
import fc from 'fast-check';
import type { SimdIsa } from '../../../../native/helper.js';
import { destroyFixtureRegion } from '../../../support/guest-fixture.js';
import { runRxLockstep, rxStepsArbitrary } from './rx.js';
import { vectorShapeArbitrary } from './shapes.js';
import { sweep, sweepLies } from './sweep.js';
import { runTxLockstep, txStepsArbitrary } from './tx.js';

/** Lets the events of the tests before this one out. */
const breathe = () => new Promise((resolve) => setImmediate(resolve));

const paths = ['virtio_recv_pkts_vec', 'virtio_recv_pkts_packed_vec', 'virtio_xmit_pkts_packed_vec'] as const;

/** @param numRuns random lives */
export function testSimd(isa: SimdIsa, numRuns = 1000): void {
  const parameters = { numRuns, includeErrorInReport: true };
  for (const path of paths) {
    test.serial(`${path}, ${isa}: random lives go as those of the scalar path, byte for byte`, async (t) => {
      await breathe();
      const shapes = vectorShapeArbitrary(path, isa);
      if (path.startsWith('virtio_xmit')) fc.assert(fc.property(shapes, txStepsArbitrary, runTxLockstep), parameters);
      else fc.assert(fc.property(shapes, rxStepsArbitrary, runRxLockstep), parameters);
      t.pass();
    });

    test.serial(`${path}, ${isa}: each burst size at each position of small rings, in both laps`, async (t) => {
      await breathe();
      t.true(sweep(path, isa) > 0);
    });

    test.serial(`${path}, ${isa}: each lie in each place of a batch has the outcome that it has there`, async (t) => {
      await breathe();
      t.true(sweepLies(path, isa) > 0);
    });
  }
}

test.after.always(destroyFixtureRegion);
