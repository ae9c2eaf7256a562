/** Offloads by dpdk-testpmd's names, including those that no virtio device has: commands accept them, ports refuse them. */

export type Direction = 'rx' | 'tx';

type Names = readonly (readonly [bit: number, name: string])[];

const rxNames: Names = [
  [0x1, 'VLAN_STRIP'],
  [0x2, 'IPV4_CKSUM'],
  [0x4, 'UDP_CKSUM'],
  [0x8, 'TCP_CKSUM'],
  [0x10, 'TCP_LRO'],
  [0x20, 'QINQ_STRIP'],
  [0x40, 'OUTER_IPV4_CKSUM'],
  [0x80, 'MACSEC_STRIP'],
  [0x200, 'VLAN_FILTER'],
  [0x400, 'VLAN_EXTEND'],
  [0x2000, 'SCATTER'],
  [0x4000, 'TIMESTAMP'],
  [0x8000, 'SECURITY'],
  [0x10000, 'KEEP_CRC'],
  [0x20000, 'SCTP_CKSUM'],
  [0x40000, 'OUTER_UDP_CKSUM'],
  [0x80000, 'RSS_HASH'],
  [0x100000, 'BUFFER_SPLIT'],
];
const txNames: Names = [
  [0x1, 'VLAN_INSERT'],
  [0x2, 'IPV4_CKSUM'],
  [0x4, 'UDP_CKSUM'],
  [0x8, 'TCP_CKSUM'],
  [0x10, 'SCTP_CKSUM'],
  [0x20, 'TCP_TSO'],
  [0x40, 'UDP_TSO'],
  [0x80, 'OUTER_IPV4_CKSUM'],
  [0x100, 'QINQ_INSERT'],
  [0x200, 'VXLAN_TNL_TSO'],
  [0x400, 'GRE_TNL_TSO'],
  [0x800, 'IPIP_TNL_TSO'],
  [0x1000, 'GENEVE_TNL_TSO'],
  [0x2000, 'MACSEC_INSERT'],
  [0x4000, 'MT_LOCKFREE'],
  [0x8000, 'MULTI_SEGS'],
  [0x10000, 'MBUF_FAST_FREE'],
  [0x20000, 'SECURITY'],
  [0x40000, 'UDP_TNL_TSO'],
  [0x80000, 'IP_TNL_TSO'],
  [0x100000, 'OUTER_UDP_CKSUM'],
  [0x200000, 'SEND_ON_TIMESTAMP'],
];

const namesOf = (direction: Direction) => (direction === 'rx' ? rxNames : txNames);

/** Names of bits, each with a space in front. */
export function offloadNames(direction: Direction, bits: number): string {
  return namesOf(direction)
    .filter(([bit]) => (bits & bit) !== 0)
    .map(([, name]) => ` ${name}`)
    .join('');
}

/** The words of `port config N rx_offload NAME`: the names in lower case. */
export const offloadWords = (direction: Direction): string[] =>
  namesOf(direction).map(([, name]) => name.toLowerCase());

/** The bit for a word of `offloadWords`. */
export function offloadBit(direction: Direction, word: string): number {
  return namesOf(direction).find(([, name]) => name.toLowerCase() === word)![0];
}
