/**
 * Packets of every kind that checksum and segmentation offloads meet, built byte by byte from a recipe, with the lengths
 * of their headers known from the building. All their checksums are right.
 */
import fc from 'fast-check';
import { checksum, checksumOfSum, onesSum, pseudoHeader, put16, TCP, UDP } from './offload-reference.js';

export type L4 = 'tcp' | 'udp' | 'icmp' | 'gre';
export type Extension = 'hop-by-hop' | 'routing' | 'destination';

export interface Recipe {
  /** EtherTypes of the tags, outermost first. */
  readonly tags: readonly number[];
  readonly l3: 'ipv4' | 'ipv6' | 'arp';
  /** IPv4: words of options, 0 to 10. */
  readonly ipOptions: number;
  /** IPv6: extension headers, each with its length in units of 8 bytes. */
  readonly extensions: readonly (readonly [Extension, number])[];
  /** One of several pieces of a packet: the first, or a later one, which has no L4 header. */
  readonly fragment: 'none' | 'first' | 'later';
  readonly l4: L4;
  /** TCP: words of options, 0 to 10. */
  readonly tcpOptions: number;
  readonly tcpFlags: number;
  readonly payload: number;
  /** Zeros behind the IP packet. */
  readonly padding: number;
  readonly seed: number;
}

export interface Packet {
  readonly recipe: Recipe;
  readonly bytes: Uint8Array;
  /** Ethernet header with its tags. */
  readonly l2Len: number;
  /** IP header with options or extension headers; 0 without IP. */
  readonly l3Len: number;
  /** TCP or UDP header; 0 without. */
  readonly l4Len: number;
  /** IPPROTO_TCP or IPPROTO_UDP of an unfragmented packet; 0 for all others. */
  readonly protocol: number;
  /** Where its checksum lies behind the beginning of its L4 header. */
  readonly csumOffset: number;
}

export const plainRecipe: Recipe = {
  ...{ tags: [], l3: 'ipv4', ipOptions: 0, extensions: [], fragment: 'none' },
  ...{ l4: 'tcp', tcpOptions: 0, tcpFlags: 0x18, payload: 100, padding: 0, seed: 1 },
};

const protocols: Record<L4 | Extension | 'fragment', number> = {
  ...{ tcp: TCP, udp: UDP, icmp: 1, gre: 47 },
  ...{ 'hop-by-hop': 0, routing: 43, destination: 60, fragment: 44 },
};

/** Bytes that look random: those of a seed begin at `seed` modulo 64 Ki. */
const noise = Uint8Array.from({ length: 3 << 16 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 13);

export const noiseBytes = (seed: number, length: number) => noise.subarray(seed & 0xffff, (seed & 0xffff) + length);

export function buildPacket(recipe: Recipe): Packet {
  const { l3, seed, fragment, padding } = recipe;
  const bytes: number[] = [0x02, ...noiseBytes(seed, 11)];
  for (const type of recipe.tags) bytes.push(type >> 8, type & 0xff, ...noiseBytes(seed + 100, 2));
  const type = { ipv4: 0x0800, ipv6: 0x86dd, arp: 0x0806 }[l3];
  bytes.push(type >> 8, type & 0xff);
  const l2Len = bytes.length;
  if (l3 === 'arp') {
    bytes.push(...noiseBytes(seed, 28));
    return { recipe, bytes: Uint8Array.from(bytes), l2Len, l3Len: 0, l4Len: 0, protocol: 0, csumOffset: 0 };
  }
  const l4Header = fragment === 'later' ? [] : l4Headers(recipe);
  const length = l4Header.length + recipe.payload;
  bytes.push(...(l3 === 'ipv4' ? ipv4Header(recipe, length) : ipv6Headers(recipe, length)));
  const l3Len = bytes.length - l2Len;
  const from = l2Len + l3Len;
  const end = from + length;
  const result = new Uint8Array(end + padding);
  result.set(bytes);
  result.set(l4Header, from);
  result.set(noiseBytes(seed + 200, recipe.payload), from + l4Header.length);

  const offloadable = fragment === 'none' && (recipe.l4 === 'tcp' || recipe.l4 === 'udp');
  const protocol = offloadable ? protocols[recipe.l4] : 0;
  const csumOffset = recipe.l4 === 'tcp' ? 16 : 6;
  if (offloadable) {
    const sum = onesSum(pseudoHeader(result, l2Len, protocol, length)) + onesSum(result.subarray(from, end));
    put16(result, from + csumOffset, checksumOfSum(sum));
  }
  return { recipe, bytes: result, l2Len, l3Len, l4Len: offloadable ? l4Header.length : 0, protocol, csumOffset };
}

/** Without a checksum yet. */
function l4Headers({ l4, tcpOptions, tcpFlags, payload, seed }: Recipe): number[] {
  const ports = noiseBytes(seed + 300, 4);
  if (l4 === 'tcp') {
    const words = 5 + tcpOptions;
    const numbers = noiseBytes(seed + 400, 8);
    const window = noiseBytes(seed + 500, 2);
    return [
      ...ports,
      ...numbers,
      words << 4,
      tcpFlags,
      ...window,
      0,
      0,
      0,
      0,
      ...noiseBytes(seed + 600, 4 * tcpOptions),
    ];
  }
  if (l4 === 'udp') return [...ports, (8 + payload) >> 8, (8 + payload) & 0xff, 0, 0];
  return [...noiseBytes(seed + 700, 8)];
}

/** 1: another fragment follows a later one. */
const more = (seed: number) => (seed >> 1) & 1;

function ipv4Header({ ipOptions, fragment, l4, seed }: Recipe, length: number): Uint8Array {
  const header = new Uint8Array(20 + 4 * ipOptions);
  header.set(noiseBytes(seed + 800, header.length));
  header[0] = 0x40 | (header.length >> 2);
  put16(header, 2, header.length + length);
  put16(header, 6, { none: 0x4000, first: 0x2000, later: more(seed) * 0x2000 + 185 }[fragment]);
  header[9] = protocols[l4];
  put16(header, 10, 0);
  put16(header, 10, checksum(header));
  return header;
}

function ipv6Headers({ extensions, fragment, l4, seed }: Recipe, length: number): number[] {
  const chain: [number, number][] = extensions.map(([name, units]) => [protocols[name], units * 8]);
  if (fragment !== 'none') chain.push([protocols.fragment, 8]);
  const extra = chain.reduce((sum, [, bytes]) => sum + bytes, 0);
  const header = Uint8Array.from(noiseBytes(seed + 900, 40));
  header[0] = 0x60;
  put16(header, 4, extra + length);
  header[6] = chain[0]?.[0] ?? protocols[l4];
  const bytes = [...header];
  chain.forEach(([kind, size], i) => {
    // behind the header of a later fragment there is the middle of something, whatever header that began with
    const next = chain[i + 1]?.[0] ?? (fragment === 'later' && seed & 1 ? protocols.destination : protocols[l4]);
    const rest = noiseBytes(seed + 1000 + i, size - 4);
    const isFragment = kind === protocols.fragment;
    if (isFragment) bytes.push(next, 0, ...(fragment === 'first' ? [0, 1] : [5, 0xb8 + more(seed)]), ...rest);
    else bytes.push(next, size / 8 - 1, 0, 0, ...rest); // of a routing header: type 0, no segments left
  });
  return bytes;
}

// ---- arbitraries ---------------------------------------------------------------------------------------------------

const tagsArbitrary = fc.constantFrom<readonly number[]>([], [], [0x8100], [0x8100, 0x8100], [0x88a8, 0x8100]);

const extensionArbitrary = fc.tuple(
  fc.constantFrom<Extension>('hop-by-hop', 'routing', 'destination'),
  fc.integer({ min: 1, max: 3 }),
);

/** Hop-by-hop options are only ever the first extension header. */
const extensionsArbitrary = fc
  .array(extensionArbitrary, { maxLength: 3 })
  .map((list) => list.filter(([name], i) => i === 0 || name !== 'hop-by-hop'));

const smallOrNone = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 10 }));

/** @param longest payload, in bytes */
export function recipeArbitrary(longest: number, fixed: Partial<Recipe> = {}): fc.Arbitrary<Recipe> {
  return fc
    .record({
      tags: tagsArbitrary,
      l3: fc.constantFrom('ipv4' as const, 'ipv4' as const, 'ipv6' as const, 'ipv6' as const, 'arp' as const),
      ipOptions: smallOrNone,
      extensions: fc.oneof(fc.constant([]), extensionsArbitrary),
      fragment: fc.constantFrom('none' as const, 'none' as const, 'none' as const, 'first' as const, 'later' as const),
      l4: fc.constantFrom<L4>('tcp', 'tcp', 'udp', 'udp', 'icmp', 'gre'),
      tcpOptions: smallOrNone,
      tcpFlags: fc.nat({ max: 255 }),
      payload: fc.oneof(fc.nat({ max: 40 }), fc.nat({ max: longest })),
      padding: fc.oneof(fc.constant(0), fc.constant(0), fc.nat({ max: 40 })),
      seed: fc.nat({ max: 1 << 20 }),
    })
    .map((recipe) => ({ ...recipe, ...fixed }));
}

/** Packets whose checksum a device or a driver can be asked for. */
export function offloadableArbitrary(longest: number, fixed: Partial<Recipe> = {}): fc.Arbitrary<Packet> {
  return recipeArbitrary(longest, { fragment: 'none', ...fixed })
    .map((recipe) => ({
      ...recipe,
      l3: recipe.l3 === 'arp' ? ('ipv4' as const) : recipe.l3,
      l4: recipe.l4 === 'tcp' || recipe.l4 === 'udp' ? recipe.l4 : ('tcp' as const),
    }))
    .map(buildPacket);
}
