/**
 * <linux/virtio_pci.h> of Linux 6.1: virtio on the PCI bus: registers of legacy devices, capabilities and registers of modern ones.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { bytes, u16, u32, u8 } from './fields.js';

export const VIRTIO_PCI_HOST_FEATURES = 0;
export const VIRTIO_PCI_GUEST_FEATURES = 4;
export const VIRTIO_PCI_QUEUE_PFN = 8;
export const VIRTIO_PCI_QUEUE_NUM = 12;
export const VIRTIO_PCI_QUEUE_SEL = 14;
export const VIRTIO_PCI_QUEUE_NOTIFY = 16;
export const VIRTIO_PCI_STATUS = 18;
export const VIRTIO_PCI_ISR = 19;
export const VIRTIO_PCI_ABI_VERSION = 0;
export const VIRTIO_PCI_QUEUE_ADDR_SHIFT = 12;
export const VIRTIO_PCI_VRING_ALIGN = 4096;
export const VIRTIO_PCI_ISR_CONFIG = 0x2;
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;
export const VIRTIO_PCI_CAP_SHARED_MEMORY_CFG = 8;
export const VIRTIO_PCI_CAP_VNDR = 0;
export const VIRTIO_PCI_CAP_NEXT = 1;
export const VIRTIO_PCI_CAP_LEN = 2;
export const VIRTIO_PCI_CAP_CFG_TYPE = 3;
export const VIRTIO_PCI_CAP_BAR = 4;
export const VIRTIO_PCI_CAP_OFFSET = 8;
export const VIRTIO_PCI_CAP_LENGTH = 12;
export const VIRTIO_PCI_NOTIFY_CAP_MULT = 16;
export const VIRTIO_PCI_COMMON_DFSELECT = 0;
export const VIRTIO_PCI_COMMON_DF = 4;
export const VIRTIO_PCI_COMMON_GFSELECT = 8;
export const VIRTIO_PCI_COMMON_GF = 12;
export const VIRTIO_PCI_COMMON_MSIX = 16;
export const VIRTIO_PCI_COMMON_NUMQ = 18;
export const VIRTIO_PCI_COMMON_STATUS = 20;
export const VIRTIO_PCI_COMMON_CFGGENERATION = 21;
export const VIRTIO_PCI_COMMON_Q_SELECT = 22;
export const VIRTIO_PCI_COMMON_Q_SIZE = 24;
export const VIRTIO_PCI_COMMON_Q_MSIX = 26;
export const VIRTIO_PCI_COMMON_Q_ENABLE = 28;
export const VIRTIO_PCI_COMMON_Q_NOFF = 30;
export const VIRTIO_PCI_COMMON_Q_DESCLO = 32;
export const VIRTIO_PCI_COMMON_Q_DESCHI = 36;
export const VIRTIO_PCI_COMMON_Q_AVAILLO = 40;
export const VIRTIO_PCI_COMMON_Q_AVAILHI = 44;
export const VIRTIO_PCI_COMMON_Q_USEDLO = 48;
export const VIRTIO_PCI_COMMON_Q_USEDHI = 52;
export const VIRTIO_PCI_COMMON_Q_NDATA = 56;
export const VIRTIO_PCI_COMMON_Q_RESET = 58;
export const VIRTIO_MSI_CONFIG_VECTOR = 20;
export const VIRTIO_MSI_QUEUE_VECTOR = 22;
export const VIRTIO_MSI_NO_VECTOR = 0xffff;
/** VIRTIO_PCI_CONFIG_OFF(0) */
export const VIRTIO_PCI_CONFIG_OFF_NO_MSIX = 20;
/** VIRTIO_PCI_CONFIG_OFF(1) */
export const VIRTIO_PCI_CONFIG_OFF_MSIX = 24;

/** A capability PCI_CAP_ID_VNDR in configuration space: which BAR a structure VIRTIO_PCI_CAP_*_CFG is behind, and where. */
export const virtio_pci_cap = {
  sizeof: 16,
  cap_vndr: u8(0),
  cap_next: u8(1),
  cap_len: u8(2),
  cfg_type: u8(3),
  bar: u8(4),
  id: u8(5),
  padding: bytes(6, 2),
  offset: u32(8),
  length: u32(12),
} as const;

/** The same for VIRTIO_PCI_CAP_SHARED_MEMORY_CFG, with offset and length of 64 bits. */
export const virtio_pci_cap64 = {
  sizeof: 24,
  cap: bytes(0, 16),
  offset_hi: u32(16),
  length_hi: u32(20),
} as const;

/** The same for VIRTIO_PCI_CAP_NOTIFY_CFG, with the distance between notification registers. */
export const virtio_pci_notify_cap = {
  sizeof: 20,
  cap: bytes(0, 16),
  notify_off_multiplier: u32(16),
} as const;

/** The same for VIRTIO_PCI_CAP_PCI_CFG, a window to the BARs. */
export const virtio_pci_cfg_cap = {
  sizeof: 20,
  cap: bytes(0, 16),
  pci_cfg_data: bytes(16, 4),
} as const;

/** Registers of VIRTIO_PCI_CAP_COMMON_CFG; those with queue_ in their name are of the virtqueue in queue_select. */
export const virtio_pci_common_cfg = {
  sizeof: 56,
  device_feature_select: u32(0),
  device_feature: u32(4),
  guest_feature_select: u32(8),
  guest_feature: u32(12),
  msix_config: u16(16),
  num_queues: u16(18),
  device_status: u8(20),
  config_generation: u8(21),
  queue_select: u16(22),
  queue_size: u16(24),
  queue_msix_vector: u16(26),
  queue_enable: u16(28),
  queue_notify_off: u16(30),
  queue_desc_lo: u32(32),
  queue_desc_hi: u32(36),
  queue_avail_lo: u32(40),
  queue_avail_hi: u32(44),
  queue_used_lo: u32(48),
  queue_used_hi: u32(52),
} as const;
