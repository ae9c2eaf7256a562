/**
 * <linux/if_tun.h> of Linux 6.1: tap devices.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { elements, u16 } from './fields.js';

export const TUN_READQ_SIZE = 500;
export const TUN_TYPE_MASK = 0xf;
/** _IOW('T', 200, int) */
export const TUNSETNOCSUM = 0x400454c8;
/** _IOW('T', 201, int) */
export const TUNSETDEBUG = 0x400454c9;
/** _IOW('T', 202, int) */
export const TUNSETIFF = 0x400454ca;
/** _IOW('T', 203, int) */
export const TUNSETPERSIST = 0x400454cb;
/** _IOW('T', 204, int) */
export const TUNSETOWNER = 0x400454cc;
/** _IOW('T', 205, int) */
export const TUNSETLINK = 0x400454cd;
/** _IOW('T', 206, int) */
export const TUNSETGROUP = 0x400454ce;
/** _IOR('T', 207, unsigned int) */
export const TUNGETFEATURES = 0x800454cf;
/** _IOW('T', 208, unsigned int) */
export const TUNSETOFFLOAD = 0x400454d0;
/** _IOW('T', 209, unsigned int) */
export const TUNSETTXFILTER = 0x400454d1;
/** _IOR('T', 210, unsigned int) */
export const TUNGETIFF = 0x800454d2;
/** _IOR('T', 211, int) */
export const TUNGETSNDBUF = 0x800454d3;
/** _IOW('T', 212, int) */
export const TUNSETSNDBUF = 0x400454d4;
/** _IOW('T', 213, struct sock_fprog) */
export const TUNATTACHFILTER = 0x401054d5;
/** _IOW('T', 214, struct sock_fprog) */
export const TUNDETACHFILTER = 0x401054d6;
/** _IOR('T', 215, int) */
export const TUNGETVNETHDRSZ = 0x800454d7;
/** _IOW('T', 216, int) */
export const TUNSETVNETHDRSZ = 0x400454d8;
/** _IOW('T', 217, int) */
export const TUNSETQUEUE = 0x400454d9;
/** _IOW('T', 218, unsigned int) */
export const TUNSETIFINDEX = 0x400454da;
/** _IOR('T', 219, struct sock_fprog) */
export const TUNGETFILTER = 0x801054db;
/** _IOW('T', 220, int) */
export const TUNSETVNETLE = 0x400454dc;
/** _IOR('T', 221, int) */
export const TUNGETVNETLE = 0x800454dd;
/** _IOW('T', 222, int) */
export const TUNSETVNETBE = 0x400454de;
/** _IOR('T', 223, int) */
export const TUNGETVNETBE = 0x800454df;
/** _IOR('T', 224, int) */
export const TUNSETSTEERINGEBPF = 0x800454e0;
/** _IOR('T', 225, int) */
export const TUNSETFILTEREBPF = 0x800454e1;
/** _IOW('T', 226, int) */
export const TUNSETCARRIER = 0x400454e2;
/** _IO('T', 227) */
export const TUNGETDEVNETNS = 0x54e3;
export const TUN_TX_TIMESTAMP = 1;
export const TUN_F_CSUM = 0x1;
export const TUN_F_TSO4 = 0x2;
export const TUN_F_TSO6 = 0x4;
export const TUN_F_TSO_ECN = 0x8;
export const TUN_F_UFO = 0x10;
export const TUN_PKT_STRIP = 0x1;
export const TUN_FLT_ALLMULTI = 0x1;
export const IFF_TUN = 0x1;
export const IFF_TAP = 0x2;
export const IFF_NAPI = 0x10;
export const IFF_NAPI_FRAGS = 0x20;
export const IFF_NO_CARRIER = 0x40;
export const IFF_NO_PI = 0x1000;
export const IFF_ONE_QUEUE = 0x2000;
export const IFF_VNET_HDR = 0x4000;
export const IFF_TUN_EXCL = 0x8000;
export const IFF_MULTI_QUEUE = 0x100;
export const IFF_ATTACH_QUEUE = 0x200;
export const IFF_DETACH_QUEUE = 0x400;
export const IFF_PERSIST = 0x800;
export const IFF_NOFILTER = 0x1000;

/** For TUNSETTXFILTER: TUN_FLT_*, and `count` addresses of packets to let through; none: all packets. */
export const tun_filter = {
  sizeof: 4,
  flags: u16(0),
  count: u16(2),
  addr: elements(4, 6),
} as const;
