/** Statistics of virtio ports from the counters of their queues, with the names and in the order of DPDK's driver. Pure. */
import {
  BYTES,
  DROP_OFFLOAD,
  DROP_RESET,
  DROP_STATS,
  ERRORS,
  KICKS,
  KICKS_SUPPRESSED,
  NOMBUF,
  PACKET_STATS,
  PACKETS,
  XSTAT_NAMES,
  type StatNames,
} from '../../paths/stats.js';
import { queueState, type QueueSpec } from '../../paths/guest/queue.js';
import type { PortStats, Xstat } from '../port/types.js';

/** Counters of one queue, indexed as in paths/stats.ts. */
type Counters = ArrayLike<number>;

/** Names of ours, behind all of DPDK's. */
const RX_OWN: StatNames = [
  ['mbuf_allocation_errors', NOMBUF],
  ...DROP_STATS,
  ['dropped_offload', DROP_OFFLOAD],
  ['notifications', KICKS],
  ['notifications_suppressed', KICKS_SUPPRESSED],
];
const TX_OWN: StatNames = [
  ['dropped_reset', DROP_RESET],
  ['notifications', KICKS],
  ['notifications_suppressed', KICKS_SUPPRESSED],
];

const sum = (queues: readonly Counters[], index: number) => queues.reduce((total, queue) => total + queue[index]!, 0);

/** rte_eth_stats. The driver has no missed packets and no Tx errors: the application handles a full ring. */
function portStats(rx: readonly Counters[], tx: readonly Counters[]): PortStats {
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

/** rx_qN_*, tx_qN_*, then our own. */
function queueXstats(rx: readonly Counters[], tx: readonly Counters[]): Xstat[] {
  const perQueue = (queues: readonly Counters[], prefix: 'rx' | 'tx', names: StatNames) =>
    queues.flatMap((counters, q) =>
      names.map(([name, index]) => ({ name: `${prefix}_q${q}_${name}`, value: counters[index]! })),
    );
  return [
    ...perQueue(rx, 'rx', XSTAT_NAMES),
    ...perQueue(tx, 'tx', PACKET_STATS),
    ...perQueue(rx, 'rx', RX_OWN),
    ...perQueue(tx, 'tx', TX_OWN),
  ];
}

/** The queues that a port uses. */
export interface UsedQueues {
  readonly rx: readonly QueueSpec[];
  readonly tx: readonly QueueSpec[];
}

/** The queues of a port that is not configured. */
export const NO_QUEUES: UsedQueues = { rx: [], tx: [] };

/** Counters of queues since the last reset. New queues begin at 0. */
export class QueueCounters {
  /** Counters at the last reset, by queue. The counters themselves are not cleared: only the lcore writes them. */
  private readonly zero = new WeakMap<QueueSpec, Float64Array>();

  private of(queues: readonly QueueSpec[]): Float64Array[] {
    return queues.map((spec) => {
      const zero = this.zero.get(spec);
      const now = queueState(spec).stats;
      return zero === undefined ? now : now.map((value, i) => value - zero[i]!);
    });
  }

  stats({ rx, tx }: UsedQueues): PortStats {
    return portStats(this.of(rx), this.of(tx));
  }

  xstats({ rx, tx }: UsedQueues): Xstat[] {
    return queueXstats(this.of(rx), this.of(tx));
  }

  reset({ rx, tx }: UsedQueues): void {
    for (const spec of [...rx, ...tx]) this.zero.set(spec, queueState(spec).stats.slice());
  }
}
