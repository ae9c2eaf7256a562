/**
 * <linux/if_tun.h> of Linux 6.1: tap devices.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { elements, u16 } from './fields.js';

/** _IOW('T', 202, int) */
export const TUNSETIFF = 0x400454ca;
/** _IOW('T', 203, int) */
export const TUNSETPERSIST = 0x400454cb;
/** _IOR('T', 207, unsigned int) */
export const TUNGETFEATURES = 0x800454cf;
/** _IOW('T', 208, unsigned int) */
export const TUNSETOFFLOAD = 0x400454d0;
/** _IOW('T', 209, unsigned int) */
export const TUNSETTXFILTER = 0x400454d1;
/** _IOR('T', 210, unsigned int) */
export const TUNGETIFF = 0x800454d2;
/** _IOW('T', 212, int) */
export const TUNSETSNDBUF = 0x400454d4;
/** _IOW('T', 216, int) */
export const TUNSETVNETHDRSZ = 0x400454d8;
/** _IOW('T', 217, int) */
export const TUNSETQUEUE = 0x400454d9;
export const TUN_F_CSUM = 0x1;
export const TUN_F_TSO4 = 0x2;
export const TUN_F_TSO6 = 0x4;
export const TUN_FLT_ALLMULTI = 0x1;
export const IFF_TAP = 0x2;
export const IFF_NAPI = 0x10;
export const IFF_NO_PI = 0x1000;
export const IFF_VNET_HDR = 0x4000;
export const IFF_MULTI_QUEUE = 0x100;
export const IFF_ATTACH_QUEUE = 0x200;
export const IFF_DETACH_QUEUE = 0x400;
export const IFF_PERSIST = 0x800;

/** For TUNSETTXFILTER: TUN_FLT_*, and `count` addresses of packets to let through; none: all packets. */
export const tun_filter = {
  sizeof: 4,
  flags: u16(0),
  count: u16(2),
  addr: elements(4, 6),
} as const;
