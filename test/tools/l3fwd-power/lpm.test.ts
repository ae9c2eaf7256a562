/** IPv4 longest prefix match against a linear scan over the routes, at random addresses and where prefixes begin and end. */
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import { Lpm4 } from '../../../tools/l3fwd-power/lpm4.js';
import type { Route4 } from '../../../tools/l3fwd-power/routes.js';

const lookupIn = (routes: readonly Route4[]) => {
  const lpm = new Lpm4(Lpm4.build(routes));
  return (address: number) => lpm.lookup(address);
};

const firstOf = ({ address, depth }: Route4) => address - (address % 2 ** (32 - depth));
const lastOf = (route: Route4) => firstOf(route) + 2 ** (32 - route.depth) - 1;

/** The longest prefix wins, of equal ones the later one. */
function scan(routes: readonly Route4[], address: number): number {
  let best: Route4 | undefined;
  for (const route of routes) {
    const matches = address >= firstOf(route) && address <= lastOf(route);
    if (matches && (best === undefined || route.depth >= best.depth)) best = route;
  }
  return best?.port ?? -1;
}

/** Addresses that have much in common, so that prefixes lie in each other. */
const addressArbitrary = fc.oneof(
  fc.nat(0xffffffff),
  fc.nat(0xff).map((low) => 0x0a000000 + low),
  fc.nat(0xffff).map((low) => 0xc6120000 + low),
  fc.constantFrom(0, 0xffffffff, 0x7fffffff, 0x80000000, 0xffffff00, 0xff),
);
const depthArbitrary = fc.oneof(fc.nat(32), fc.integer({ min: 22, max: 32 }));
const routeArbitrary: fc.Arbitrary<Route4> = fc.record({
  address: addressArbitrary,
  depth: depthArbitrary,
  port: fc.oneof(fc.nat(7), fc.nat(255)),
});
const routesArbitrary = fc.array(routeArbitrary, { maxLength: 40 });

/** The first and the last address of each prefix, and those beside them. */
function boundaries(routes: readonly Route4[]): number[] {
  const around = routes.flatMap((route) => [firstOf(route) - 1, firstOf(route), lastOf(route), lastOf(route) + 1]);
  return around.filter((address) => address >= 0 && address <= 0xffffffff);
}

test('routes of any depth, overlapping and repeated: the same as a scan, at any address and around each prefix', (t) => {
  fc.assert(
    fc.property(routesArbitrary, fc.array(addressArbitrary, { maxLength: 200 }), (routes, addresses) => {
      const lookup = lookupIn(routes);
      for (const address of [...addresses, ...boundaries(routes), ...routes.map((route) => route.address)]) {
        assert.equal(lookup(address), scan(routes, address), `0x${address.toString(16)}`);
      }
    }),
    { numRuns: 120 },
  );
  t.pass();
});

test('an address is the same number with a sign and without', (t) => {
  const lookup = lookupIn([
    { address: 0x80000000, depth: 1, port: 3 },
    { address: 0xffffffff, depth: 32, port: 4 },
  ]);
  for (const address of [0x7fffffff, 0x80000000, 0xc0a80001, 0xfffffffe, 0xffffffff]) {
    t.is(lookup(address | 0), lookup(address));
  }
  t.deepEqual([0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff].map(lookup), [-1, 3, 3, 4]);
});

test('no routes; a default route, of port 0; a host route alone', (t) => {
  const addresses = [0, 1, 0x0a000001, 0xffffffff];
  t.deepEqual(addresses.map(lookupIn([])), [-1, -1, -1, -1]);
  t.deepEqual(addresses.map(lookupIn([{ address: 0x01020304, depth: 0, port: 0 }])), [0, 0, 0, 0]);
  t.deepEqual(addresses.map(lookupIn([{ address: 0x0a000001, depth: 32, port: 0 }])), [-1, -1, 0, -1]);
});

test('every depth from 0 to 32 at once, in any order: each address has the prefix that just holds it', (t) => {
  const whole = 0xa5a5a5a5;
  const routes = Array.from({ length: 33 }, (_, depth) => ({ address: whole, depth, port: 100 + depth }));
  for (const order of [routes, [...routes].reverse(), routes.toSorted((a, b) => (a.depth % 7) - (b.depth % 7))]) {
    const lookup = lookupIn(order);
    t.is(lookup(whole), 132);
    for (let depth = 0; depth < 32; depth++) {
      const differing = (whole ^ (1 << (31 - depth))) >>> 0; // the first bit that differs is that behind `depth`
      t.is(lookup(differing), 100 + depth);
    }
  }
});

test('a route for a prefix that is there already replaces it, inside longer prefixes as outside', (t) => {
  const before: Route4[] = [
    { address: 0x0a000000, depth: 8, port: 1 },
    { address: 0x0a000080, depth: 25, port: 2 },
  ];
  const lookup = lookupIn([...before, { address: 0x0a123456, depth: 8, port: 5 }]);
  t.deepEqual([0x0a000001, 0x0a000081, 0x0affffff, 0x0b000000].map(lookup), [5, 2, 5, -1]);
});

test('one handle on each lcore: tables that are shared answer alike', (t) => {
  const shared = Lpm4.build([{ address: 0x0a000000, depth: 30, port: 9 }]);
  t.true(shared instanceof SharedArrayBuffer);
  t.is(new Lpm4(shared).lookup(0x0a000003), new Lpm4(shared).lookup(0x0a000000));
});

test('32768 networks of /24 with longer prefixes in them fit, one more is an error that says so', (t) => {
  const deep = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ address: i * 256 + 7, depth: 32, port: i & 255 }));
  const lookup = lookupIn(deep(32768));
  t.deepEqual(
    [0, 1, 255, 32767].map((i) => lookup(i * 256 + 7)),
    [0, 1, 255, 255],
  );
  t.is(lookup(32767 * 256 + 8), -1);
  t.throws(() => Lpm4.build(deep(32769)), {
    code: 'EMEMORY',
    message: 'the routes longer than /24 lie in 32769 networks of /24, and there is room for 32768: leave some out',
  });
});
