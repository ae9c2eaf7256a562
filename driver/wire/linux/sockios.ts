/**
 * <linux/sockios.h> of Linux 6.1: requests about network interfaces.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

export const SIOCGIFNAME = 0x8910;
export const SIOCGIFINDEX = 0x8933;
export const SIOCGIFFLAGS = 0x8913;
export const SIOCSIFFLAGS = 0x8914;
export const SIOCGIFMTU = 0x8921;
export const SIOCSIFMTU = 0x8922;
export const SIOCGIFHWADDR = 0x8927;
export const SIOCSIFHWADDR = 0x8924;
