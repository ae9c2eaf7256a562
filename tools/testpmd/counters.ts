/** What testpmd itself counts, by stream, in shared memory: written once per burst by the stream's lcore. */

export const RX_PACKETS = 0;
export const TX_PACKETS = 1;
/** Packets that the Tx queue did not take, freed by us. */
export const TX_DROPPED = 2;
/** One cache line per stream, so that lcores do not share one. */
export const STREAM_COUNTERS = 8;

export interface StreamCounts {
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly txDropped: number;
}

export function countersBytes(streams: number): number {
  return streams * STREAM_COUNTERS * Float64Array.BYTES_PER_ELEMENT;
}

export function readCounters(shared: SharedArrayBuffer, stream: number): StreamCounts {
  const counts = new Float64Array(shared, countersBytes(stream), STREAM_COUNTERS);
  return { rxPackets: counts[RX_PACKETS]!, txPackets: counts[TX_PACKETS]!, txDropped: counts[TX_DROPPED]! };
}
