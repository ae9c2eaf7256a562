/** What every path does once per burst, before or after its loop over the ring. */
import { HASH_REPORT_OFF, HASH_VALUE_OFF, MAX_LRO_PKTLEN, MAX_RX_PKTLEN, NET_HDR_HASH } from '../layout.js';
import { RTE_MBUF_F_RX_RSS_HASH } from '../mbuf.js';
import type { Mempool } from '../mempool.js';
import type { QueueSpec } from './queue.js';
import { specialize } from '../specialize.js';
import { BYTES, countGroup, PACKETS, SIZE_BINS, sizeBin } from '../stats.js';
import { stripVlan } from '../vlan.js';

/** VIRTIO_MBUF_BURST_SZ: the scalar Rx paths handle at most this many packets per call. */
export const MAX_BURST = 64;

/** Counts the first `n` packets of `pkts`. */
export type Account = (pkts: Uint32Array, n: number) => void;

/**
 * The counter of one queue. Size bins and multicast cost next to nothing: packets of equal length in a row are counted with
 * one addition, and the multicast bits of a burst are combined without a branch; only a burst that has any is read again.
 */
function accounter(stats: Float64Array, pool: Mempool): Account {
  const { u8, pktLen, dataOff, base, stride } = pool;
  return (pkts, n) => {
    let bytes = 0;
    let group = 0; // OR of the I/G bits of the destination addresses
    let runLength = 0;
    let run = 0;
    for (let i = 0; i < n; i++) {
      const m = pkts[i]! | 0; // below 2^31: avoids unsigned numbers, which V8 widens to doubles
      const length = pktLen[m]! | 0;
      bytes += length;
      group += u8[base + Math.imul(m, stride) + dataOff[m]!]! & 1;
      if (length !== runLength) {
        if (run > 0) stats[SIZE_BINS + sizeBin(runLength)]! += run;
        runLength = length;
        run = 0;
      }
      run++;
    }
    if (run > 0) stats[SIZE_BINS + sizeBin(runLength)]! += run;
    stats[PACKETS]! += n;
    stats[BYTES]! += bytes;
    if (group !== 0) accountGroups(stats, pool, pkts, n);
  };
}

const accounterScope = { SIZE_BINS, PACKETS, BYTES, sizeBin, accountGroups };

export function accountFor(stats: Float64Array, pool: Mempool): Account {
  return specialize(accounter, accounterScope, stats, pool);
}

function accountGroups(stats: Float64Array, pool: Mempool, pkts: Uint32Array, n: number): void {
  for (let i = 0; i < n; i++) countGroup(stats, pool.u8, pool.dataStart(pkts[i]!));
}

/** What a queue does with received packets after the work on the ring; undefined when there is nothing to do. */
export function afterRx(spec: QueueSpec, pool: Mempool): ((pkts: Uint32Array, n: number) => void) | undefined {
  const { vlanStrip, hashReport } = spec;
  if (!vlanStrip && !hashReport) return undefined;
  return (pkts, n) => {
    if (hashReport) readHashes(pool, pkts, n); // first: it expects the header in front of the data
    if (vlanStrip) stripVlan(pool, pkts, n);
  };
}

/** VIRTIO_NET_HASH_REPORT_NONE, and the last type that is defined. */
const HASH_REPORT_NONE = 0;
const HASH_REPORT_LAST = 9;

/** Takes the hash that the device reports in the net header (virtio 1.2 section 5.1.6.4.4). */
function readHashes(pool: Mempool, pkts: Uint32Array, n: number): void {
  const { u8, hash, olFlags } = pool;
  for (let i = 0; i < n; i++) {
    const m = pkts[i]!;
    const header = pool.dataStart(m) - NET_HDR_HASH;
    const at = header + HASH_VALUE_OFF;
    const type = u8[header + HASH_REPORT_OFF]! | (u8[header + HASH_REPORT_OFF + 1]! << 8);
    if (type === HASH_REPORT_NONE || type > HASH_REPORT_LAST) continue; // written by the device: not trusted
    hash[m] = u8[at]! | (u8[at + 1]! << 8) | (u8[at + 2]! << 16) | (u8[at + 3]! << 24);
    olFlags[m]! |= RTE_MBUF_F_RX_RSS_HASH;
  }
}

/** Bytes of the longest packet of several buffers that is accepted. */
export function maxLength({ lro }: QueueSpec): number {
  return lro ? MAX_LRO_PKTLEN : MAX_RX_PKTLEN;
}

/** Most buffers that one received packet may fill: one more than the longest packet needs. */
export function maxSegments(spec: QueueSpec, dataRoom: number): number {
  return Math.ceil(maxLength(spec) / dataRoom) + 1;
}
