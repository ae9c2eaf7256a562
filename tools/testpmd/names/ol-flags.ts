/** RTE_MBUF_F_* flags by name, as in dpdk-testpmd's `set verbose` (rte_get_rx_ol_flag_list, rte_get_tx_ol_flag_list). */
import * as F from '../../../paths/mbuf.js';

/** The name for a value of the flags under a mask. */
type Rows = readonly (readonly [mask: number, value: number, name: string])[];

const rxRows: Rows = [
  [F.RTE_MBUF_F_RX_VLAN, F.RTE_MBUF_F_RX_VLAN, 'RX_VLAN'],
  [F.RTE_MBUF_F_RX_RSS_HASH, F.RTE_MBUF_F_RX_RSS_HASH, 'RX_RSS_HASH'],
  [F.RTE_MBUF_F_RX_L4_CKSUM_MASK, F.RTE_MBUF_F_RX_L4_CKSUM_BAD, 'RX_L4_CKSUM_BAD'],
  [F.RTE_MBUF_F_RX_L4_CKSUM_MASK, F.RTE_MBUF_F_RX_L4_CKSUM_GOOD, 'RX_L4_CKSUM_GOOD'],
  [F.RTE_MBUF_F_RX_L4_CKSUM_MASK, F.RTE_MBUF_F_RX_L4_CKSUM_NONE, 'RX_L4_CKSUM_NONE'],
  [F.RTE_MBUF_F_RX_L4_CKSUM_MASK, 0, 'RX_L4_CKSUM_UNKNOWN'],
  [F.RTE_MBUF_F_RX_VLAN_STRIPPED, F.RTE_MBUF_F_RX_VLAN_STRIPPED, 'RX_VLAN_STRIPPED'],
  [F.RTE_MBUF_F_RX_LRO, F.RTE_MBUF_F_RX_LRO, 'RX_LRO'],
];
const txRows: Rows = [
  [F.RTE_MBUF_F_TX_VLAN, F.RTE_MBUF_F_TX_VLAN, 'TX_VLAN'],
  [F.RTE_MBUF_F_TX_L4_MASK, F.RTE_MBUF_F_TX_TCP_CKSUM, 'TX_TCP_CKSUM'],
  [F.RTE_MBUF_F_TX_L4_MASK, F.RTE_MBUF_F_TX_UDP_CKSUM, 'TX_UDP_CKSUM'],
  [F.RTE_MBUF_F_TX_L4_MASK, 0, 'TX_L4_NO_CKSUM'],
  [F.RTE_MBUF_F_TX_TCP_SEG, F.RTE_MBUF_F_TX_TCP_SEG, 'TX_TCP_SEG'],
  [F.RTE_MBUF_F_TX_IPV4, F.RTE_MBUF_F_TX_IPV4, 'TX_IPV4'],
  [F.RTE_MBUF_F_TX_IPV6, F.RTE_MBUF_F_TX_IPV6, 'TX_IPV6'],
];

const namesOf = (rows: Rows, flags: number) =>
  rows
    .filter(([mask, value]) => (flags & mask) === value)
    .map(([, , name]) => `RTE_MBUF_F_${name}`)
    .join(' ');

export const rxFlagNames = (flags: number): string => namesOf(rxRows, flags);
export const txFlagNames = (flags: number): string => namesOf(txRows, flags);
