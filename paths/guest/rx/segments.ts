/** Packets of several buffers: what the mergeable paths do with each buffer after taking it off the ring. */
import type { Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { countDrop, DROP_SEGMENTS } from '../../stats.js';
import { maxLength } from '../burst.js';
import type { QueueSpec } from '../queue.js';

export interface Segments {
  /** Chains `segment`, with `length` bytes, behind `last`, the last of packet `m`. @returns whether the length is valid */
  readonly append: (m: number, last: number, segment: number, length: number) => boolean;
  /** Ends packet `m`. Drops all of it when it is not `sound`, or too long. @returns false when it was dropped */
  readonly end: (m: number, sound: boolean) => boolean;
}

function segments(spec: QueueSpec, pool: Mempool, stats: Float64Array): Segments {
  const { dataOff, dataLen, pktLen, next, nbSegs } = pool;
  const start = pool.headroom - spec.hdrSize; // no net header in these: data begins at the start of the buffer
  const room = pool.dataRoom + spec.hdrSize;
  const lengthLimit = maxLength(spec);

  function append(m: number, last: number, segment: number, length: number): boolean {
    dataOff[segment] = start;
    dataLen[segment] = length;
    next[last] = segment;
    nbSegs[m]! += 1;
    pktLen[m]! += length;
    return length > 0 && length <= room;
  }

  function end(m: number, sound: boolean): boolean {
    if (sound && pktLen[m]! <= lengthLimit) return true;
    countDrop(stats, DROP_SEGMENTS);
    pool.free(m);
    return false;
  }

  return { append, end };
}

const scope = { DROP_SEGMENTS, countDrop, maxLength };

export function segmentsFor(spec: QueueSpec, pool: Mempool, stats: Float64Array): Segments {
  return specialize(segments, scope, spec, pool, stats);
}
