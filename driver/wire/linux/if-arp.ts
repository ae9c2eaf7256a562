/**
 * <linux/if_arp.h> of Linux 6.1: kinds of network interfaces.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

export const ARPHRD_ETHER = 1;
export const ARPHRD_LOOPBACK = 772;
