/**
 * <linux/filter.h> of Linux 6.1: filters of sockets.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { u16, u32, u8 } from './fields.js';

export const BPF_RET = 6;
export const BPF_K = 0;

/** One instruction of a filter. */
export const sock_filter = {
  sizeof: 8,
  code: u16(0),
  jt: u8(2),
  jf: u8(3),
  k: u32(4),
} as const;
