/** Routes of l3fwd-power: the sample's own, and files in the format of l3fwd's --rule_ipv4 and --rule_ipv6. */
import { isIPv6 } from 'node:net';
import { VirtioPmdError } from '../../native/errors.js';
import { parseIpv4, parseUnsigned } from '../common/values.js';

/** Bits of `address` after the first `depth` are ignored. */
export interface Route4 {
  /** The address as a number, its first byte in the highest bits. */
  readonly address: number;
  readonly depth: number;
  readonly port: number;
}

export interface Route6 {
  /** 16 bytes. */
  readonly address: Uint8Array;
  readonly depth: number;
  readonly port: number;
}

export interface Routes {
  readonly ipv4: readonly Route4[];
  readonly ipv6: readonly Route6[];
}

/** Highest port: if_out is a byte in the sample. */
const MAX_PORT = 255;

/**
 * IPv4: the sample's ipv4_l3fwd_route_array, 1.1.1.0/24 to 8.1.1.0/24 for ports 0 to 7. With LPM the sample drops IPv6; the
 * IPv6 routes here are those that l3fwd had with the same IPv4 routes: 101:101:101::/48 to 801:101:101::/48.
 */
export function defaultRoutes(): Routes {
  const rows = [1, 2, 3, 4, 5, 6, 7, 8];
  return {
    ipv4: rows.map((row) => ({ address: row * 0x1000000 + 0x010100, depth: 24, port: row - 1 })),
    ipv6: rows.map((row) => ({ address: Uint8Array.of(row, ...Array<number>(15).fill(1)), depth: 48, port: row - 1 })),
  };
}

/** The routes to one of `ports`. */
export function enabledRoutes(routes: Routes, ports: Iterable<number>): Routes {
  const enabled = new Set(ports);
  return {
    ipv4: routes.ipv4.filter((route) => enabled.has(route.port)),
    ipv6: routes.ipv6.filter((route) => enabled.has(route.port)),
  };
}

/** The lines that the sample prints for the routes that it adds. */
export function routeLines(routes: Routes): string[] {
  const line = (prefix: string, { depth, port }: Route4 | Route6) => `LPM: Adding route ${prefix} / ${depth} (${port})`;
  return [
    ...routes.ipv4.map((route) => line(`0x${route.address.toString(16).padStart(8, '0')}`, route)),
    ...routes.ipv6.map((route) => line(ipv6Text(route.address), route)),
  ];
}

/** All eight groups in full. */
function ipv6Text(address: Uint8Array): string {
  return Buffer.from(address)
    .toString('hex')
    .replace(/(....)(?!$)/g, '$1:');
}

/** Parses routes, one a line: `R10.0.0.0/24 1`; l3fwd's R is optional. @throws VirtioPmdError EOPTION with the line */
export function parseRoutes(text: string, file: string): Routes {
  const ipv4: Route4[] = [];
  const ipv6: Route6[] = [];
  text.split(/\r?\n/).forEach((line, i) => {
    const words = line.replace(/#.*/, '').trim();
    if (words === '') return;
    const fail = (reason: string) => new VirtioPmdError('EOPTION', `${file}:${i + 1}: ${reason}`);
    const parts = /^R?\s*([^\s/]+)\/(\S+)\s+(\S+)$/i.exec(words);
    if (parts === null) throw fail(`expected ADDRESS/DEPTH PORT, such as 'R10.0.0.0/24 1', found '${words}'`);
    const [, prefix = '', bits = '', out = ''] = parts;
    const port = parseUnsigned(out, 0, MAX_PORT);
    if (port === undefined) throw fail(`a port is a number from 0 to ${MAX_PORT}, found '${out}'`);
    const depthUpTo = (most: number) => {
      const depth = parseUnsigned(bits, 0, most);
      if (depth === undefined) throw fail(`the depth of '${prefix}' is a number from 0 to ${most}, found '${bits}'`);
      return depth;
    };
    const v4 = parseIpv4(prefix);
    const v6 = v4 === undefined ? parseIpv6(prefix) : undefined;
    if (v4 !== undefined) ipv4.push({ address: v4, depth: depthUpTo(32), port });
    else if (v6 !== undefined) ipv6.push({ address: v6, depth: depthUpTo(128), port });
    else throw fail(`'${prefix}' is neither an IPv4 nor an IPv6 address`);
  });
  return { ipv4, ipv6 };
}

/** "2001:db8::1" as 16 bytes. */
export function parseIpv6(text: string): Uint8Array | undefined {
  if (!isIPv6(text) || text.includes('%')) return undefined;
  // an IPv4 address at the end stands for two groups
  const groups = text.replace(/[\d.]+$/, (tail) => {
    const v4 = parseIpv4(tail);
    return v4 === undefined ? tail : `${(v4 >>> 16).toString(16)}:${(v4 & 0xffff).toString(16)}`;
  });
  const [head, tail] = groups.split('::').map((half) => (half === '' ? [] : half.split(':')));
  const zeros = tail === undefined ? 0 : 8 - head!.length - tail.length;
  const all = [...head!, ...Array<string>(zeros).fill('0'), ...(tail ?? [])];
  return Uint8Array.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}
