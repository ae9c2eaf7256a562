/** `npm run bench -- lookup`: longest prefix matches per second of l3fwd-power, one thread, no packets. */
import { formatTable } from '../common/table.js';
import { Lpm4 } from '../l3fwd-power/lpm4.js';
import { Lpm6 } from '../l3fwd-power/lpm6.js';
import { best, median } from './common/statistics.js';

export interface LookupOptions {
  /** Number of random routes of each family. */
  readonly routes: number;
  /** Passes over all addresses, each timed. */
  readonly windows: number;
}

export interface LookupRun {
  readonly family: string;
  /** Lookups per second, window by window. */
  readonly windows: readonly number[];
  /** Fraction of the addresses that have a route. */
  readonly found: number;
}

/** Addresses looked up in a window: far more than a cache holds. */
const ADDRESSES = 1 << 20;
const PORTS = 8;
const IPV6_BYTES = 16;

/** A random number generator with the same numbers in each run (Numerical Recipes' generator, upper bits). */
function generator(): (below: number) => number {
  let state = 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Times `pass`, which looks up every address and returns how many have a route. */
function measure(family: string, windows: number, pass: () => number): LookupRun {
  const rates: number[] = [];
  let found = 0;
  for (let i = 0; i < windows; i++) {
    const begun = performance.now();
    found = pass();
    rates.push((ADDRESSES / (performance.now() - begun)) * 1000);
  }
  return { family, windows: rates, found: found / ADDRESSES };
}

function ipv4({ routes, windows }: LookupOptions): LookupRun {
  const random = generator();
  const lpm = new Lpm4(
    Lpm4.build(
      Array.from({ length: routes }, () => {
        const depth = 8 + random(25);
        return { address: random(2 ** depth) * 2 ** (32 - depth), depth, port: random(PORTS) };
      }),
    ),
  );
  const addresses = Uint32Array.from({ length: ADDRESSES }, () => random(2 ** 32));
  return measure('IPv4', windows, () => {
    let found = 0;
    for (let i = 0; i < ADDRESSES; i++) if (lpm.lookup(addresses[i]!) >= 0) found++;
    return found;
  });
}

/** Mask of the host bits in byte `i` of an address, for a prefix length. */
function hostBits(depth: number, i: number): number {
  return 0xff >> Math.min(8, Math.max(0, depth - 8 * i));
}

/** Every other address begins like one of the routes: hardly any random address would have a route. */
function ipv6({ routes, windows }: LookupOptions): LookupRun {
  const random = generator();
  const prefixes = Array.from({ length: routes }, () => {
    const depth = 16 + random(49);
    const address = Uint8Array.from({ length: IPV6_BYTES }, (_, i) => random(256) & ~hostBits(depth, i));
    return { address, depth, port: random(PORTS) };
  });
  const lpm = new Lpm6(Lpm6.build(prefixes));
  const addresses = Uint8Array.from({ length: ADDRESSES * IPV6_BYTES }, () => random(256));
  for (let i = 0; i < ADDRESSES; i += 2) {
    const { address, depth } = prefixes[random(routes)]!;
    for (let b = 0; b < IPV6_BYTES; b++) addresses[i * IPV6_BYTES + b]! &= hostBits(depth, b);
    for (let b = 0; b < IPV6_BYTES; b++) addresses[i * IPV6_BYTES + b]! |= address[b]!;
  }
  return measure('IPv6', windows, () => {
    let found = 0;
    for (let at = 0; at < addresses.length; at += IPV6_BYTES) if (lpm.lookup(addresses, at) >= 0) found++;
    return found;
  });
}

export function runLookup(options: LookupOptions): readonly LookupRun[] {
  return [ipv4(options), ipv6(options)];
}

export function lookupTable(runs: readonly LookupRun[]): string {
  const millions = (rate: number) => (rate / 1e6).toFixed(1);
  const rows = runs.map(({ family, windows, found }) => [
    family,
    millions(best(windows)),
    millions(median(windows)),
    (found * 100).toFixed(0),
  ]);
  return formatTable(['Family', 'Best M/s', 'Median M/s', 'Found %'], rows);
}
