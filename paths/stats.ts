/**
 * Counters of one queue: a Float64Array (exact to 2^53), written once per burst by the thread that polls the queue, and read
 * by any thread. The order is that of the driver's xstats (virtio_ethdev.c), followed by our own.
 */

export const PACKETS = 0;
export const BYTES = 1;
/** Rx: packets dropped because the device wrote invalid data (runts, bad lengths). */
export const ERRORS = 2;
export const MULTICAST = 3;
export const BROADCAST = 4;
/** First of eight bins: <64, 64, 65-127, 128-255, 256-511, 512-1023, 1024-1518, >1518 bytes. */
export const SIZE_BINS = 5;
/** Rx: mbufs that were missing to refill the ring, because the mempool was empty (rx_nombuf). */
export const NOMBUF = 13;
/** Doorbells rung, and bursts without one because the device polls. */
export const KICKS = 14;
export const KICKS_SUPPRESSED = 15;
/** Why packets were dropped on Rx: shorter than an Ethernet header; longer than the buffer; wrong segments. */
export const DROP_RUNT = 16;
export const DROP_TOO_LONG = 17;
export const DROP_SEGMENTS = 18;
/** Tx: packets that the device still held when the ring was reset: whether they were sent is unknown. */
export const DROP_RESET = 19;
/** Tx: packets of more segments than the ring has descriptors. */
export const DROP_TX = 20;
/** Rx: packets with an invalid net header (guest/rx/offload.ts). */
export const DROP_OFFLOAD = 21;
export const STATS_COUNT = 24;

/** Counters of a queue by name, without the `rx_qN_` or `tx_qN_` in front. */
export type StatNames = readonly (readonly [name: string, index: number])[];

/** What every queue counts of its packets, by the names of DPDK's driver and of its vhost library. */
export const PACKET_STATS: StatNames = [
  ['good_packets', PACKETS],
  ['good_bytes', BYTES],
  ['multicast_packets', MULTICAST],
  ['broadcast_packets', BROADCAST],
  ['undersize_packets', SIZE_BINS],
  ['size_64_packets', SIZE_BINS + 1],
  ['size_65_127_packets', SIZE_BINS + 2],
  ['size_128_255_packets', SIZE_BINS + 3],
  ['size_256_511_packets', SIZE_BINS + 4],
  ['size_512_1023_packets', SIZE_BINS + 5],
  ['size_1024_1518_packets', SIZE_BINS + 6],
  ['size_1519_max_packets', SIZE_BINS + 7],
];

/** What an Rx queue of the driver counts, in DPDK's order: the errors stand behind the bytes. Tx has no errors. */
export const XSTAT_NAMES: StatNames = PACKET_STATS.flatMap((entry) =>
  entry[1] === BYTES ? [entry, ['errors', ERRORS] as const] : [entry],
);

/** Why packets, or buffers, were dropped, on either side of a ring; names of ours. */
export const DROP_STATS: StatNames = [
  ['dropped_runt', DROP_RUNT],
  ['dropped_too_long', DROP_TOO_LONG],
  ['dropped_segments', DROP_SEGMENTS],
];

/** The bin (0 to 7) of a packet of `length` bytes. */
export function sizeBin(length: number): number {
  if (length < 64) return 0;
  if (length === 64) return 1;
  if (length < 1024) return 27 - Math.clz32(length); // 65..127 -> 2, ... 512..1023 -> 5
  return length < 1519 ? 6 : 7;
}

/** MULTICAST or BROADCAST by the destination address at byte `at` of `u8`; undefined for unicast. */
export function groupCounter(u8: Uint8Array, at: number): typeof MULTICAST | typeof BROADCAST | undefined {
  if ((u8[at]! & 1) === 0) return undefined;
  let all = 0xff;
  for (let b = 0; b < 6; b++) all &= u8[at + b]!;
  return all === 0xff ? BROADCAST : MULTICAST;
}

/** Counts a multicast or broadcast packet as such. */
export function countGroup(stats: Float64Array, u8: Uint8Array, at: number): void {
  const counter = groupCounter(u8, at);
  if (counter !== undefined) stats[counter]! += 1;
}

/** Counts a packet that was dropped, or a buffer that was returned unused, with its reason (a DROP_* counter). */
export function countDrop(stats: Float64Array, reason: number): void {
  stats[ERRORS]! += 1;
  stats[reason]! += 1;
}
