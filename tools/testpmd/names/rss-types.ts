/** testpmd's names for sets of packet types (RTE_ETH_RSS_* bits), in the order of its lists. */

const bits = (...numbers: readonly number[]) => numbers.reduce((set, number) => set | (1n << BigInt(number)), 0n);

const IP = bits(2, 3, 7, 8, 9, 13, 15);
const UDP = bits(5, 11, 17);
const TCP = bits(4, 10, 16);
const SCTP = bits(6, 12);
const TUNNEL = bits(19, 20, 21);
const VLAN = bits(25, 26);

/** Sets of several types, only for commands. */
const groups: Readonly<Record<string, bigint>> = {
  all: IP | TCP | UDP | SCTP | VLAN | bits(14, 23, 24, 27, 28, 29, 30, 32, 33, 36),
  none: 0n,
  ip: IP,
  udp: UDP,
  tcp: TCP,
  sctp: SCTP,
  tunnel: TUNNEL,
  vlan: VLAN,
};

const single: Readonly<Record<string, number>> = {
  ipv4: 2,
  'ipv4-frag': 3,
  'ipv4-tcp': 4,
  'ipv4-udp': 5,
  'ipv4-sctp': 6,
  'ipv4-other': 7,
  ipv6: 8,
  'ipv6-frag': 9,
  'ipv6-tcp': 10,
  'ipv6-udp': 11,
  'ipv6-sctp': 12,
  'ipv6-other': 13,
  'l2-payload': 14,
  'ipv6-ex': 15,
  'ipv6-tcp-ex': 16,
  'ipv6-udp-ex': 17,
  port: 18,
  vxlan: 19,
  geneve: 20,
  nvgre: 21,
  gtpu: 23,
  eth: 24,
  's-vlan': 25,
  'c-vlan': 26,
  esp: 27,
  ah: 28,
  l2tpv3: 29,
  pfcp: 30,
  pppoe: 31,
  ecpri: 32,
  mpls: 33,
  'ipv4-chksum': 34,
  'l4-chksum': 35,
  l2tpv2: 36,
  'l3-pre96': 52,
  'l3-pre64': 53,
  'l3-pre56': 54,
  'l3-pre48': 55,
  'l3-pre40': 56,
  'l3-pre32': 57,
  'l3-dst-only': 62,
  'l3-src-only': 63,
  'l4-dst-only': 60,
  'l4-src-only': 61,
  'l2-dst-only': 58,
  'l2-src-only': 59,
};

/** RTE_ETH_RSS_IP, testpmd's default, and RTE_ETH_RSS_UDP. */
export const RSS_IP = IP;
export const RSS_UDP = UDP;

/** Words that name one type. */
export const rssTypeNames: readonly string[] = Object.keys(single);

/** Parses `ip`, `ipv4-tcp`, or a bit number from 1 to 63; undefined for anything else. */
export function parseRssTypes(word: string): bigint | undefined {
  if (/^\d+$/.test(word)) {
    const number = Number(word);
    return number > 0 && number < 64 ? bits(number) : undefined;
  }
  if (Object.hasOwn(groups, word)) return groups[word];
  return Object.hasOwn(single, word) ? bits(single[word]!) : undefined;
}

/** The names of a set's types. */
export function namesOfRssTypes(hf: bigint): string[] {
  return rssTypeNames.filter((name) => hf & bits(single[name]!));
}

/** printf's %#lx. */
export function formatRssTypes(hf: bigint): string {
  return hf === 0n ? '0' : `0x${hf.toString(16)}`;
}

/** Characters in a line of type names. */
const TYPES_PER_LINE = 64;

/** Formats names in lines, with two blanks before each. */
export function formatTypeNames(names: readonly string[]): string {
  const lines: string[] = [''];
  for (const name of names) {
    const last = lines.length - 1;
    if (lines[last]!.length + name.length + 2 > TYPES_PER_LINE) lines.push(`  ${name}`);
    else lines[last] += `  ${name}`;
  }
  return lines.join('\n');
}
