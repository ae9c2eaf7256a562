/** rte_eth_xstats: the eight statistics that every port has. Pure. */
import { BYTES, ERRORS, PACKETS, type StatNames } from '../../paths/stats.js';
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

const QUEUE_NAMES: Readonly<Record<'rx' | 'tx', StatNames>> = {
  rx: [['packets', PACKETS], ['bytes', BYTES], ['errors', ERRORS]], // prettier-ignore
  tx: [['packets', PACKETS], ['bytes', BYTES]], // prettier-ignore
};

/**
 * What ethdev adds for each queue of devices that do not name their queues' counters themselves
 * (RTE_ETH_DEV_AUTOFILL_QUEUE_XSTATS).
 * @param rx counters of each Rx queue, at the indices of paths/stats.ts. @param tx of each Tx queue.
 */
export function queueXstats(rx: readonly ArrayLike<number>[], tx: readonly ArrayLike<number>[]): Xstat[] {
  const all = (kind: 'rx' | 'tx', queues: readonly ArrayLike<number>[]) =>
    queues.flatMap((stats, queue) =>
      QUEUE_NAMES[kind].map(([name, index]) => ({ name: `${kind}_q${queue}_${name}`, value: stats[index]! })),
    );
  return [...all('rx', rx), ...all('tx', tx)];
}
