/** One packet through the router, against a slow reference that recomputes whole checksums: all of the mempool's memory is compared. */
import assert from 'node:assert/strict';
import test from 'ava';
import fc from 'fast-check';
import type { Mempool } from '../../../paths/mempool.js';
import {
  createForwardCounters,
  droppedOf,
  FORWARD_COUNTERS,
  readForwardCounters,
  type ForwardCounts,
} from '../../../tools/l3fwd-power/forward-counters.js';
import { openForwarder, type Forward, type ForwardPort } from '../../../tools/l3fwd-power/forward-packet.js';
import { Lpm4 } from '../../../tools/l3fwd-power/lpm4.js';
import { Lpm6 } from '../../../tools/l3fwd-power/lpm6.js';
import { parseRoutes } from '../../../tools/l3fwd-power/routes.js';
import { destroyFixtureRegion, GuestFixture, shape } from '../../support/guest-fixture.js';
import { buildPacket, plainRecipe, recipeArbitrary, type Packet, type Recipe } from '../../support/offload-packets.js';
import { differences, locate, memoryOf, pieces, place, scramble } from '../../support/offload-pool.js';
import { get16, get32, onesSum, put16, put32 } from '../../support/offload-reference.js';

test.after.always(destroyFixtureRegion);

type Outcome = keyof ForwardCounts;

const port = (id: number): ForwardPort => ({
  mac: Uint8Array.of(0x52, 0x54, 0, 0, 1, id),
  destination: Uint8Array.of(2, 0, 0, 0, 0, id),
});
/** Ids with gaps, in no order: the slots of the counters are 0, 1 and 2. */
const ports = new Map([5, 0, 3].map((id) => [id, port(id)]));
const slots = [...ports.keys()];

/** The last row of each family leads to a port that is not enabled. */
const routes = parseRoutes(
  ['10.0.0.0/8 0', '10.1.0.0/16 3', '10.1.2.3/32 5', '20.0.0.0/8 4']
    .concat(['2001:db8::/32 0', '2001:db8:1::/48 3', '2001:db8:1::7/128 5', '2002::/16 9'])
    .join('\n'),
  'routes',
);
const tables = { lpm4: new Lpm4(Lpm4.build(routes.ipv4)), lpm6: new Lpm6(Lpm6.build(routes.ipv6)) };

const ipv4Addresses = ['10.0.0.1', '10.1.255.255', '10.1.2.3', '10.1.2.4', '20.0.0.1', '9.255.255.255', '11.0.0.0'];
const localIpv4 = ['224.0.0.1', '239.255.255.255', '255.255.255.255', '169.254.0.1'];
const nearlyLocalIpv4 = ['223.255.255.255', '240.0.0.0', '255.255.255.254', '169.253.255.255', '169.255.0.0'];
const ipv6Addresses = ['2001:db8::1', '2001:db8:1::8', '2001:db8:1::7', '2002::1', '2003::', '::'];
const localIpv6 = ['ff02::1', 'ff00::', 'fe80::1', 'febf::'];
const nearlyLocalIpv6 = ['feff::', 'fec0::', 'fe7f::'];

const firstRoute4 = (text: string) => parseRoutes(`${text}/32 0`, '').ipv4[0]!.address;
const firstRoute6 = (text: string) => parseRoutes(`${text}/128 0`, '').ipv6[0]!.address;

// ---- the reference -------------------------------------------------------------------------------------------------

interface Expected {
  readonly outcomes: readonly Outcome[];
  readonly out: number;
  readonly bytes: Uint8Array;
}

/** What becomes of a packet of which the first segment has `first` bytes. */
function reference(packet: Uint8Array, first: number, inPort: number): Expected {
  const dropped = (outcome: Outcome): Expected => ({ outcomes: [outcome], out: -1, bytes: packet });
  if (first < 14) return dropped('malformed');
  const type = get16(packet, 12);
  if (type === 0x0806) return dropped('arp');
  if (type === 0x8100 || type === 0x88a8) return dropped('vlan');
  if (type !== 0x0800 && type !== 0x86dd) return dropped('other');
  const ip = packet.subarray(14);
  const found = type === 0x0800 ? referenceIpv4(ip, first - 14) : referenceIpv6(ip, first - 14);
  if (typeof found === 'string') return dropped(found);

  const known = found.port !== undefined && ports.has(found.port);
  const out = known ? found.port! : inPort;
  const { mac, destination } = ports.get(out)!;
  const bytes = Uint8Array.from([...destination, ...mac, ...packet.subarray(12, 14), ...found.ip]);
  const forwarded = type === 0x0800 ? ('ipv4' as const) : ('ipv6' as const);
  return { outcomes: known ? [forwarded] : [forwarded, 'noRoute'], out, bytes };
}

type Routed = { readonly ip: Uint8Array; readonly port: number | undefined };

function referenceIpv4(ip: Uint8Array, first: number): Routed | Outcome {
  if (first < 20 || ip[0]! >> 4 !== 4) return 'malformed';
  const header = (ip[0]! & 15) * 4;
  if (header < 20 || header > first) return 'malformed';
  const total = get16(ip, 2);
  if (total < header || total > ip.length) return 'malformed';
  if (onesSum(ip.subarray(0, header)) % 0xffff !== 0) return 'malformed';
  const address = get32(ip, 16);
  if (ip[16]! >= 224 && ip[16]! <= 239) return 'local';
  if (address === 0xffffffff || (ip[16] === 169 && ip[17] === 254)) return 'local';
  if (ip[8]! <= 1) return 'ttl';
  const copy = ip.slice();
  copy[8]!--;
  put16(copy, 10, 0);
  put16(copy, 10, 0xffff - onesSum(copy.subarray(0, header)));
  const matching = routes.ipv4.filter((route) => (address - route.address) >>> (32 - route.depth) === 0);
  const inside = matching.filter((route) => route.depth < 32 || route.address === address);
  return { ip: copy, port: inside.sort((a, b) => b.depth - a.depth)[0]?.port };
}

function referenceIpv6(ip: Uint8Array, first: number): Routed | Outcome {
  if (first < 40 || ip[0]! >> 4 !== 6 || 40 + get16(ip, 4) > ip.length) return 'malformed';
  if (ip[24] === 0xff || (ip[24] === 0xfe && ip[25]! >= 0x80 && ip[25]! <= 0xbf)) return 'local';
  if (ip[7]! <= 1) return 'ttl';
  const copy = ip.slice();
  copy[7]!--;
  const text = Buffer.from(ip.subarray(24, 40)).toString('hex');
  const matching = routes.ipv6.filter(({ address, depth }) =>
    text.startsWith(
      Buffer.from(address)
        .toString('hex')
        .slice(0, depth / 4),
    ),
  );
  return { ip: copy, port: matching.sort((a, b) => b.depth - a.depth)[0]?.port };
}

// ---- packets -------------------------------------------------------------------------------------------------------

/** A copy with the IPv4 header's checksum made right for what is in it now. */
function withRightChecksum(bytes: Uint8Array, l3 = 14): Uint8Array {
  const copy = bytes.slice();
  put16(copy, l3 + 10, 0);
  put16(copy, l3 + 10, 0xffff - onesSum(copy.subarray(l3, l3 + (copy[l3]! & 15) * 4)));
  return copy;
}

function addressed({ recipe, bytes, l2Len }: Packet, ttl: number, destination: string): Uint8Array {
  const copy = bytes.slice();
  if (recipe.l3 === 'ipv6') {
    copy[l2Len + 7] = ttl;
    copy.set(firstRoute6(destination), l2Len + 24);
    return copy;
  }
  copy[l2Len + 8] = ttl;
  put32(copy, l2Len + 16, firstRoute4(destination));
  return withRightChecksum(copy, l2Len);
}

const packetOf = (recipe: Partial<Recipe>, destination: string, ttl = 64) =>
  addressed(buildPacket({ ...plainRecipe, ...recipe }), ttl, destination);

const ttlArbitrary = fc.oneof(fc.constantFrom(0, 1, 2, 64, 255), fc.nat(255));
const tagsArbitrary = fc.constantFrom<readonly number[]>([], [], [], [], [], [0x8100], [0x88a8, 0x8100]);

/** Packets of every kind, whole and right. */
const rightArbitrary = fc.tuple(recipeArbitrary(300), tagsArbitrary).chain(([recipe, tags]) => {
  const packet = buildPacket({ ...recipe, tags });
  if (recipe.l3 === 'arp') return fc.constant(packet.bytes);
  const v6 = recipe.l3 === 'ipv6';
  const usual = v6 ? ipv6Addresses : ipv4Addresses;
  const special = v6 ? [...localIpv6, ...nearlyLocalIpv6] : [...localIpv4, ...nearlyLocalIpv4];
  const destination = fc.oneof(fc.constantFrom(...usual), fc.constantFrom(...usual), fc.constantFrom(...special));
  return fc.tuple(ttlArbitrary, destination).map(([ttl, to]) => addressed(packet, ttl, to));
});

/** And the same with bytes of their headers changed, half of them with a checksum that holds again, or cut short. */
const changesArbitrary = fc.array(fc.tuple(fc.integer({ min: 12, max: 60 }), fc.nat(255)), { maxLength: 3 });
const packetArbitrary = fc.oneof(
  rightArbitrary,
  fc.tuple(rightArbitrary, changesArbitrary, fc.boolean()).map(([bytes, changes, repair]) => {
    const copy = bytes.slice();
    for (const [at, value] of changes) if (at < copy.length) copy[at] = value;
    return repair && copy.length >= 34 && get16(copy, 12) === 0x0800 ? withRightChecksum(copy) : copy;
  }),
  fc.tuple(rightArbitrary, fc.integer({ min: 1, max: 100 })).map(([bytes, length]) => bytes.slice(0, length)),
  fc.uint8Array({ minLength: 1, maxLength: 80 }),
);

// ---- running it ----------------------------------------------------------------------------------------------------

class Router {
  readonly fixture = new GuestFixture(shape('virtio_xmit_pkts', { mbufs: 16 }));
  readonly pool: Mempool = this.fixture.pool;
  private readonly counters = new Float64Array(createForwardCounters(ports.size));
  readonly forward: Forward = openForwarder(this.pool, tables, ports, this.counters);

  counts(inPort: number): ForwardCounts {
    return readForwardCounters(this.counters, slots.indexOf(inPort));
  }

  /** Runs a packet in these pieces through it and compares everything with the reference. */
  check(bytes: Uint8Array, cuts: readonly number[], headroom: number, inPort: number, seed: number): Expected {
    const { pool } = this;
    scramble(pool, seed);
    const parts = pieces(bytes, cuts, pool.dataRoom);
    const m = place(pool, parts, headroom);
    pool.olFlags[m] = seed;
    const expected = reference(bytes, parts[0]!.length, inPort);
    const memory = memoryOf(pool);
    for (let i = 0; i < bytes.length; i++) memory[locate(pool, m, i) - pool.base] = expected.bytes[i]!;
    const columns = Buffer.from(pool.spec.shared.slice(0));
    const before = new Map(slots.map((id) => [id, this.counts(id)]));

    assert.equal(this.forward(m, inPort), expected.out);
    assert.deepEqual(differences(pool, memory), []);
    assert(Buffer.from(pool.spec.shared).equals(columns), 'the columns of the mbufs are unchanged');
    for (const id of slots) {
      const counted = { ...before.get(id)! } as Record<Outcome, number>;
      if (id === inPort) for (const outcome of expected.outcomes) counted[outcome]++;
      assert.deepEqual(this.counts(id), counted);
    }
    pool.free(m);
    return expected;
  }

  /** The same for a packet in one piece that comes in on port 5. @returns what was counted. */
  outcomes(bytes: Uint8Array, cuts: readonly number[] = []): string {
    return this.check(bytes, cuts, 128, 5, bytes.length).outcomes.join(' and ');
  }
}

function withRouter(run: (router: Router) => void): void {
  const router = new Router();
  run(router);
  router.fixture.finish();
}

test('packets of every kind, right and wrong ones, in any pieces, at odd addresses too: bytes, port and counters', (t) => {
  const cuts = fc.oneof(
    fc.constant<number[]>([]),
    fc.array(fc.integer({ min: 1, max: 120 }), { minLength: 1, maxLength: 3 }),
  );
  const seen = new Set<Outcome>();
  let packets = 0;
  withRouter((router) => {
    const check = (bytes: Uint8Array, sizes: readonly number[], headroom: number, inPort: number, seed: number) => {
      for (const outcome of router.check(bytes, sizes, headroom, inPort, seed).outcomes) seen.add(outcome);
      packets++;
    };
    const headroom = fc.constantFrom(128, 128, 127, 126, 0, 1);
    fc.assert(
      fc.property(packetArbitrary, cuts, headroom, fc.constantFrom(...slots), fc.nat({ max: 1 << 16 }), check),
      { numRuns: 4000 },
    );
    const totals = slots.map((id) => router.counts(id));
    t.is(
      totals.reduce((sum, counts) => sum + counts.ipv4 + counts.ipv6 + droppedOf(counts), 0),
      packets,
    );
  });
  t.deepEqual([...seen].sort(), FORWARD_COUNTERS.map(([name]) => name).sort());
});

test('every checksum that an IPv4 header can have, both zeros too: the update is what recomputing gives', (t) => {
  withRouter(({ pool, forward }) => {
    const bytes = packetOf({ l4: 'udp', payload: 0 }, '10.0.0.1');
    const m = place(pool, [bytes]);
    const at = pool.dataStart(m);
    const seen = new Set<number>();
    const check = (packet: Uint8Array, ttl: number) => {
      pool.u8.set(packet, at);
      if (forward(m, 5) !== 0) throw new Error(`checksum ${get16(packet, 24)} was refused`);
      const found = pool.u8.subarray(at, at + packet.length);
      const recomputed = withRightChecksum(found);
      if (get16(found, 24) !== get16(recomputed, 24) || found[22] !== ttl - 1) {
        throw new Error(`checksum ${get16(packet, 24)} became ${get16(found, 24)}, not ${get16(recomputed, 24)}`);
      }
      seen.add(get16(packet, 24));
    };
    for (const ttl of [2, 64, 255]) {
      bytes[22] = ttl;
      for (let id = 0; id <= 0xffff; id++) {
        put16(bytes, 18, id);
        const right = withRightChecksum(bytes);
        check(right, ttl);
        if (get16(right, 24) !== 0) continue;
        put16(right, 24, 0xffff); // the other zero, which some senders write
        check(right, ttl);
      }
    }
    t.is(seen.size, 0x10000);
    pool.free(m);
  });
});

test('a wrong checksum, a bit of the header off: malformed, unchanged', (t) => {
  withRouter((router) => {
    const bytes = packetOf({ ipOptions: 3 }, '10.0.0.1');
    t.is(router.outcomes(bytes), 'ipv4');
    for (let bit = 0; bit < 32 * 8; bit++) {
      const wrong = bytes.slice();
      wrong[14 + (bit >> 3)]! ^= 1 << (bit & 7);
      t.is(router.outcomes(wrong), 'malformed');
    }
  });
});

test('TTL and hop limit: 0 and 1 are dropped, 2 goes on as 1', (t) => {
  withRouter((router) => {
    for (const [l3, to] of [['ipv4', '10.0.0.1'] as const, ['ipv6', '2001:db8::1'] as const]) {
      const outcomes = [0, 1, 2, 255].map((ttl) => router.outcomes(packetOf({ l3 }, to, ttl)));
      t.deepEqual(outcomes, ['ttl', 'ttl', l3, l3]);
    }
  });
});

test('no route, or one to a port that is not enabled: back on the port of entry, with its addresses', (t) => {
  withRouter((router) => {
    for (const inPort of slots) {
      for (const to of ['30.0.0.1', '20.0.0.1']) {
        const { out, outcomes } = router.check(packetOf({}, to), [], 128, inPort, 1);
        t.deepEqual([out, ...outcomes], [inPort, 'ipv4', 'noRoute']);
      }
      const { out, outcomes } = router.check(packetOf({ l3: 'ipv6' }, '2002::1'), [], 128, inPort, 1);
      t.deepEqual([out, ...outcomes], [inPort, 'ipv6', 'noRoute']);
    }
  });
});

test('groups, everybody and link-local addresses stay where they are, whatever their TTL; their neighbours are routed', (t) => {
  withRouter((router) => {
    for (const ttl of [1, 255]) {
      for (const to of localIpv4) t.is(router.outcomes(packetOf({}, to, ttl)), 'local', to);
      for (const to of localIpv6) t.is(router.outcomes(packetOf({ l3: 'ipv6' }, to, ttl)), 'local', to);
    }
    for (const to of nearlyLocalIpv4) t.is(router.outcomes(packetOf({}, to)), 'ipv4 and noRoute', to);
    for (const to of nearlyLocalIpv6) t.is(router.outcomes(packetOf({ l3: 'ipv6' }, to)), 'ipv6 and noRoute', to);
  });
});

test('ARP, tagged packets and other protocols: left alone, each counted by its kind; ICMP is routed like any other', (t) => {
  withRouter((router) => {
    t.is(router.outcomes(packetOf({ l4: 'icmp' }, '10.1.2.3')), 'ipv4');
    t.is(router.outcomes(buildPacket({ ...plainRecipe, l3: 'arp' }).bytes), 'arp');
    for (const tags of [[0x8100], [0x88a8], [0x88a8, 0x8100]]) {
      t.is(router.outcomes(packetOf({ tags }, '10.1.2.3')), 'vlan');
    }
    for (const type of [0x0000, 0x05dc, 0x0801, 0x8847, 0x88cc, 0xffff]) {
      const bytes = packetOf({}, '10.1.2.3');
      put16(bytes, 12, type);
      t.is(router.outcomes(bytes), 'other');
    }
  });
});

test('lengths: shorter than the headers, a total length below the header or beyond the packet; padding is none of these', (t) => {
  withRouter((router) => {
    const bytes = packetOf({ payload: 30, padding: 0 }, '10.0.0.1');
    const withTotal = (total: number) => {
      const copy = bytes.slice();
      put16(copy, 16, total);
      return withRightChecksum(copy);
    };
    const whole = bytes.length - 14;
    t.deepEqual(
      [0, 19, 20, whole, whole + 1, 0xffff].map((total) => router.outcomes(withTotal(total))),
      ['malformed', 'malformed', 'ipv4', 'ipv4', 'malformed', 'malformed'],
    );
    t.is(router.outcomes(Uint8Array.from([...bytes, 0, 0, 0])), 'ipv4');
    const withOptions = packetOf({ ipOptions: 1 }, '10.0.0.1');
    put16(withOptions, 16, 23);
    t.is(router.outcomes(withRightChecksum(withOptions)), 'malformed');
    for (let length = 1; length < bytes.length; length++) t.is(router.outcomes(bytes.slice(0, length)), 'malformed');
    const ipv6 = packetOf({ l3: 'ipv6', payload: 30 }, '2001:db8::1');
    for (let length = 1; length < ipv6.length; length++) t.is(router.outcomes(ipv6.slice(0, length)), 'malformed');
  });
});

test('several segments: the headers lie in the first one or the packet is malformed', (t) => {
  withRouter((router) => {
    const ipv4 = packetOf({ ipOptions: 2 }, '10.0.0.1');
    const ipv6 = packetOf({ l3: 'ipv6' }, '2001:db8::1');
    for (const first of [1, 13, 14, 33, 34, 41]) t.is(router.outcomes(ipv4, [first]), 'malformed');
    for (const first of [42, 43, 100]) t.is(router.outcomes(ipv4, [first]), 'ipv4');
    for (const first of [13, 14, 53]) t.is(router.outcomes(ipv6, [first]), 'malformed');
    for (const first of [54, 55]) t.is(router.outcomes(ipv6, [first, 1, 1]), 'ipv6');
    // what happens to lie behind the first segment is none of the packet, be it just what is missing
    const m = place(router.pool, [ipv4.subarray(0, 41), ipv4.subarray(41)]);
    router.pool.u8.set(ipv4, router.pool.dataStart(m));
    t.is(router.forward(m, 5), -1);
    router.pool.free(m);
  });
});
