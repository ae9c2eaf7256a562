/** RFC 1071 sums over arrays and over packets in pieces, against a loop over all their bytes. */
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { checksumOf, fold, packetSum, pseudoSum4, pseudoSum6, rawSum } from '../../paths/checksum.js';
import { destroyFixtureRegion, GuestFixture, shape } from '../support/guest-fixture.js';
import { differences, memoryOf, pieces, place, scramble } from '../support/offload-pool.js';
import { checksum, onesSum, pseudoHeader } from '../support/offload-reference.js';

test.after.always(destroyFixtureRegion);

const bytesArbitrary = (most: number) =>
  fc.oneof(
    fc.uint8Array({ minLength: 0, maxLength: most }),
    fc.nat({ max: most }).map((length) => new Uint8Array(length).fill(0xff)), // the most carries
  );

test('the example of RFC 1071', (t) => {
  const bytes = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  t.is(fold(rawSum(bytes, 0, 8)), 0xddf2);
  t.is(checksumOf(0xddf2), 0x220d);
});

test('rawSum and fold: any part of an array, odd ones too, with a sum to begin with', (t) => {
  fc.assert(
    fc.property(
      bytesArbitrary(300),
      fc.nat({ max: 300 }),
      fc.nat({ max: 300 }),
      fc.nat({ max: 0xffff }),
      (u8, a, b, start) => {
        const from = Math.min(a, b, u8.length);
        const to = Math.min(Math.max(a, b), u8.length);
        const words = [start >> 8, start & 0xff, ...u8.subarray(from, to)];
        assert.equal(fold(rawSum(u8, from, to, start)), onesSum(words));
      },
    ),
  );
  t.pass();
});

test('64 KiB of ones: the sum neither overflows nor loses a carry', (t) => {
  const bytes = new Uint8Array(65536).fill(0xff);
  t.is(fold(rawSum(bytes, 0, bytes.length)), onesSum(bytes));
  t.is(fold(rawSum(bytes, 1, bytes.length)), onesSum(bytes.subarray(1)));
});

test('checksumOf: what is checked with it comes to 0xffff, and it is never 0', (t) => {
  fc.assert(
    fc.property(bytesArbitrary(100), (bytes) => {
      const sum = checksumOf(fold(rawSum(bytes, 0, bytes.length)));
      assert.equal(sum, checksum(bytes));
      assert.notEqual(sum, 0);
      assert.equal(onesSum([sum >> 8, sum & 0xff, ...bytes]), 0xffff);
    }),
  );
  t.pass();
});

test('packetSum: from any byte on, over segments of any length, odd ones and empty ones in the middle', (t) => {
  const fixture = new GuestFixture(shape('virtio_xmit_pkts'));
  const { pool } = fixture;
  const cuts = fc.array(fc.nat({ max: 90 }), { maxLength: 12 });
  fc.assert(
    fc.property(bytesArbitrary(900), cuts, fc.nat({ max: 1000 }), fc.nat(), (bytes, sizes, from, seed) => {
      scramble(pool, seed);
      const m = place(pool, pieces(bytes, sizes, pool.dataRoom));
      const before = memoryOf(pool);
      assert.equal(packetSum(pool, m, from), onesSum(bytes.subarray(Math.min(from, bytes.length))));
      assert.deepEqual(differences(pool, before), []);
      pool.free(m);
    }),
    { numRuns: 300 },
  );
  fixture.finish();
  t.pass();
});

test('pseudo headers: IPv4 and IPv6, TCP and UDP, every length that a packet or a TSO packet can have', (t) => {
  const header = fc.uint8Array({ minLength: 48, maxLength: 48 });
  const length = fc.oneof(fc.nat({ max: 65535 }), fc.integer({ min: 65536, max: 66000 }));
  fc.assert(
    fc.property(header, fc.nat({ max: 8 }), fc.constantFrom(6, 17), length, (bytes, at, protocol, bytesBehind) => {
      const short = Math.min(bytesBehind, 65535);
      bytes[at] = 0x45;
      assert.equal(fold(pseudoSum4(bytes, at, protocol, short)), onesSum(pseudoHeader(bytes, at, protocol, short)));
      bytes[at] = 0x60;
      assert.equal(
        fold(pseudoSum6(bytes, at, protocol, bytesBehind)),
        onesSum(pseudoHeader(bytes, at, protocol, bytesBehind)),
      );
    }),
  );
  t.pass();
});
