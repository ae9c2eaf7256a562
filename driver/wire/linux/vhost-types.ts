/**
 * <linux/vhost_types.h> of Linux 6.1: what the ioctls of linux/vhost.h take and give.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { elements, numbers, s32, u32, u64, u8 } from './fields.js';

export const VHOST_ACCESS_RW = 0x3;
export const VHOST_IOTLB_UPDATE = 2;
export const VHOST_IOTLB_INVALIDATE = 3;
export const VHOST_IOTLB_BATCH_BEGIN = 5;
export const VHOST_IOTLB_BATCH_END = 6;
export const VHOST_IOTLB_MSG_V2 = 0x2;
export const VHOST_F_LOG_ALL = 26;
export const VHOST_BACKEND_F_IOTLB_MSG_V2 = 0x1;
export const VHOST_BACKEND_F_IOTLB_BATCH = 0x2;

/** A number about a virtqueue. */
export const vhost_vring_state = {
  sizeof: 8,
  index: u32(0),
  num: u32(4),
} as const;

/** A descriptor for a virtqueue; -1 takes it away. */
export const vhost_vring_file = {
  sizeof: 8,
  index: u32(0),
  fd: s32(4),
} as const;

/** Where a virtqueue lies, in addresses of this process. */
export const vhost_vring_addr = {
  sizeof: 40,
  index: u32(0),
  flags: u32(4),
  desc_user_addr: u64(8),
  used_user_addr: u64(16),
  avail_user_addr: u64(24),
  log_guest_addr: u64(32),
} as const;

/** Memory at `guest_phys_addr` in descriptors and at `userspace_addr` in this process. */
export const vhost_memory_region = {
  sizeof: 32,
  guest_phys_addr: u64(0),
  memory_size: u64(8),
  userspace_addr: u64(16),
  flags_padding: u64(24),
} as const;

/** For VHOST_SET_MEM_TABLE. */
export const vhost_memory = {
  sizeof: 8,
  nregions: u32(0),
  padding: u32(4),
  regions: elements(8, 32),
} as const;

/** VHOST_IOTLB_MSG_V2, written to the device's file. */
export const vhost_msg_v2 = {
  sizeof: 72,
  type: u32(0),
  asid: u32(4),
  iotlb: {
    iova: u64(8),
    size: u64(16),
    uaddr: u64(24),
    perm: u8(32),
    type: u8(33),
  },
} as const;

/** For VHOST_VDPA_GET_CONFIG and VHOST_VDPA_SET_CONFIG: `len` bytes from `off` on. */
export const vhost_vdpa_config = {
  sizeof: 8,
  off: u32(0),
  len: u32(4),
  buf: numbers(u8, 8),
} as const;

/** Of VHOST_VDPA_GET_IOVA_RANGE: addresses that can be mapped, `last` included. */
export const vhost_vdpa_iova_range = {
  sizeof: 16,
  first: u64(0),
  last: u64(8),
} as const;
