/**
 * A started queue as plain data. The control plane makes a `QueueSpec` and posts it to the lcore that polls the queue, which
 * opens the path from it. All mutable state is in memory that both threads see: the ring (shared with the device) and
 * `shared` (private: the device cannot access it).
 *
 * One thread at a time uses a queue. The control plane touches a queue's state only while no lcore polls it.
 */
import { aWhole, checkArgument, checkArguments, madeBy } from '../../native/arguments.js';
import type { SimdIsa } from '../../native/helper.js';
import { viewsOf, type Mapping } from '../../native/region.js';
import { DESC_SIZE, packedLayout, splitLayout, AVAIL_F_NO_INTERRUPT, EVENT_F_DISABLE } from '../layout.js';
import type { Mempool } from '../mempool.js';
import { NIL, type MempoolSpec } from '../mempool.js';
import { DROP_RESET, STATS_COUNT } from '../stats.js';

/** The eleven recipes' callbacks, by the PMD guide's names. */
export type RxPathName =
  | 'virtio_recv_pkts'
  | 'virtio_recv_mergeable_pkts'
  | 'virtio_recv_pkts_inorder'
  | 'virtio_recv_pkts_vec'
  | 'virtio_recv_pkts_packed'
  | 'virtio_recv_mergeable_pkts_packed'
  | 'virtio_recv_pkts_packed_vec';

export type TxPathName =
  'virtio_xmit_pkts' | 'virtio_xmit_pkts_inorder' | 'virtio_xmit_pkts_packed' | 'virtio_xmit_pkts_packed_vec';

/** How to tell the device that there is work. */
export type Doorbell =
  | { readonly kind: 'none' }
  /** An eventfd that only the kernel and we hold. */
  | { readonly kind: 'eventfd'; readonly fd: number }
  /** An eventfd that a back-end in another process holds too, and may do anything to. */
  | { readonly kind: 'peer-eventfd'; readonly fd: number }
  /** One store of `value` to the device register at byte `offset` of `mapping`: 2 bytes. */
  | { readonly kind: 'mmio'; readonly mapping: Mapping; readonly offset: number; readonly value: number }
  /** NOTIFICATION_DATA: one store of 4 bytes, with `value` in the lower half and the driver's position in the upper. */
  | { readonly kind: 'mmio-data'; readonly mapping: Mapping; readonly offset: number; readonly value: number }
  /** `value` written with pwrite, 2 bytes: port I/O has no store. */
  | { readonly kind: 'port'; readonly fd: number; readonly offset: number; readonly value: number };

/** What was negotiated of checksums and segmentation: as much of a queue as the net header depends on. */
export type OffloadSpec = Pick<QueueSpec, 'hdrSize' | 'rxOffload' | 'lro' | 'txOffload' | 'txTso'>;

export interface QueueSpec {
  readonly portId: number;
  /** Rx or Tx queue number (not the virtqueue's: that is 2n or 2n + 1). */
  readonly queueId: number;
  /** The callback to run; chosen by paths/select. */
  readonly path: RxPathName | TxPathName;
  /** The instruction set of a vectorized path; undefined when the path is scalar. */
  readonly simd: SimdIsa | undefined;
  /** Memory that holds the ring and the Tx header zone. */
  readonly mapping: Mapping;
  readonly packed: boolean;
  /** Descriptors in the ring; a power of two when split. */
  readonly size: number;
  /** Offset of the ring in the mapping, a multiple of 4096; its parts are at splitLayout or packedLayout(size). */
  readonly ringOff: number;
  /** Bytes of the net header: 10, 12 or 20. */
  readonly hdrSize: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** VERSION_1 or ANY_LAYOUT: the header may share a descriptor with the data. */
  readonly anyLayout: boolean;
  /** rx_free_thresh or tx_free_thresh. */
  readonly freeThresh: number;
  /** Descriptors that may be used: nb_desc of the queue set-up, at most `size`. */
  readonly nbDesc: number;
  readonly vlanStrip: boolean;
  /** Rx: the device reports a hash of each packet in the net header, which is 20 bytes then. */
  readonly hashReport?: boolean;
  /** Rx: GUEST_CSUM or GUEST_TSO was negotiated: the net header has information on checksums and segment sizes. */
  readonly rxOffload?: boolean;
  /** Rx: GUEST_TSO was negotiated: packets may have up to 65535 bytes behind the Ethernet header, the limit of IP. */
  readonly lro?: boolean;
  /** Tx: CSUM was negotiated: the net header may ask for a checksum. */
  readonly txOffload?: boolean;
  /** Tx: HOST_TSO4 and HOST_TSO6 were negotiated too: the net header may ask for segmentation. */
  readonly txTso?: boolean;
  /** Tx: offset in the mapping of `size` slots of TX_SLOT_SIZE bytes, for headers that cannot be pushed and indirect tables. */
  readonly txZoneOff: number;
  /** Tx: device address of that zone. */
  readonly txZoneAddress: bigint;
  readonly mempool: MempoolSpec;
  readonly doorbell: Doorbell;
  /** Rx: becomes readable when the device notifies us of packets (see interrupt.ts); absent without Rx interrupts. */
  readonly interruptFd?: number | undefined;
  /** queueSharedBytes(size) bytes of private state. */
  readonly shared: SharedArrayBuffer;
}

/** Bytes of a Tx slot: the net header at 0 (32 bytes reserved), then an indirect table of up to 8 descriptors. */
export const TX_SLOT_SIZE = 32 + 8 * DESC_SIZE;
export const TX_SLOT_TABLE = 32;
/** Packets of this many segments or more never use an indirect table (VIRTIO_MAX_TX_INDIRECT). */
export const MAX_TX_INDIRECT = 8;

// ---- private state: Int32 words ------------------------------------------------------------------------------------

/** Not 0 while bursts may touch the ring. Written by the control plane, read at the start of every burst. */
export const STARTED = 0;
/** Split: avail idx (16 bits) as we published it last. Packed: next descriptor to make available. */
export const AVAIL_IDX = 1;
/** Split: used idx (16 bits) up to which we have consumed. Packed: next descriptor to find used. */
export const USED_IDX = 2;
/** Number of free descriptors: not made available to the device. */
export const FREE_COUNT = 3;
/** Start of the free descriptors in `freeRing` (they are FREE_COUNT entries from here, wrapping). */
export const FREE_HEAD = 4;
/** Packed wrap counters, 0 or 1, of AVAIL_IDX and USED_IDX. */
export const AVAIL_WRAP = 5;
export const USED_WRAP = 6;
/** 0, or why the queue is broken (BROKEN_*): only a reset of the queue clears it. */
export const BROKEN = 7;
/** Consecutive polls that found a mergeable packet incomplete. */
export const STALLED = 8;
/** 1 once resetQueue has run: before that, zeros in `cookie` do not mean mbuf 0. */
export const INITIALISED = 9;
/** Packed Tx: index in `freeRing` for the next id that comes back. */
export const FREE_TAIL = 10;
const STATE_WORDS = 32;

/**
 * How many consecutive polls may find the same packet incomplete before the queue is broken. A device publishes all buffers
 * of a packet at once; this tolerates devices that do not, for some 0.1 s of polling.
 */
export const MAX_STALLED_POLLS = 1 << 20;

/** Values of BROKEN; `brokenReason` has the sentences. */
export const BROKEN_INDEX = 1;
export const BROKEN_ID = 2;
export const BROKEN_TWICE = 3;
export const BROKEN_ORDER = 4;
export const BROKEN_STALLED = 5;
const BROKEN_RELEASED = 6;

const reasons: readonly string[] = [
  '',
  'the device moved the used index past what was made available',
  'the device used a descriptor id that does not exist',
  'the device used a descriptor that was not outstanding',
  'the device used descriptors out of order although IN_ORDER was negotiated',
  'the device announced a packet of several buffers and never delivered the rest',
  'its port was closed or configured anew: there is another queue',
];

export function brokenReason(code: number): string {
  return reasons[code] ?? `code ${code}`;
}

/** Bytes of `QueueSpec.shared`: state words, counters, then three columns of `size` entries. */
export function queueSharedBytes(size: number): number {
  checkArgument('queueSharedBytes', 'size', size, aWhole);
  return STATE_WORDS * 4 + STATS_COUNT * 8 + size * (4 + 2 + 2 + 2) + 64;
}

/** One thread's typed arrays over a queue's private state. */
export interface QueueState {
  readonly words: Int32Array;
  readonly stats: Float64Array;
  /** By descriptor id: the mbuf (Tx: the packet's first) that the device holds under it, or NIL. */
  readonly cookie: Int32Array;
  /** By descriptor id: how many descriptors the chain has that begins there. */
  readonly chain: Uint16Array;
  /** By descriptor id: the next one of the chain (split). */
  readonly link: Uint16Array;
  /** Free descriptor ids, oldest first, so that ids keep following the ring. */
  readonly freeRing: Uint16Array;
}

export function queueState(spec: Pick<QueueSpec, 'shared' | 'size'>): QueueState {
  const { shared, size } = spec;
  let at = STATE_WORDS * 4;
  const stats = new Float64Array(shared, at, STATS_COUNT);
  at += STATS_COUNT * 8;
  const cookie = new Int32Array(shared, at, size);
  at += size * 4;
  const chain = new Uint16Array(shared, at, size);
  at += size * 2;
  const link = new Uint16Array(shared, at, size);
  at += size * 2;
  const freeRing = new Uint16Array(shared, at, size);
  return { words: new Int32Array(shared, 0, STATE_WORDS), stats, cookie, chain, link, freeRing };
}

export function layoutOf(spec: Pick<QueueSpec, 'packed' | 'size'>) {
  return spec.packed ? packedLayout(spec.size) : splitLayout(spec.size);
}

const aQueueSpec = madeBy('port.spec()', 'path', 'size', 'shared');
const aPool = madeBy('eal.mempool or context.mempool', 'spec', 'putBulk');

function checkQueue(where: string, spec: QueueSpec, pool: Mempool): void {
  checkArguments(where, { spec: [spec, aQueueSpec], pool: [pool, aPool] });
}

/**
 * Initializes ring and state: no descriptor with the device, all indices 0, wrap counters 1, interrupts disabled (we poll).
 * Mbufs that the device held are freed; on Tx they count as `DROP_RESET`. Call it only when the device has stopped using the
 * ring and no lcore polls it.
 */
export function resetQueue(spec: QueueSpec, pool: Mempool): void {
  checkQueue('resetQueue', spec, pool);
  const state = queueState(spec);
  const { words, cookie, freeRing } = state;
  const returned = reclaim(spec, pool);
  if (isTx(spec)) state.stats[DROP_RESET]! += returned;

  const layout = layoutOf(spec);
  const { u8, u16 } = viewsOf(spec.mapping);
  u8.fill(0, spec.ringOff, spec.ringOff + layout.byteLength);
  words.fill(0);
  cookie.fill(NIL);
  words[INITIALISED] = 1;
  words[FREE_COUNT] = spec.nbDesc;
  for (let id = 0; id < spec.size; id++) freeRing[id] = id;
  const driver = (spec.ringOff + layout.driver) >> 1;
  if (spec.packed) {
    words[AVAIL_WRAP] = 1;
    words[USED_WRAP] = 1;
    u16[driver + 1] = EVENT_F_DISABLE;
  } else if (!spec.eventIdx) {
    u16[driver] = AVAIL_F_NO_INTERRUPT;
  }
}

/** Frees every mbuf that the device still holds. @returns how many packets (Tx) or buffers (Rx). */
export function reclaim(spec: QueueSpec, pool: Mempool): number {
  checkQueue('reclaim', spec, pool);
  const { unchecked } = pool; // the device has these mbufs, not the program
  const { cookie, words } = queueState(spec);
  if (words[INITIALISED] === 0) return 0;
  let returned = 0;
  for (let id = 0; id < spec.size; id++) {
    if (cookie[id] === NIL) continue;
    unchecked.free(cookie[id]!);
    cookie[id] = NIL;
    returned++;
  }
  return returned;
}

/** Ends a queue whose memory is given back: paths that are still open access neither ring nor mempool. */
export function retireQueue(spec: QueueSpec): void {
  const { words } = queueState(spec);
  words[FREE_COUNT] = 0;
  words[BROKEN] = BROKEN_RELEASED;
}

export function isTx(spec: QueueSpec): boolean {
  return spec.path.startsWith('virtio_xmit');
}

/**
 * The value for SET_VRING_BASE: where the device continues. Split: the avail index of the next buffer it has to use. Packed:
 * bits 0-14 and 15 are that index and its wrap counter, 16-30 and 31 the same of the used side.
 */
export function ringBase(spec: QueueSpec): number {
  checkArgument('ringBase', 'spec', spec, aQueueSpec);
  const { words } = queueState(spec);
  if (!spec.packed) return words[USED_IDX]!;
  const used = words[USED_IDX]! | (words[USED_WRAP]! << 15);
  return (used | (used << 16)) >>> 0;
}

/** An Rx queue in one thread: `recv` fills `pkts` with mbuf indices and returns how many (at most `n`). */
export interface RxPath {
  readonly spec: QueueSpec;
  /** rte_eth_rx_burst. The caller owns the mbufs. Never throws: errors are counted. */
  readonly recv: (pkts: Uint32Array, n: number) => number;
  /** Gives the device as many buffers as the ring has room for. @returns how many were added. */
  readonly fill: () => number;
}

export interface TxPath {
  readonly spec: QueueSpec;
  /**
   * rte_eth_tx_prepare, for packets with RTE_MBUF_F_TX_* flags: call it before `xmit`. Inserts VLAN tags, writes the sums of
   * pseudo headers. @returns how many of the first packets can be sent; the next one asks for an offload that was not
   * negotiated, or has wrong lengths.
   */
  readonly prepare: (pkts: Uint32Array, n: number) => number;
  /** rte_eth_tx_burst. Takes the first packets of `pkts`, as many as there is room for; the caller keeps the rest. */
  readonly xmit: (pkts: Uint32Array, n: number) => number;
  /** Frees the mbufs of packets that the device has sent. @returns free descriptors. */
  readonly cleanup: () => number;
}
