/** Sends to a tap: each write is one packet, its segments behind a net header. */
import { constants } from 'node:os';
import { EBADFD, Vectors } from '../../../native/vectors.js';
import { asksForOffload, writeOffloadHeader } from '../../../paths/guest/tx/offload.js';
import { ETHER_HDR_LEN, MAX_LRO_PKTLEN } from '../../../paths/layout.js';
import { RTE_MBUF_F_TX_TCP_SEG } from '../../../paths/mbuf.js';
import { NIL, type Mempool } from '../../../paths/mempool.js';
import { BYTES, DROP_TX, ERRORS, PACKETS } from '../../../paths/stats.js';
import { LONGEST_TX, MAX_SEGMENTS, type TapQueueSpec } from './spec.js';

const { EAGAIN, EIO } = constants.errno;

export class TapWriter {
  /** The last write has found that the tap was deleted. */
  deleted = false;
  private readonly vectors = new Vectors(1 + MAX_SEGMENTS);
  private readonly header: Uint16Array;
  private readonly control: Int32Array;
  /** Address of element 0 of the mempool. */
  private readonly elements: number;

  constructor(
    private readonly spec: TapQueueSpec,
    private readonly pool: Mempool,
    private readonly stats: Float64Array,
  ) {
    this.header = new Uint16Array(spec.offload.hdrSize >> 1);
    this.vectors.setBytes(0, new Uint8Array(this.header.buffer));
    this.control = new Int32Array(spec.control);
    this.elements = Number(pool.spec.mapping.address) + pool.base;
  }

  /** @returns how many of the first packets were taken: sent, or counted as errors */
  write(pkts: Uint32Array, n: number): number {
    const { pool, stats } = this;
    let done = 0;
    let sent = 0;
    let bytes = 0;
    let down = false;
    for (; done < n; done++) {
      const m = pkts[done]!;
      const length = pool.pktLen[m]!;
      const result = down ? 0 : this.writeOne(m);
      if (result === -EAGAIN) break; // its queue is full
      if (result > 0) {
        sent++;
        bytes += length;
      } else stats[ERRORS]! += 1;
      // the interface is down, or gone: so it is for the rest of the burst
      if (result === -EIO || result === -EBADFD) down = true;
      this.deleted = result === -EBADFD || this.deleted;
      pool.free(m);
    }
    stats[PACKETS]! += sent;
    stats[BYTES]! += bytes;
    return done;
  }

  /** @returns above 0 when it was sent; 0 when it cannot be; the negative number of an error */
  private writeOne(m: number): number {
    const { pool, spec, header, vectors, elements } = this;
    const segment = (pool.olFlags[m]! & RTE_MBUF_F_TX_TCP_SEG) !== 0;
    const longest = segment ? MAX_LRO_PKTLEN : this.control[LONGEST_TX]!;
    if (pool.pktLen[m]! < ETHER_HDR_LEN || pool.pktLen[m]! > longest) return 0;
    if (spec.offload.txOffload === true && asksForOffload(pool, m))
      writeOffloadHeader(header, 0, spec.offload, pool, m);
    else header.fill(0);
    let count = 1;
    for (let s = m; s !== NIL; s = pool.next[s]!) {
      if (count > MAX_SEGMENTS) {
        this.stats[DROP_TX]! += 1;
        return 0;
      }
      vectors.set(count++, elements + s * pool.stride + pool.dataOff[s]!, pool.dataLen[s]!);
    }
    return vectors.write(spec.fd, count);
  }
}
