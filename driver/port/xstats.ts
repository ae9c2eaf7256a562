/** Statistics of a port out of its queues' counters, under DPDK's names and in DPDK's order. Pure. */
import {
  BYTES,
  DROP_OFFLOAD,
  DROP_RESET,
  DROP_RUNT,
  DROP_SEGMENTS,
  DROP_TOO_LONG,
  ERRORS,
  KICKS,
  KICKS_SUPPRESSED,
  NOMBUF,
  PACKETS,
  XSTAT_NAMES,
} from '../../paths/stats.js';
import type { PortStats } from './types.js';

export interface Xstat {
  readonly name: string;
  readonly value: number;
}

/** Counters of one queue, indexed as in paths/stats.ts. */
export type Counters = ArrayLike<number>;

/** Names of ours, behind all of DPDK's. */
const RX_OWN: readonly (readonly [name: string, index: number])[] = [
  ['mbuf_allocation_errors', NOMBUF],
  ['dropped_runt', DROP_RUNT],
  ['dropped_too_long', DROP_TOO_LONG],
  ['dropped_segments', DROP_SEGMENTS],
  ['dropped_offload', DROP_OFFLOAD],
  ['notifications', KICKS],
  ['notifications_suppressed', KICKS_SUPPRESSED],
];
const TX_OWN: readonly (readonly [name: string, index: number])[] = [
  ['dropped_reset', DROP_RESET],
  ['notifications', KICKS],
  ['notifications_suppressed', KICKS_SUPPRESSED],
];

const sum = (queues: readonly Counters[], index: number) => queues.reduce((total, queue) => total + queue[index]!, 0);

/** rte_eth_stats. The driver knows no missed packets and no Tx errors: a full ring is the application's to handle. */
export function portStats(rx: readonly Counters[], tx: readonly Counters[]): PortStats {
  return {
    ipackets: sum(rx, PACKETS),
    opackets: sum(tx, PACKETS),
    ibytes: sum(rx, BYTES),
    obytes: sum(tx, BYTES),
    imissed: 0,
    ierrors: sum(rx, ERRORS),
    oerrors: 0,
    rxNombuf: sum(rx, NOMBUF),
  };
}

/** The eight generic ones, rx_qN_*, tx_qN_*, then ours. */
export function portXstats(rx: readonly Counters[], tx: readonly Counters[]): Xstat[] {
  const stats = portStats(rx, tx);
  const generic: Xstat[] = [
    { name: 'rx_good_packets', value: stats.ipackets },
    { name: 'tx_good_packets', value: stats.opackets },
    { name: 'rx_good_bytes', value: stats.ibytes },
    { name: 'tx_good_bytes', value: stats.obytes },
    { name: 'rx_missed_errors', value: stats.imissed },
    { name: 'rx_errors', value: stats.ierrors },
    { name: 'tx_errors', value: stats.oerrors },
    { name: 'rx_mbuf_allocation_errors', value: stats.rxNombuf },
  ];
  const perQueue = (
    queues: readonly Counters[],
    prefix: 'rx' | 'tx',
    names: readonly (readonly [name: string, index: number])[],
  ) =>
    queues.flatMap((counters, q) =>
      names.map(([name, index]) => ({ name: `${prefix}_q${q}_${name}`, value: counters[index]! })),
    );
  const txNames = XSTAT_NAMES.filter(([, index]) => index !== ERRORS);
  return [
    ...generic,
    ...perQueue(rx, 'rx', XSTAT_NAMES),
    ...perQueue(tx, 'tx', txNames),
    ...perQueue(rx, 'rx', RX_OWN),
    ...perQueue(tx, 'tx', TX_OWN),
  ];
}
