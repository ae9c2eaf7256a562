/** rte_eth_xstats: the eight statistics that every port has. Pure. */
import type { PortStats, Xstat } from './types.js';

/** In DPDK's order, with its names. Other counters of a device follow them. */
export function ethdevXstats(stats: PortStats): Xstat[] {
  return [
    { name: 'rx_good_packets', value: stats.ipackets },
    { name: 'tx_good_packets', value: stats.opackets },
    { name: 'rx_good_bytes', value: stats.ibytes },
    { name: 'tx_good_bytes', value: stats.obytes },
    { name: 'rx_missed_errors', value: stats.imissed },
    { name: 'rx_errors', value: stats.ierrors },
    { name: 'tx_errors', value: stats.oerrors },
    { name: 'rx_mbuf_allocation_errors', value: stats.rxNombuf },
  ];
}
