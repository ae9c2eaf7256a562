/** The back-end's copies: every length and alignment around the places where another way of copying begins. */
import test from 'ava';
import fc from 'fast-check';
import { createRegion, destroyRegion, viewsOf } from '../../../native/region.js';
import { copierOf, MEMCPY_FROM } from '../../../paths/device/copy.js';

const from = createRegion('copy-from', 65536, false);
const to = createRegion('copy-to', 65536, false);
test.after.always(() => [from, to].forEach(destroyRegion));

test('what is copied arrives, and nothing around it changes, at every alignment and length', (t) => {
  const [source, destination] = [viewsOf(from), viewsOf(to)];
  const copy = copierOf(destination, source);
  for (let i = 0; i < source.u8.length; i++) source.u8[i] = (i * 31 + (i >> 8)) & 0xff;
  const length = fc.oneof(
    fc.integer({ min: 0, max: 80 }),
    fc.integer({ min: MEMCPY_FROM - 2, max: MEMCPY_FROM + 2 }),
    fc.integer({ min: 0, max: 9728 }),
  );
  const offset = fc.integer({ min: 64, max: 40_000 });
  fc.assert(
    fc.property(offset, offset, length, (d, s, n) => {
      destination.u8.fill(0x5a, d - 64, d + n + 64);
      copy(d, s, n);
      const around = Buffer.from(destination.u8.slice(d - 64, d + n + 64));
      const expected = Buffer.alloc(n + 128, 0x5a);
      expected.set(source.u8.subarray(s, s + n), 64);
      return around.equals(expected);
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
