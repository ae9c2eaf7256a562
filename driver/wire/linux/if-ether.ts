/**
 * <linux/if_ether.h> of Linux 6.1: Ethernet.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

export const ETH_P_ALL = 0x3;
