/**
 * <linux/sockios.h> of Linux 6.1: requests about network interfaces.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

export const SIOCGIFFLAGS = 0x8913;
export const SIOCSIFFLAGS = 0x8914;
export const SIOCGIFHWADDR = 0x8927;
export const SIOCSIFHWADDR = 0x8924;
