/**
 * <linux/vhost.h> of Linux 6.1: ioctls of /dev/vhost-net and /dev/vhost-vdpa-*.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

/** _IOR(VHOST_VIRTIO, 0x00, __u64) */
export const VHOST_GET_FEATURES = 0x8008af00;
/** _IOW(VHOST_VIRTIO, 0x00, __u64) */
export const VHOST_SET_FEATURES = 0x4008af00;
/** _IO(VHOST_VIRTIO, 0x01) */
export const VHOST_SET_OWNER = 0xaf01;
/** _IOW(VHOST_VIRTIO, 0x03, struct vhost_memory) */
export const VHOST_SET_MEM_TABLE = 0x4008af03;
/** _IOW(VHOST_VIRTIO, 0x10, struct vhost_vring_state) */
export const VHOST_SET_VRING_NUM = 0x4008af10;
/** _IOW(VHOST_VIRTIO, 0x11, struct vhost_vring_addr) */
export const VHOST_SET_VRING_ADDR = 0x4028af11;
/** _IOW(VHOST_VIRTIO, 0x12, struct vhost_vring_state) */
export const VHOST_SET_VRING_BASE = 0x4008af12;
/** _IOW(VHOST_VIRTIO, 0x20, struct vhost_vring_file) */
export const VHOST_SET_VRING_KICK = 0x4008af20;
/** _IOW(VHOST_VIRTIO, 0x21, struct vhost_vring_file) */
export const VHOST_SET_VRING_CALL = 0x4008af21;
/** _IOW(VHOST_VIRTIO, 0x25, __u64) */
export const VHOST_SET_BACKEND_FEATURES = 0x4008af25;
/** _IOR(VHOST_VIRTIO, 0x26, __u64) */
export const VHOST_GET_BACKEND_FEATURES = 0x8008af26;
/** _IOW(VHOST_VIRTIO, 0x30, struct vhost_vring_file) */
export const VHOST_NET_SET_BACKEND = 0x4008af30;
/** _IOR(VHOST_VIRTIO, 0x70, __u32) */
export const VHOST_VDPA_GET_DEVICE_ID = 0x8004af70;
/** _IOR(VHOST_VIRTIO, 0x71, __u8) */
export const VHOST_VDPA_GET_STATUS = 0x8001af71;
/** _IOW(VHOST_VIRTIO, 0x72, __u8) */
export const VHOST_VDPA_SET_STATUS = 0x4001af72;
/** _IOR(VHOST_VIRTIO, 0x73, struct vhost_vdpa_config) */
export const VHOST_VDPA_GET_CONFIG = 0x8008af73;
/** _IOW(VHOST_VIRTIO, 0x74, struct vhost_vdpa_config) */
export const VHOST_VDPA_SET_CONFIG = 0x4008af74;
/** _IOW(VHOST_VIRTIO, 0x75, struct vhost_vring_state) */
export const VHOST_VDPA_SET_VRING_ENABLE = 0x4008af75;
/** _IOR(VHOST_VIRTIO, 0x76, __u16) */
export const VHOST_VDPA_GET_VRING_NUM = 0x8002af76;
/** _IOW(VHOST_VIRTIO, 0x77, int) */
export const VHOST_VDPA_SET_CONFIG_CALL = 0x4004af77;
/** _IOR(VHOST_VIRTIO, 0x78, struct vhost_vdpa_iova_range) */
export const VHOST_VDPA_GET_IOVA_RANGE = 0x8010af78;
/** _IOR(VHOST_VIRTIO, 0x79, __u32) */
export const VHOST_VDPA_GET_CONFIG_SIZE = 0x8004af79;
/** _IOR(VHOST_VIRTIO, 0x80, __u32) */
export const VHOST_VDPA_GET_VQS_COUNT = 0x8004af80;
