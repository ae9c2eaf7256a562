/**
 * Access to mbufs: plain functions over a mempool, and a view class for code outside of fast loops. Fast forwarding loops use
 * the mempool's columns directly; everything here costs a little more and is easier to read.
 *
 * Multi-byte fields are in network byte order. Offsets count from the first byte of the segment's data.
 */
import { VirtioPmdError } from '../native/errors.js';
import { NIL, type Mempool } from './mempool.js';

// RTE_MBUF_F_RX_*: what is known of a received packet, with DPDK's bits.

/** A VLAN tag was removed from the packet; it is in `vlanTci`. */
export const RTE_MBUF_F_RX_VLAN = 1 << 0;
export const RTE_MBUF_F_RX_VLAN_STRIPPED = 1 << 6;
/** The device has computed `hash` over the packet's addresses and ports. */
export const RTE_MBUF_F_RX_RSS_HASH = 1 << 1;
/** Two bits for the TCP or UDP checksum; neither set: unknown. */
export const RTE_MBUF_F_RX_L4_CKSUM_BAD = 1 << 3;
export const RTE_MBUF_F_RX_L4_CKSUM_GOOD = 1 << 8;
/** Both bits: the data is valid, but the packet has only the sum of the pseudo header. Sending it needs TX_*_CKSUM. */
export const RTE_MBUF_F_RX_L4_CKSUM_NONE = RTE_MBUF_F_RX_L4_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
export const RTE_MBUF_F_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_NONE;
/** Several segments of one TCP stream in one packet, `tsoSegsz` bytes each. */
export const RTE_MBUF_F_RX_LRO = 1 << 16;

// RTE_MBUF_F_TX_*: offloads requested for a packet that is sent. In DPDK they begin at bit 42; here they share a 32-bit word
// with the Rx flags, so that receiving a packet clears them. All of them but VLAN need `l2Len` and `l3Len`; TCP_SEG needs
// `l4Len` and `tsoSegsz` too.

/** Insert `vlanTci` as a tag. */
export const RTE_MBUF_F_TX_VLAN = 1 << 24;
/** The type of the L3 header: set one of the two with a checksum or segmentation. */
export const RTE_MBUF_F_TX_IPV4 = 1 << 25;
export const RTE_MBUF_F_TX_IPV6 = 1 << 26;
/** Complete the L4 checksum. */
export const RTE_MBUF_F_TX_TCP_CKSUM = 1 << 28;
export const RTE_MBUF_F_TX_UDP_CKSUM = 3 << 28;
export const RTE_MBUF_F_TX_L4_MASK = 3 << 28;
/** Cut a long TCP packet into segments with `tsoSegsz` bytes of payload; implies TCP_CKSUM. */
export const RTE_MBUF_F_TX_TCP_SEG = 1 << 30;
/** The flags that go into the net header. */
export const RTE_MBUF_F_TX_HEADER_MASK = RTE_MBUF_F_TX_L4_MASK | RTE_MBUF_F_TX_TCP_SEG;

/** Makes `m` an empty packet of one segment with the mempool's headroom in front. It must not be part of a chain. */
export function resetMbuf(pool: Mempool, m: number): void {
  pool.dataOff[m] = pool.headroom;
  pool.dataLen[m] = 0;
  pool.pktLen[m] = 0;
  pool.nbSegs[m] = 1;
  pool.next[m] = NIL;
  pool.olFlags[m] = 0;
  pool.vlanTci[m] = 0;
  pool.hash[m] = 0;
}

/**
 * Makes `m` a packet of one segment with the first `length` bytes of `bytes`.
 * @returns false, with `m` unchanged, when they do not fit into its data room.
 */
export function writeBytes(pool: Mempool, m: number, bytes: Uint8Array, length = bytes.length): boolean {
  if (length > pool.dataRoom) return false;
  resetMbuf(pool, m);
  pool.dataLen[m] = length;
  pool.pktLen[m] = length;
  const { u8 } = pool;
  const start = pool.dataStart(m);
  for (let i = 0; i < length; i++) u8[start + i] = bytes[i]!;
  return true;
}

/**
 * Makes a packet with the content of `bytes` from new mbufs, in segments of at most `segmentSize` bytes.
 * @returns its first mbuf, or NIL when the pool has too few.
 */
export function packetFrom(pool: Mempool, bytes: Uint8Array, segmentSize = pool.dataRoom): number {
  const limit = Math.max(1, Math.min(segmentSize, pool.dataRoom));
  let first = NIL;
  let last = NIL;
  for (let from = 0; from < bytes.length || first === NIL; from += limit) {
    const m = pool.get();
    if (m === NIL) {
      if (first !== NIL) pool.free(first);
      return NIL;
    }
    writeBytes(pool, m, bytes.subarray(from, from + limit));
    if (first === NIL) first = m;
    else {
      pool.next[last] = m;
      pool.nbSegs[first]!++;
    }
    last = m;
  }
  pool.pktLen[first] = bytes.length;
  return first;
}

/** A copy of a packet's bytes, all segments. */
export function readPacket(pool: Mempool, m: number): Uint8Array {
  const packet = new Uint8Array(pool.pktLen[m]!);
  let at = 0;
  for (let segment = m; segment !== NIL && at < packet.length; segment = pool.next[segment]!) {
    const start = pool.dataStart(segment);
    const length = Math.min(pool.dataLen[segment]!, packet.length - at);
    packet.set(pool.u8.subarray(start, start + length), at);
    at += length;
  }
  return packet;
}

/** Metadata of a whole packet, in its first segment. */
const metadata = ['olFlags', 'hash', 'port', 'vlanTci', 'l2Len', 'l3Len', 'l4Len', 'tsoSegsz'] as const;

/**
 * Copies a packet, with all segments and metadata, into new mbufs of the same pool (rte_pktmbuf_copy). Both are the caller's then.
 * Segments of the copy are full, but for the last.
 * @returns the first mbuf of the copy, or NIL when the pool has too few.
 */
export function copyPacket(pool: Mempool, m: number): number {
  const { u8, dataLen, dataRoom, next, nbSegs, pktLen } = pool;
  const first = pool.get();
  if (first === NIL) return NIL;
  resetMbuf(pool, first);
  let last = first;
  for (let segment = m; segment !== NIL; segment = next[segment]!) {
    const from = pool.dataStart(segment);
    for (let copied = 0; copied < dataLen[segment]!;) {
      if (dataLen[last] === dataRoom) {
        const following = pool.get();
        if (following === NIL) {
          pool.free(first);
          return NIL;
        }
        resetMbuf(pool, following);
        next[last] = following;
        nbSegs[first]!++;
        last = following;
      }
      const length = Math.min(dataLen[segment]! - copied, dataRoom - dataLen[last]!);
      u8.copyWithin(pool.dataStart(last) + dataLen[last]!, from + copied, from + copied + length);
      dataLen[last]! += length;
      copied += length;
    }
  }
  pktLen[first] = pktLen[m]!;
  for (const column of metadata) pool[column][first] = pool[column][m]!;
  return first;
}

/** Free bytes in front of the segment's data (rte_pktmbuf_headroom). */
export function headroomOf(pool: Mempool, m: number): number {
  return pool.dataOff[m]!;
}

/** Free bytes behind the segment's data (rte_pktmbuf_tailroom). */
export function tailroomOf(pool: Mempool, m: number): number {
  return pool.headroom + pool.dataRoom - pool.dataOff[m]! - pool.dataLen[m]!;
}

/** The last segment of a packet. */
export function lastSegment(pool: Mempool, m: number): number {
  const { next } = pool;
  while (next[m] !== NIL) m = next[m]!;
  return m;
}

/**
 * A view of one mbuf: a cursor that `at` moves without allocating. Its methods throw ECONFIG instead of accessing bytes
 * outside the segment.
 *
 * ```ts
 * const view = new MbufView(pool);
 * for (let i = 0; i < n; i++) if (view.at(pkts[i]!).readU16(12) === 0x0806) answerArp(view);
 * ```
 */
export class MbufView {
  /** The current mbuf. */
  m = NIL;

  constructor(readonly pool: Mempool) {}

  /** Moves the view to `m`. */
  at(m: number): this {
    this.m = m;
    return this;
  }

  /** Bytes of the whole packet (first segment only). */
  get pktLen(): number {
    return this.pool.pktLen[this.m]!;
  }

  /** Bytes in this segment. */
  get dataLen(): number {
    return this.pool.dataLen[this.m]!;
  }

  /** Segments of the packet (first segment only). */
  get nbSegs(): number {
    return this.pool.nbSegs[this.m]!;
  }

  /** The next segment, or NIL. */
  get next(): number {
    return this.pool.next[this.m]!;
  }

  /** Port that the packet came from. */
  get port(): number {
    return this.pool.port[this.m]!;
  }

  get olFlags(): number {
    return this.pool.olFlags[this.m]!;
  }

  get vlanTci(): number {
    return this.pool.vlanTci[this.m]!;
  }

  get hash(): number {
    return this.pool.hash[this.m]!;
  }

  get headroom(): number {
    return headroomOf(this.pool, this.m);
  }

  get tailroom(): number {
    return tailroomOf(this.pool, this.m);
  }

  /** The segment's bytes, in place. Allocates a view object at each call; do not keep it after freeing the mbuf. */
  get data(): Uint8Array {
    const start = this.pool.dataStart(this.m);
    return this.pool.u8.subarray(start, start + this.dataLen);
  }

  /** A copy of the whole packet. */
  toBytes(): Uint8Array {
    return readPacket(this.pool, this.m);
  }

  /**
   * Extends the packet by `n` bytes at its end (rte_pktmbuf_append).
   * @returns their byte offset in the mempool's views.
   */
  append(n: number): number {
    const { pool, m } = this;
    const last = lastSegment(pool, m);
    if (n < 0 || n > tailroomOf(pool, last)) this.refuse('append', n, tailroomOf(pool, last));
    const start = pool.dataStart(last) + pool.dataLen[last]!;
    pool.dataLen[last]! += n;
    pool.pktLen[m]! += n;
    return start;
  }

  /**
   * Extends the packet by `n` bytes in front (rte_pktmbuf_prepend).
   * @returns their byte offset in the mempool's views.
   */
  prepend(n: number): number {
    const { pool, m } = this;
    if (n < 0 || n > this.headroom) this.refuse('prepend', n, this.headroom);
    pool.dataOff[m]! -= n;
    pool.dataLen[m]! += n;
    pool.pktLen[m]! += n;
    return pool.dataStart(m);
  }

  /** Removes `n` bytes at the front of the first segment (rte_pktmbuf_adj). */
  adj(n: number): void {
    const { pool, m } = this;
    if (n < 0 || n > this.dataLen) this.refuse('adj', n, this.dataLen);
    pool.dataOff[m]! += n;
    pool.dataLen[m]! -= n;
    pool.pktLen[m]! -= n;
  }

  /** Removes `n` bytes at the end of the last segment (rte_pktmbuf_trim). */
  trim(n: number): void {
    const { pool, m } = this;
    const last = lastSegment(pool, m);
    if (n < 0 || n > pool.dataLen[last]!) this.refuse('trim', n, pool.dataLen[last]!);
    pool.dataLen[last]! -= n;
    pool.pktLen[m]! -= n;
  }

  readU8(offset: number): number {
    return this.pool.u8[this.locate(offset, 1)]!;
  }

  readU16(offset: number): number {
    const at = this.locate(offset, 2);
    const { u8 } = this.pool;
    return (u8[at]! << 8) | u8[at + 1]!;
  }

  readU32(offset: number): number {
    return this.readU16(offset) * 0x10000 + this.readU16(offset + 2);
  }

  writeU8(offset: number, value: number): void {
    this.pool.u8[this.locate(offset, 1)] = value;
  }

  writeU16(offset: number, value: number): void {
    const at = this.locate(offset, 2);
    const { u8 } = this.pool;
    u8[at] = value >>> 8;
    u8[at + 1] = value;
  }

  writeU32(offset: number, value: number): void {
    this.locate(offset, 4);
    this.writeU16(offset, (value >>> 16) & 0xffff);
    this.writeU16(offset + 2, value & 0xffff);
  }

  /** Offset in the mempool's views of `width` bytes at `offset`, which must lie in the segment. */
  private locate(offset: number, width: number): number {
    const { pool, m } = this;
    if (!(offset >= 0 && offset + width <= pool.dataLen[m]!)) {
      throw new VirtioPmdError(
        'ECONFIG',
        `mbuf ${m} has ${pool.dataLen[m]!} bytes of data: nothing to access at offset ${offset}, width ${width}`,
      );
    }
    return pool.dataStart(m) + offset;
  }

  private refuse(what: string, n: number, room: number): never {
    throw new VirtioPmdError('ECONFIG', `${what} of ${n} bytes on mbuf ${this.m}: 0 to ${room} are possible`);
  }
}
