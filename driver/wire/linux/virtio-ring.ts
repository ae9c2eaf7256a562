/**
 * <linux/virtio_ring.h> of Linux 6.1: virtqueues, split and packed.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { u16, u32, u64 } from './fields.js';

export const VRING_DESC_F_NEXT = 1;
export const VRING_DESC_F_WRITE = 2;
export const VRING_DESC_F_INDIRECT = 4;
export const VRING_PACKED_DESC_F_AVAIL = 7;
export const VRING_PACKED_DESC_F_USED = 15;
export const VIRTIO_RING_F_INDIRECT_DESC = 28;
export const VIRTIO_RING_F_EVENT_IDX = 29;

/** A descriptor of a split virtqueue. */
export const vring_desc = {
  sizeof: 16,
  addr: u64(0),
  len: u32(8),
  flags: u16(12),
  next: u16(14),
} as const;

/** A descriptor of a packed virtqueue. */
export const vring_packed_desc = {
  sizeof: 16,
  addr: u64(0),
  len: u32(8),
  id: u16(12),
  flags: u16(14),
} as const;
