/**
 * <linux/virtio_ring.h> of Linux 6.1: virtqueues, split and packed.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { elements, numbers, u16, u32, u64 } from './fields.js';

export const VRING_DESC_F_NEXT = 1;
export const VRING_DESC_F_WRITE = 2;
export const VRING_DESC_F_INDIRECT = 4;
export const VRING_PACKED_DESC_F_AVAIL = 7;
export const VRING_PACKED_DESC_F_USED = 15;
export const VRING_USED_F_NO_NOTIFY = 1;
export const VRING_AVAIL_F_NO_INTERRUPT = 1;
export const VRING_PACKED_EVENT_FLAG_ENABLE = 0x0;
export const VRING_PACKED_EVENT_FLAG_DISABLE = 0x1;
export const VRING_PACKED_EVENT_FLAG_DESC = 0x2;
export const VRING_PACKED_EVENT_F_WRAP_CTR = 15;
export const VRING_AVAIL_ALIGN_SIZE = 2;
export const VRING_USED_ALIGN_SIZE = 4;
export const VRING_DESC_ALIGN_SIZE = 16;
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

/** The driver area of a split virtqueue. */
export const vring_avail = {
  sizeof: 4,
  flags: u16(0),
  idx: u16(2),
  ring: numbers(u16, 4),
} as const;

/** An entry of the device area of a split virtqueue. */
export const vring_used_elem = {
  sizeof: 8,
  id: u32(0),
  len: u32(4),
} as const;

/** The device area of a split virtqueue. */
export const vring_used = {
  sizeof: 4,
  flags: u16(0),
  idx: u16(2),
  ring: elements(4, 8),
} as const;

/** A descriptor of a packed virtqueue. */
export const vring_packed_desc = {
  sizeof: 16,
  addr: u64(0),
  len: u32(8),
  id: u16(12),
  flags: u16(14),
} as const;

/** The driver area and the device area of a packed virtqueue. */
export const vring_packed_desc_event = {
  sizeof: 4,
  off_wrap: u16(0),
  flags: u16(2),
} as const;
