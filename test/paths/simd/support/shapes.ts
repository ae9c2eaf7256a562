/** Random rings for the tests of the SIMD code: every header, size and start that a vectorized path may meet. */
import fc from 'fast-check';
import type { SimdIsa } from '../../../../native/helper.js';
import { shape } from '../../../support/guest-fixture.js';
import type { VectorPathName, VectorShape } from './lockstep.js';

const splitSizes = [2, 4, 8, 16, 32, 64, 256];
const packedSizes = [2, 3, 5, 7, 8, 16, 17, 33, 64, 255, 256];

export function vectorShapeArbitrary(path: VectorPathName, simd: SimdIsa): fc.Arbitrary<VectorShape> {
  const packed = path.includes('_packed');
  const tx = path.startsWith('virtio_xmit');
  return fc
    .record({
      size: fc.constantFrom(...(packed ? packedSizes : splitSizes)),
      hdrSize: fc.constantFrom(...(packed ? [12, 12, 20] : [10, 12, 20])),
      inOrder: fc.boolean(),
      indirect: fc.boolean(),
      eventIdx: fc.boolean(),
      vlanStrip: fc.boolean(),
      reserve: fc.oneof(fc.constant(0), fc.nat({ max: 255 })),
      freeThresh: fc.integer({ min: 1, max: 40 }),
      index: fc.nat({ max: 65535 }),
      nearWrap: fc.boolean(),
      wrap: fc.constantFrom(0, 1),
      dataRoom: fc.constantFrom(64, 256, 256, 2048),
      headroom: fc.constantFrom(20, 22, 128, 129),
      plenty: fc.oneof({ weight: 3, arbitrary: fc.constant(200) }, { weight: 1, arbitrary: fc.nat({ max: 200 }) }),
      cacheSize: fc.constantFrom(1, 5, 32, 64, 250),
      lcoreId: fc.constantFrom(0, 1, 127),
      threshold: fc.constantFrom(0, 1, 1, 3, undefined),
    })
    .map(({ reserve, index, nearWrap, wrap, plenty, ...pick }) => {
      const { size } = pick;
      const at = packed ? index % size : nearWrap ? 65535 - (index % 4) : index;
      return {
        ...shape(path),
        ...pick,
        path,
        simd,
        inOrder: tx || (packed && pick.inOrder),
        vlanStrip: packed && !tx && pick.vlanStrip,
        nbDesc: Math.max(2, size - (reserve % size)),
        freeThresh: Math.min(pick.freeThresh, size - 1),
        start: { index: at, wrap: packed ? wrap : 0 },
        // sometimes too few for the ring
        mbufs: tx ? 8 + 3 * plenty : (plenty < 100 ? size >> 1 : size) + plenty,
      };
    });
}
