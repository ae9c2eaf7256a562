/** Receives from a tap: each read is one packet, into one mbuf or a chain, with its net header in the headroom of the first. */
import { EBADFD, Vectors } from '../../../native/vectors.js';
import { rxOffloadFor, type RxOffload } from '../../../paths/guest/rx/offload.js';
import { ETHER_HDR_LEN } from '../../../paths/layout.js';
import { resetMbuf } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { BYTES, countDrop, DROP_RUNT, DROP_TOO_LONG, NOMBUF, PACKETS } from '../../../paths/stats.js';
import type { TapQueueSpec } from './spec.js';

export class TapReader {
  /** The last read has found that the tap was deleted. */
  deleted = false;
  private readonly vectors: Vectors;
  /** Mbufs for the next packet, in order; the first `missing` places are empty. Between bursts all are. */
  private readonly chain: Int32Array;
  private missing: number;
  private readonly offload: RxOffload | undefined;
  /** Address of element 0 of the mempool. */
  private readonly elements: number;
  private readonly overflow = new Uint8Array(64);

  constructor(
    private readonly spec: TapQueueSpec,
    private readonly pool: Mempool,
    private readonly stats: Float64Array,
  ) {
    const { segments, offload } = spec;
    this.chain = new Int32Array(segments);
    this.missing = segments;
    this.vectors = new Vectors(segments + 1);
    // what does not fit goes here: then the packet was too long
    this.vectors.setBytes(segments, this.overflow);
    this.offload = rxOffloadFor(offload, pool, stats);
    this.elements = Number(pool.spec.mapping.address) + pool.base;
  }

  /** @returns how many packets were received into `pkts` */
  read(pkts: Uint32Array, n: number): number {
    const { spec, vectors, stats, pool, offload } = this;
    const { hdrSize } = spec.offload;
    let done = 0;
    while (done < n) {
      if (!this.stock()) {
        stats[NOMBUF]! += 1;
        break;
      }
      const got = vectors.read(spec.fd, spec.segments + 1);
      if (got <= 0) {
        this.deleted = got === -EBADFD;
        break;
      }
      const length = got - hdrSize;
      if (length < ETHER_HDR_LEN) countDrop(stats, DROP_RUNT);
      else if (length > spec.segments * pool.dataRoom) countDrop(stats, DROP_TOO_LONG);
      else pkts[done++] = this.take(length);
    }
    for (; this.missing < spec.segments; this.missing++) pool.put(this.chain[this.missing]!);
    if (offload !== undefined) done = offload(pkts, done);
    let bytes = 0;
    for (let i = 0; i < done; i++) bytes += pool.pktLen[pkts[i]!]!;
    stats[PACKETS]! += done;
    stats[BYTES]! += bytes;
    return done;
  }

  /** Gets mbufs for the longest packet. @returns false when the mempool has too few */
  private stock(): boolean {
    const { chain, pool, vectors, elements, spec } = this;
    const { hdrSize } = spec.offload;
    while (this.missing > 0) {
      const m = pool.get();
      if (m === NIL) return false;
      const i = --this.missing;
      chain[i] = m;
      const data = elements + m * pool.stride + pool.headroom;
      if (i === 0) vectors.set(0, data - hdrSize, hdrSize + pool.dataRoom);
      else vectors.set(i, data, pool.dataRoom);
    }
    return true;
  }

  /** Makes a packet of the first mbufs. */
  private take(length: number): number {
    const { chain, pool, spec } = this;
    const { dataRoom, next } = pool;
    const first = chain[0]!;
    let left = length;
    let count = 0;
    while (left > 0) {
      const m = chain[count]!;
      resetMbuf(pool, m);
      pool.dataLen[m] = left < dataRoom ? left : dataRoom;
      if (count > 0) next[chain[count - 1]!] = m;
      left -= dataRoom;
      count++;
    }
    pool.nbSegs[first] = count;
    pool.pktLen[first] = length;
    pool.port[first] = spec.portId;
    this.missing = count;
    return first;
  }
}
