/**
 * <linux/virtio_ids.h> of Linux 6.1: kinds of devices.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

export const VIRTIO_ID_NET = 1;
