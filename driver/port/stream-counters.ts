/** Counters of forwarding streams, in memory that every thread may read. The stream's lcore writes them once per burst. */

import { aSharedBuffer, aWhole, checkArguments } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';

export const RX_PACKETS = 0;
export const TX_PACKETS = 1;
export const TX_DROPPED = 2;
/** Counters per stream: one cache line, so that lcores do not share lines. */
const STREAM_COUNTERS = 8;

export interface StreamCounts {
  readonly rxPackets: number;
  readonly txPackets: number;
  /** Packets that the Tx queue did not take, and those that a mode dropped. */
  readonly txDropped: number;
}

/** Bytes for the counters of `streams` streams. */
export function streamCountersBytes(streams = 1): number {
  checkArguments('streamCountersBytes', { streams: [streams, aWhole] });
  return streams * STREAM_COUNTERS * Float64Array.BYTES_PER_ELEMENT;
}

/** The words of one stream's counters. */
export function streamCounters(shared: SharedArrayBuffer, stream = 0): Float64Array {
  checkArguments('stream counters', { shared: [shared, aSharedBuffer], stream: [stream, aWhole] });
  if (shared.byteLength < streamCountersBytes(stream + 1)) {
    throw new VirtioPmdError(
      'ECONFIG',
      `counters of stream ${stream} in ${shared.byteLength} bytes: expected at least streamCountersBytes(${stream + 1}), which are ${streamCountersBytes(stream + 1)}`,
    );
  }
  return new Float64Array(shared, streamCountersBytes(stream), STREAM_COUNTERS);
}

export function readStreamCounts(shared: SharedArrayBuffer, stream = 0): StreamCounts {
  const counts = streamCounters(shared, stream);
  return { rxPackets: counts[RX_PACKETS]!, txPackets: counts[TX_PACKETS]!, txDropped: counts[TX_DROPPED]! };
}
