/**
 * The device's side of a virtqueue, for a vhost-user back-end: rings and buffers lie in memory that a front-end shares with
 * us. Names mirror paths/guest.
 *
 * One thread owns a device: it handles the messages and polls the rings, so nothing here needs a lock.
 */
import type { Views } from '../../native/region.js';
import type { Mempool } from '../mempool.js';

/**
 * A part of the front-end's memory that we have mapped: a region of its memory table, or a piece of a large region. Addresses
 * are plain numbers, below 2^53.
 */
export interface GuestSlice {
  /** First guest-physical address (what descriptors hold). */
  readonly guestAddr: number;
  /** First address in the front-end's process (what SET_VRING_ADDR holds). */
  readonly userAddr: number;
  /** Bytes. */
  readonly size: number;
  /** Made at the first access, which may take milliseconds; undefined: not possible now, try again later. */
  readonly views: Views | undefined;
  /** Address of the views' first byte. */
  readonly address: number;
  /** Length of the views: below 2^31, so that every offset is a small integer. */
  readonly viewBytes: number;
  /** Offset of the slice's first byte in the views. */
  readonly offset: number;
}

/** The control plane's description of a ring that it starts. */
export interface VringSpec {
  /** Virtqueue index: even ones receive on the guest's side (we enqueue), odd ones transmit (we dequeue). */
  readonly index: number;
  readonly packed: boolean;
  readonly size: number;
  readonly hdrSize: number;
  readonly mergeable: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** Addresses in the front-end's process of descriptor table, avail ring (driver event), used ring (device event). */
  readonly descAddr: number;
  readonly driverAddr: number;
  readonly deviceAddr: number;
  /** From SET_VRING_BASE: split: avail index (16 bits); packed: bits 0-14 avail, 15 its wrap counter, 16-30 used, 31 its wrap counter. */
  readonly base: number;
  /**
   * `base` at the end of our last run in this connection; undefined before the first. Packed rings need it (see
   * packed-position.ts); split rings have their position in the used index.
   */
  readonly left: number | undefined;
  /** Eventfd to signal the guest, or -1 when it polls. */
  readonly callFd: number;
}

/** A started ring. `enqueue` on guest Rx rings, `dequeue` on guest Tx rings. */
export interface DeviceQueue {
  readonly spec: VringSpec;
  /**
   * rte_vhost_enqueue_burst: copies up to `n` packets into the guest's buffers. The caller keeps the mbufs.
   * @returns how many were taken.
   */
  enqueue(pool: Mempool, pkts: Uint32Array, n: number): number;
  /** rte_vhost_dequeue_burst: copies up to `n` packets of the guest into new mbufs of `pool`. @returns how many. */
  dequeue(pool: Mempool, pkts: Uint32Array, n: number): number;
  /** For GET_VRING_BASE, in the format of `VringSpec.base`. */
  base(): number;
  /** Whether the guest offers buffers now (something to dequeue, or room to enqueue). */
  hasWork(): boolean;
  setCallFd(fd: number): void;
  /** Marks the ring as broken. @param why a sentence for `broken`. */
  fail(why: string): void;
  /** Undefined, or why this ring is broken: the guest violated the specification. A restart of the ring clears it. */
  readonly broken: string | undefined;
  readonly stats: Float64Array;
}
