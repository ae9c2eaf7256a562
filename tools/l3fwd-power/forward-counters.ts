/**
 * Counters of the packets that an lcore received: a Float64Array in shared memory, written only by that lcore. It has a block
 * for each input port. Every packet counts once as forwarded or dropped.
 */

export const FORWARDED_IPV4 = 0;
export const FORWARDED_IPV6 = 1;
/** Forwarded packets that were sent back on the input port, because they have no route. */
export const NO_ROUTE = 2;
export const DROP_TTL = 3;
/** Headers that are invalid, truncated, or not in the first segment. */
export const DROP_MALFORMED = 4;
/** To a multicast, broadcast or link-local address: routers do not forward those. */
export const DROP_LOCAL = 5;
export const DROP_ARP = 6;
export const DROP_VLAN = 7;
export const DROP_OTHER = 8;
/** Words of a block: a multiple of a cache line. */
export const FORWARD_COUNTER_WORDS = 16;

export interface ForwardCounts {
  readonly ipv4: number;
  readonly ipv6: number;
  readonly noRoute: number;
  readonly ttl: number;
  readonly malformed: number;
  readonly local: number;
  readonly arp: number;
  readonly vlan: number;
  readonly other: number;
}

/** The counters in their order, with titles for tables. */
export const FORWARD_COUNTERS: readonly (readonly [name: keyof ForwardCounts, title: string])[] = [
  ['ipv4', 'IPv4 forwarded'],
  ['ipv6', 'IPv6 forwarded'],
  ['noRoute', 'without a route'],
  ['ttl', 'TTL expired'],
  ['malformed', 'malformed'],
  ['local', 'link-local'],
  ['arp', 'ARP'],
  ['vlan', 'VLAN'],
  ['other', 'other'],
];

/** Counters of one lcore for `ports` ports, all 0. */
export function createForwardCounters(ports: number): SharedArrayBuffer {
  return new SharedArrayBuffer(ports * FORWARD_COUNTER_WORDS * 8);
}

/** The counters of an input port: the `slot`-th of the ports with which the forwarder was opened. */
export function readForwardCounters(counters: Float64Array, slot: number): ForwardCounts {
  const at = slot * FORWARD_COUNTER_WORDS;
  const named = FORWARD_COUNTERS.map(([name], i) => [name, counters[at + i]!]);
  return Object.fromEntries(named) as Record<keyof ForwardCounts, number>;
}

/** Packets that were freed. */
export function droppedOf(counts: ForwardCounts): number {
  return counts.ttl + counts.malformed + counts.local + counts.arp + counts.vlan + counts.other;
}
