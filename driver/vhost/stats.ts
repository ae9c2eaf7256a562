/**
 * The counters of a ring under rte_vhost's names, and three more. They are named from the host's side: "rx" is what the guest
 * transmits.
 */
import {
  DROP_RUNT,
  DROP_SEGMENTS,
  DROP_STATS,
  DROP_TOO_LONG,
  KICKS,
  KICKS_SUPPRESSED,
  NOMBUF,
  PACKET_STATS,
} from '../../paths/stats.js';

/** Name, and index in a ring's counters; undefined for counters that do not exist here and read 0 (no IOTLB, no async copies). */
const names: readonly (readonly [name: string, index: number | undefined])[] = [
  ...PACKET_STATS,
  ['guest_notifications', KICKS],
  ['guest_notifications_offloaded', undefined],
  ['guest_notifications_error', undefined],
  ['guest_notifications_suppressed', KICKS_SUPPRESSED],
  ['iotlb_hits', undefined],
  ['iotlb_misses', undefined],
  ['inflight_submitted', undefined],
  ['inflight_completed', undefined],
  ['mbuf_alloc_failed', NOMBUF],
  // ours: why packets of the guest were dropped, or (tx) its buffers returned unused
  ...DROP_STATS,
];

/** @param queue virtqueue index. @param stats counters by the indices of paths/stats, or undefined for all zeros. */
export function namedStats(queue: number, stats: Float64Array | undefined): ReadonlyMap<string, number> {
  const prefix = `${queue & 1 ? 'rx' : 'tx'}_q${queue >> 1}_`;
  return new Map(
    names.map(([name, index]) => [prefix + name, index === undefined || stats === undefined ? 0 : stats[index]!]),
  );
}

/**
 * Packets of a ring that were dropped because of the guest's descriptors: on its Tx ring, chains that are no packet; on its Rx
 * ring, packets that do not fit into its buffers.
 */
export function droppedPackets(queue: number, stats: Float64Array): number {
  return queue & 1 ? stats[DROP_RUNT]! + stats[DROP_TOO_LONG]! + stats[DROP_SEGMENTS]! : stats[DROP_TOO_LONG]!;
}

/** "3 too short, 1 too long, 2 with buffers that cannot be used", or '' when nothing was dropped. */
export function describeDrops(stats: Float64Array): string {
  const counts: readonly (readonly [count: number, what: string])[] = [
    [stats[DROP_RUNT]!, 'too short'],
    [stats[DROP_TOO_LONG]!, 'too long'],
    [stats[DROP_SEGMENTS]!, 'with buffers that cannot be used'],
  ];
  return counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => `${count} ${what}`)
    .join(', ');
}
