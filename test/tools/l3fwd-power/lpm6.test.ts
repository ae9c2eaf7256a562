/** IPv6 longest prefix match against a linear scan over the routes, at random addresses and where prefixes begin and end. */
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { Lpm6 } from '../../../tools/l3fwd-power/lpm6.js';
import { parseIpv6, type Route6 } from '../../../tools/l3fwd-power/routes.js';

const BITS = 128n;
const LAST = (1n << BITS) - 1n;

const numberOf = (bytes: Uint8Array) => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
const bytesOf = (address: bigint) => Uint8Array.from(Buffer.from(address.toString(16).padStart(32, '0'), 'hex'));

const sizeOf = ({ depth }: Route6) => 1n << (BITS - BigInt(depth));
const firstOf = (route: Route6) => numberOf(route.address) - (numberOf(route.address) % sizeOf(route));
const lastOf = (route: Route6) => firstOf(route) + sizeOf(route) - 1n;

/** The longest prefix wins, of equal ones the later one. */
function scan(routes: readonly Route6[], address: bigint): number {
  let best: Route6 | undefined;
  for (const route of routes) {
    const matches = address >= firstOf(route) && address <= lastOf(route);
    if (matches && (best === undefined || route.depth >= best.depth)) best = route;
  }
  return best?.port ?? -1;
}

/** Looks up amid other bytes: only the 16 from `at` on may count. */
function lookupIn(routes: readonly Route6[]): (address: bigint, at?: number) => number {
  const lpm = new Lpm6(Lpm6.build(routes));
  return (address, at = 3) => {
    const u8 = new Uint8Array(48).fill(0xa5);
    u8.set(bytesOf(address), at);
    return lpm.lookup(u8, at);
  };
}

const documentation = 0x20010db8n << 96n;
/** Addresses that have much in common, so that prefixes lie in each other. */
const addressArbitrary = fc.oneof(
  fc.bigInt({ min: 0n, max: LAST }),
  fc.bigInt({ min: 0n, max: 0xffn }).map((low) => documentation + low),
  fc.bigInt({ min: 0n, max: 0xffffn }).map((middle) => documentation + (middle << 72n)),
  fc.constantFrom(0n, 1n, LAST, LAST - 1n, 1n << 127n, (1n << 127n) - 1n, 1n << 112n),
);
const depthArbitrary = fc.oneof(fc.nat(128), fc.constantFrom(0, 1, 15, 16, 17, 23, 24, 25, 32, 48, 64, 127, 128));
const routeArbitrary: fc.Arbitrary<Route6> = fc.record({
  address: addressArbitrary.map(bytesOf),
  depth: depthArbitrary,
  port: fc.oneof(fc.nat(7), fc.nat(255)),
});
const routesArbitrary = fc.array(routeArbitrary, { maxLength: 40 });

/** The first and the last address of each prefix, and those beside them. */
function boundaries(routes: readonly Route6[]): bigint[] {
  const around = routes.flatMap((route) => [firstOf(route) - 1n, firstOf(route), lastOf(route), lastOf(route) + 1n]);
  return around.filter((address) => address >= 0n && address <= LAST);
}

test('routes of any depth, overlapping and repeated: the same as a scan, at any address and around each prefix', (t) => {
  fc.assert(
    fc.property(routesArbitrary, fc.array(addressArbitrary, { maxLength: 60 }), fc.nat(32), (routes, addresses, at) => {
      const lookup = lookupIn(routes);
      const own = routes.map((route) => numberOf(route.address));
      for (const address of [...addresses, ...boundaries(routes), ...own]) {
        assert.equal(lookup(address, at), scan(routes, address), address.toString(16));
      }
    }),
    { numRuns: 150 },
  );
  t.pass();
});

test('no routes; a default route, of port 0; a host route alone', (t) => {
  const address = parseIpv6('2001:db8::1')!;
  const addresses = [0n, numberOf(address), numberOf(address) + 1n, LAST];
  const ports = (routes: readonly Route6[]) => addresses.map((each) => lookupIn(routes)(each));
  t.deepEqual(ports([]), [-1, -1, -1, -1]);
  t.deepEqual(ports([{ address, depth: 0, port: 0 }]), [0, 0, 0, 0]);
  t.deepEqual(ports([{ address, depth: 128, port: 0 }]), [-1, 0, -1, -1]);
});

test('every depth from 0 to 128 at once, in any order: each address has the prefix that just holds it', (t) => {
  const whole = BigInt(`0x${'a5'.repeat(16)}`);
  const routes = Array.from({ length: 129 }, (_, depth) => ({ address: bytesOf(whole), depth, port: 100 + depth }));
  for (const order of [routes, [...routes].reverse(), routes.toSorted((a, b) => (a.depth % 7) - (b.depth % 7))]) {
    const lookup = lookupIn(order);
    t.is(lookup(whole), 228);
    for (let depth = 0; depth < 128; depth++) t.is(lookup(whole ^ (1n << BigInt(127 - depth))), 100 + depth);
  }
});

test('a route for a prefix that is there already replaces it, inside longer prefixes as outside', (t) => {
  const route = (text: string, depth: number, port: number) => ({ address: parseIpv6(text)!, depth, port });
  const lookup = lookupIn([
    ...[route('2001:db8::', 32, 1), route('2001:db8::80', 121, 2), route('2001:db8:ffff::', 32, 5)],
  ]);
  const port = (text: string) => lookup(numberOf(parseIpv6(text)!));
  t.deepEqual(['2001:db8::1', '2001:db8::81', '2001:db8:1::', '2001:db9::'].map(port), [5, 2, 5, -1]);
});

test('more routes than the tables have room for are an error that says how much they need, found before memory is taken', (t) => {
  // no two share a table below the second byte: 14 tables each
  const routes = Array.from({ length: 20000 }, (_, i) => {
    const address = new Uint8Array(16);
    address[0] = i >> 8;
    address[1] = i & 255;
    return { address, depth: 128, port: 1 };
  });
  t.throws(() => Lpm6.build(routes), {
    code: 'EMEMORY',
    message: '20000 IPv6 routes need 280000 tables of 1 KiB, and there is room for 262144: leave some out',
  });
});
