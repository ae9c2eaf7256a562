/** The net header in front of every packet that is sent, and its place (virtio 1.2 section 5.1.6.2). */
import { viewsOf } from '../../../native/region.js';
import { DESC_F_NEXT, DESC_WORDS } from '../../layout.js';
import { NIL, type Mempool } from '../../mempool.js';
import { specialize } from '../../specialize.js';
import { MAX_TX_INDIRECT, TX_SLOT_SIZE, TX_SLOT_TABLE, type QueueSpec } from '../queue.js';
import { asksForOffload, writeOffloadHeader } from './offload.js';

/**
 * Writes the header of mbuf `m` at its element offset `off`, which is even. Without offloads the header is zeros, and words
 * that are zero already are not stored: an unconditional store costs up to 20 % (DPDK c9ea670c1d), as it takes the cache line
 * from the other side.
 */
export type PushHeader = (m: number, off: number) => void;

function headerClearer(pool: Mempool, hdrSize: number): PushHeader {
  const { i32, u16, base, stride } = pool;
  return (m, off) => {
    const at = base + Math.imul(m, stride) + off;
    if (hdrSize === 12 && (at & 3) === 0) {
      const word = at >> 2;
      if ((i32[word]! | i32[word + 1]! | i32[word + 2]!) !== 0) {
        i32[word] = 0;
        i32[word + 1] = 0;
        i32[word + 2] = 0;
      }
      return;
    }
    const end = (at + hdrSize) >> 1;
    for (let half = at >> 1; half < end; half++) if (u16[half] !== 0) u16[half] = 0;
  };
}

export function pushHeaderFor(spec: QueueSpec, pool: Mempool): PushHeader {
  const clear = specialize(headerClearer, {}, pool, spec.hdrSize);
  if (!spec.txOffload) return clear;
  const { u16, base, stride } = pool;
  return (m, off) => {
    if (asksForOffload(pool, m)) writeOffloadHeader(u16, (base + m * stride + off) >> 1, spec, pool, m);
    else clear(m, off);
  };
}

/** The queue's zone of slots, one per descriptor id: each for a header that cannot be pushed, and an indirect table. */
export class TxZone {
  private readonly u16: Uint16Array;
  private readonly u32: Uint32Array;
  private readonly offset: number;
  private readonly addressLo: number;
  private readonly addressHi: number;

  constructor(
    private readonly spec: QueueSpec,
    private readonly pool: Mempool,
  ) {
    const { u16, u32 } = viewsOf(spec.mapping);
    this.u16 = u16;
    this.u32 = u32;
    this.offset = spec.txZoneOff;
    this.addressLo = Number(spec.txZoneAddress & 0xffffffffn);
    this.addressHi = Number(spec.txZoneAddress >> 32n);
  }

  /** Writes the header of `m` to slot `id`, and descriptor words 0 to 2 at `d` for it. */
  writeHeader(ring: Uint32Array, d: number, id: number, m: number): void {
    const { u16, spec, pool } = this;
    const { hdrSize, txOffload } = spec;
    const slot = id * TX_SLOT_SIZE;
    const from = (this.offset + slot) >> 1;
    if (txOffload && asksForOffload(pool, m)) writeOffloadHeader(u16, from, spec, pool, m);
    else for (let half = 0; half < hdrSize >> 1; half++) if (u16[from + half] !== 0) u16[from + half] = 0;
    ring[d] = this.addressLo + slot;
    ring[d + 1] = this.addressHi;
    ring[d + 2] = hdrSize;
  }

  /** Fills the indirect table of slot `id` with header and segments of `m`, and writes descriptor words 0 to 2 at `d`. */
  writeTable(ring: Uint32Array, d: number, id: number, m: number): void {
    const { u32, pool } = this;
    const slot = id * TX_SLOT_SIZE;
    let t = (this.offset + slot + TX_SLOT_TABLE) >> 2;
    this.writeHeader(u32, t, id, m);
    let entries = 1;
    for (let segment = m; segment !== NIL && entries < MAX_TX_INDIRECT; segment = pool.next[segment]!) {
      // Entries of a packed table lie in order by definition; those of a split one are linked (sections 2.7.5.3, 2.8.8).
      u32[t + 3] = this.spec.packed ? 0 : DESC_F_NEXT | (entries << 16);
      t += DESC_WORDS;
      writeSegment(u32, t, pool, segment);
      entries++;
    }
    u32[t + 3] = 0;
    ring[d] = this.addressLo + slot + TX_SLOT_TABLE;
    ring[d + 1] = this.addressHi;
    ring[d + 2] = entries * DESC_WORDS * 4;
  }
}

/** Writes descriptor words 0 to 2 at `d` for the data of segment `m`. */
export function writeSegment(ring: Uint32Array, d: number, pool: Mempool, m: number): void {
  ring[d] = pool.addrLo[m]! + pool.dataOff[m]!;
  ring[d + 1] = pool.addrHi[m]!;
  ring[d + 2] = pool.dataLen[m]!;
}
