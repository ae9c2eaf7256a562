/** Where the headers of a packet are: packets built from their headers, cut anywhere, and bytes that are no packet. */
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import type { Mempool } from '../../paths/mempool.js';
import { PacketHeaders, parseHeaders } from '../../paths/packet-headers.js';
import { destroyFixtureRegion, GuestFixture, shape } from '../support/guest-fixture.js';
import { buildPacket, plainRecipe, recipeArbitrary, type Packet, type Recipe } from '../support/offload-packets.js';
import { differences, memoryOf, pieces, place, scramble } from '../support/offload-pool.js';

test.after.always(destroyFixtureRegion);

const etherTypes = { ipv4: 0x0800, ipv6: 0x86dd, arp: 0x0806 };

/** The headers of a packet of which the first segment has `length` bytes, as far as they are there in full. */
function expectedHeaders({ recipe, l2Len, l3Len, l4Len, protocol }: Packet, length: number): Partial<PacketHeaders> {
  if (length < l2Len) return { l3Len: 0, l4Len: 0 };
  const layer2 = { l2Len, etherType: etherTypes[recipe.l3] };
  if (length < l2Len + l3Len) return { ...layer2, l3Len: 0, l4Len: 0 };
  const fragment = l3Len > 0 && recipe.fragment !== 'none';
  const whole = protocol !== 0 && length >= l2Len + l3Len + l4Len;
  return { ...layer2, l3Len, l4Len: whole ? l4Len : 0, fragment, ...(protocol === 0 ? {} : { protocol }) };
}

/** What is found in `bytes`, of which the first segment holds `cut`, amid noise. */
function parsed(pool: Mempool, bytes: Uint8Array, cut: number, seed: number): PacketHeaders {
  scramble(pool, seed);
  const m = place(pool, pieces(bytes, [cut], pool.dataRoom));
  const before = memoryOf(pool);
  const found = new PacketHeaders();
  parseHeaders(pool, m, found);
  if (differences(pool, before).length > 0) throw new Error('parseHeaders wrote something');
  pool.free(m);
  return found;
}

function withPool(run: (pool: Mempool) => void): void {
  const fixture = new GuestFixture(shape('virtio_xmit_pkts', { mbufs: 16 }));
  run(fixture.pool);
  fixture.finish();
}

test('packets of every kind: tags, options, extension headers, fragments, and a first segment cut at any byte', (t) => {
  withPool((pool) => {
    const cut = fc.oneof(fc.constant(2000), fc.nat({ max: 200 }));
    fc.assert(
      fc.property(recipeArbitrary(300), cut, fc.nat(), (recipe, first, seed) => {
        const packet = buildPacket(recipe);
        const length = Math.min(Math.max(first, 1), packet.bytes.length);
        const found = parsed(pool, packet.bytes, length, seed);
        const expected = expectedHeaders(packet, length);
        assert.deepEqual({ ...found }, { ...found, ...expected });
      }),
      { numRuns: 2000 },
    );
  });
  t.pass();
});

test('the same packet that ends at any byte: no header is found that is not there in full', (t) => {
  const recipe: Recipe = { ...plainRecipe, tags: [0x88a8, 0x8100], ipOptions: 2, tcpOptions: 3, payload: 1 };
  const ipv6: Partial<Recipe> = { l3: 'ipv6', extensions: [['hop-by-hop', 2] as const, ['destination', 1] as const] };
  withPool((pool) => {
    for (const each of [recipe, { ...recipe, ...ipv6 }, { ...recipe, l4: 'udp' as const }]) {
      const packet = buildPacket(each);
      for (let length = 1; length <= packet.bytes.length; length++) {
        const found = parsed(pool, packet.bytes.subarray(0, length), length, length);
        t.like(found, expectedHeaders(packet, length), `${each.l3} ${each.l4}, ${length} bytes`);
      }
    }
  });
});

test('extension headers: behind the fifth nothing is looked for', (t) => {
  withPool((pool) => {
    const look = (count: number) => {
      const extensions = Array.from({ length: count }, () => ['destination', 1] as const);
      const { bytes } = buildPacket({ ...plainRecipe, l3: 'ipv6', extensions });
      return parsed(pool, bytes, bytes.length, count);
    };
    t.like(look(5), { l3Len: 80, protocol: 6, l4Len: 20 });
    t.like(look(6), { l3Len: 80, protocol: 60, l4Len: 0 });
  });
});

test('an object used again keeps nothing of the packet before', (t) => {
  withPool((pool) => {
    const found = new PacketHeaders();
    const look = (bytes: Uint8Array) => {
      const m = place(pool, [bytes]);
      parseHeaders(pool, m, found);
      pool.free(m);
      return { ...found };
    };
    look(buildPacket({ ...plainRecipe, tags: [0x8100], fragment: 'first' }).bytes);
    look(buildPacket(plainRecipe).bytes);
    t.deepEqual(look(new Uint8Array(10)), { ...new PacketHeaders() });
  });
});

test('bytes that are no packet, and packets with bytes changed: what is found lies in the segment, whatever is around it', (t) => {
  const noisy = fc.tuple(
    recipeArbitrary(60),
    fc.array(fc.tuple(fc.nat({ max: 120 }), fc.nat({ max: 255 })), { maxLength: 4 }),
  );
  const broken = noisy.map(([recipe, changes]) => {
    const { bytes } = buildPacket(recipe);
    for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
    return bytes;
  });
  const bytesArbitrary = fc.oneof(broken, fc.uint8Array({ minLength: 1, maxLength: 200 }));
  withPool((pool) => {
    fc.assert(
      fc.property(bytesArbitrary, fc.integer({ min: 1, max: 200 }), fc.nat(), fc.nat(), (bytes, cut, a, b) => {
        const first = Math.min(cut, bytes.length);
        const found = parsed(pool, bytes, first, a);
        assert.deepEqual(found, parsed(pool, bytes, first, b));
        assert(found.l2Len + found.l3Len + found.l4Len <= first);
        assert(found.l4Len === 0 || (found.l3Len > 0 && !found.fragment));
        assert(found.l3Len === 0 || found.l3Len >= (found.etherType === 0x0800 ? 20 : 40));
      }),
      { numRuns: 2000 },
    );
  });
  t.pass();
});

test('header lengths that cannot be: IPv4 below 20 bytes or of another version, TCP below 20 or beyond the end', (t) => {
  withPool((pool) => {
    const { bytes, l2Len, l3Len } = buildPacket({ ...plainRecipe, payload: 30 });
    const look = (at: number, value: number) => {
      const changed = bytes.slice();
      changed[at] = value;
      return parsed(pool, changed, changed.length, value);
    };
    for (const first of [0x40, 0x44, 0x65, 0x05]) t.like(look(l2Len, first), { l3Len: 0, l4Len: 0 });
    for (const words of [0x00, 0x40]) t.like(look(l2Len + l3Len + 12, words), { l3Len: 20, l4Len: 0 });
    t.like(look(l2Len + l3Len + 12, 0xc0), { l4Len: 48 });
    t.like(look(l2Len + l3Len + 12, 0xd0), { l4Len: 0 }); // 52 bytes where 50 are left
  });
});
