/**
 * <linux/vhost.h> of Linux 6.1: ioctls of /dev/vhost-net and /dev/vhost-vdpa-*.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */

export const VHOST_FILE_UNBIND = -1;
export const VHOST_VIRTIO = 0xaf;
/** _IOR(VHOST_VIRTIO, 0x00, __u64) */
export const VHOST_GET_FEATURES = 0x8008af00;
/** _IOW(VHOST_VIRTIO, 0x00, __u64) */
export const VHOST_SET_FEATURES = 0x4008af00;
/** _IO(VHOST_VIRTIO, 0x01) */
export const VHOST_SET_OWNER = 0xaf01;
/** _IO(VHOST_VIRTIO, 0x02) */
export const VHOST_RESET_OWNER = 0xaf02;
/** _IOW(VHOST_VIRTIO, 0x03, struct vhost_memory) */
export const VHOST_SET_MEM_TABLE = 0x4008af03;
/** _IOW(VHOST_VIRTIO, 0x04, __u64) */
export const VHOST_SET_LOG_BASE = 0x4008af04;
/** _IOW(VHOST_VIRTIO, 0x07, int) */
export const VHOST_SET_LOG_FD = 0x4004af07;
/** _IOW(VHOST_VIRTIO, 0x10, struct vhost_vring_state) */
export const VHOST_SET_VRING_NUM = 0x4008af10;
/** _IOW(VHOST_VIRTIO, 0x11, struct vhost_vring_addr) */
export const VHOST_SET_VRING_ADDR = 0x4028af11;
/** _IOW(VHOST_VIRTIO, 0x12, struct vhost_vring_state) */
export const VHOST_SET_VRING_BASE = 0x4008af12;
/** _IOWR(VHOST_VIRTIO, 0x12, struct vhost_vring_state) */
export const VHOST_GET_VRING_BASE = 0xc008af12;
export const VHOST_VRING_LITTLE_ENDIAN = 0;
export const VHOST_VRING_BIG_ENDIAN = 1;
/** _IOW(VHOST_VIRTIO, 0x13, struct vhost_vring_state) */
export const VHOST_SET_VRING_ENDIAN = 0x4008af13;
/** _IOW(VHOST_VIRTIO, 0x14, struct vhost_vring_state) */
export const VHOST_GET_VRING_ENDIAN = 0x4008af14;
/** _IOW(VHOST_VIRTIO, 0x20, struct vhost_vring_file) */
export const VHOST_SET_VRING_KICK = 0x4008af20;
/** _IOW(VHOST_VIRTIO, 0x21, struct vhost_vring_file) */
export const VHOST_SET_VRING_CALL = 0x4008af21;
/** _IOW(VHOST_VIRTIO, 0x22, struct vhost_vring_file) */
export const VHOST_SET_VRING_ERR = 0x4008af22;
/** _IOW(VHOST_VIRTIO, 0x23, struct vhost_vring_state) */
export const VHOST_SET_VRING_BUSYLOOP_TIMEOUT = 0x4008af23;
/** _IOW(VHOST_VIRTIO, 0x24, struct vhost_vring_state) */
export const VHOST_GET_VRING_BUSYLOOP_TIMEOUT = 0x4008af24;
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
/** _IOR(VHOST_VIRTIO, 0x81, __u32) */
export const VHOST_VDPA_GET_GROUP_NUM = 0x8004af81;
/** _IOR(VHOST_VIRTIO, 0x7A, unsigned int) */
export const VHOST_VDPA_GET_AS_NUM = 0x8004af7a;
/** _IOWR(VHOST_VIRTIO, 0x7B, struct vhost_vring_state) */
export const VHOST_VDPA_GET_VRING_GROUP = 0xc008af7b;
/** _IOW(VHOST_VIRTIO, 0x7C, struct vhost_vring_state) */
export const VHOST_VDPA_SET_GROUP_ASID = 0x4008af7c;
/** _IO(VHOST_VIRTIO, 0x7D) */
export const VHOST_VDPA_SUSPEND = 0xaf7d;
