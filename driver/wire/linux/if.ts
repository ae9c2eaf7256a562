/**
 * <linux/if.h> of Linux 6.1: network interfaces, as requests about them have them.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { bytes, s16, s32, u16 } from './fields.js';

export const IFNAMSIZ = 16;
/** IFF_UP */
export const IFF_UP = 1;
/** IFF_RUNNING */
export const IFF_RUNNING = 64;
/** IFF_PROMISC */
export const IFF_PROMISC = 256;
/** IFF_ALLMULTI */
export const IFF_ALLMULTI = 512;
export const IFHWADDRLEN = 6;

/** A request about an interface: its name, and one of the rest. */
export const ifreq = {
  sizeof: 40,
  ifr_ifrn: {
    ifrn_name: bytes(0, 16),
  },
  ifr_ifru: {
    ifru_flags: s16(16),
    ifru_ivalue: s32(16),
    ifru_mtu: s32(16),
    ifru_hwaddr: {
      sa_family: u16(16),
      sa_data: bytes(18, 14),
    },
  },
} as const;
