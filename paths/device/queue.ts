/**
 * The device's side of a virtqueue, for a vhost-user back-end: rings and buffers lie in memory that a front-end shares with
 * us. Names mirror paths/guest.
 *
 * One thread at a time polls a ring. The control plane changes it only while none does, so nothing here needs a lock.
 */
import type { Views } from '../../native/region.js';
import type { Mempool } from '../mempool.js';
import type { RingDescription, RingState } from './ring-state.js';

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
export interface VringSpec extends RingDescription {
  /** From SET_VRING_BASE: split: avail index (16 bits); packed: bits 0-14 avail, 15 its wrap counter, 16-30 used, 31 its wrap counter. */
  readonly base: number;
  /**
   * `base` at the end of our last run in this connection; undefined before the first. Packed rings need it (see
   * packed-position.ts); split rings have their position in the used index.
   */
  readonly left: number | undefined;
}

/** A started ring. `enqueue` on guest Rx rings, `dequeue` on guest Tx rings. */
export interface DeviceQueue {
  readonly spec: RingDescription;
  readonly state: RingState;
  /**
   * rte_vhost_enqueue_burst: copies up to `n` packets into the guest's buffers. The caller keeps the mbufs.
   * @returns how many were taken.
   */
  enqueue(pool: Mempool, pkts: Uint32Array, n: number): number;
  /** rte_vhost_dequeue_burst: copies up to `n` packets of the guest into new mbufs of `pool`. @returns how many. */
  dequeue(pool: Mempool, pkts: Uint32Array, n: number): number;
  /** Whether the guest offers buffers now (something to dequeue, or room to enqueue). */
  hasWork(): boolean;
  /** Buffers that the guest offers now, as far as one look tells; packed rings: 0 or 1. */
  offered(): number;
  /**
   * Asks the guest for a signal with the next buffer that it offers.
   * @returns true when it offers some already: then do not wait (virtio 1.2 sections 2.7.10.1 and 2.8.21.2.1).
   */
  awaitKick(): boolean;
  /** Asks for no signals: we poll. */
  ignoreKicks(): void;
}
