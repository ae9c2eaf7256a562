/**
 * <linux/vfio.h> of Linux 6.1: devices for programs, behind an IOMMU.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { bytes, elements, numbers, s32, u16, u32, u64, u8 } from './fields.js';

export const VFIO_API_VERSION = 0;
export const VFIO_TYPE1_IOMMU = 1;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_DMA_CC_IOMMU = 4;
export const VFIO_TYPE1_NESTING_IOMMU = 6;
export const VFIO_NOIOMMU_IOMMU = 8;
export const VFIO_UNMAP_ALL = 9;
export const VFIO_UPDATE_VADDR = 10;
/** (';') */
export const VFIO_TYPE = 59;
export const VFIO_BASE = 100;
/** _IO(VFIO_TYPE, VFIO_BASE + 0) */
export const VFIO_GET_API_VERSION = 0x3b64;
/** _IO(VFIO_TYPE, VFIO_BASE + 1) */
export const VFIO_CHECK_EXTENSION = 0x3b65;
/** _IO(VFIO_TYPE, VFIO_BASE + 2) */
export const VFIO_SET_IOMMU = 0x3b66;
export const VFIO_GROUP_FLAGS_VIABLE = 0x1;
export const VFIO_GROUP_FLAGS_CONTAINER_SET = 0x2;
/** _IO(VFIO_TYPE, VFIO_BASE + 3) */
export const VFIO_GROUP_GET_STATUS = 0x3b67;
/** _IO(VFIO_TYPE, VFIO_BASE + 4) */
export const VFIO_GROUP_SET_CONTAINER = 0x3b68;
/** _IO(VFIO_TYPE, VFIO_BASE + 5) */
export const VFIO_GROUP_UNSET_CONTAINER = 0x3b69;
/** _IO(VFIO_TYPE, VFIO_BASE + 6) */
export const VFIO_GROUP_GET_DEVICE_FD = 0x3b6a;
export const VFIO_DEVICE_FLAGS_RESET = 0x1;
export const VFIO_DEVICE_FLAGS_PCI = 0x2;
export const VFIO_DEVICE_FLAGS_PLATFORM = 0x4;
export const VFIO_DEVICE_FLAGS_AMBA = 0x8;
export const VFIO_DEVICE_FLAGS_CCW = 0x10;
export const VFIO_DEVICE_FLAGS_AP = 0x20;
export const VFIO_DEVICE_FLAGS_FSL_MC = 0x40;
export const VFIO_DEVICE_FLAGS_CAPS = 0x80;
/** _IO(VFIO_TYPE, VFIO_BASE + 7) */
export const VFIO_DEVICE_GET_INFO = 0x3b6b;
export const VFIO_REGION_INFO_FLAG_READ = 0x1;
export const VFIO_REGION_INFO_FLAG_WRITE = 0x2;
export const VFIO_REGION_INFO_FLAG_MMAP = 0x4;
export const VFIO_REGION_INFO_FLAG_CAPS = 0x8;
/** _IO(VFIO_TYPE, VFIO_BASE + 8) */
export const VFIO_DEVICE_GET_REGION_INFO = 0x3b6c;
export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const VFIO_REGION_INFO_CAP_TYPE = 2;
export const VFIO_REGION_TYPE_PCI_VENDOR_TYPE = -0x80000000;
export const VFIO_REGION_TYPE_PCI_VENDOR_MASK = 0xffff;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
export const VFIO_IRQ_INFO_EVENTFD = 0x1;
export const VFIO_IRQ_INFO_MASKABLE = 0x2;
export const VFIO_IRQ_INFO_AUTOMASKED = 0x4;
export const VFIO_IRQ_INFO_NORESIZE = 0x8;
/** _IO(VFIO_TYPE, VFIO_BASE + 9) */
export const VFIO_DEVICE_GET_IRQ_INFO = 0x3b6d;
export const VFIO_IRQ_SET_DATA_NONE = 0x1;
export const VFIO_IRQ_SET_DATA_BOOL = 0x2;
export const VFIO_IRQ_SET_DATA_EVENTFD = 0x4;
export const VFIO_IRQ_SET_ACTION_MASK = 0x8;
export const VFIO_IRQ_SET_ACTION_UNMASK = 0x10;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 0x20;
/** _IO(VFIO_TYPE, VFIO_BASE + 10) */
export const VFIO_DEVICE_SET_IRQS = 0x3b6e;
/** (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_DATA_EVENTFD) */
export const VFIO_IRQ_SET_DATA_TYPE_MASK = 0x7;
/** (VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER) */
export const VFIO_IRQ_SET_ACTION_TYPE_MASK = 0x38;
/** _IO(VFIO_TYPE, VFIO_BASE + 11) */
export const VFIO_DEVICE_RESET = 0x3b6f;
/** _IO(VFIO_TYPE, VFIO_BASE + 12) */
export const VFIO_DEVICE_GET_PCI_HOT_RESET_INFO = 0x3b70;
/** _IO(VFIO_TYPE, VFIO_BASE + 13) */
export const VFIO_DEVICE_PCI_HOT_RESET = 0x3b71;
export const VFIO_DEVICE_IOEVENTFD_8 = 0x1;
export const VFIO_DEVICE_IOEVENTFD_16 = 0x2;
export const VFIO_DEVICE_IOEVENTFD_32 = 0x4;
export const VFIO_DEVICE_IOEVENTFD_64 = 0x8;
export const VFIO_DEVICE_IOEVENTFD_SIZE_MASK = 0xf;
/** _IO(VFIO_TYPE, VFIO_BASE + 16) */
export const VFIO_DEVICE_IOEVENTFD = 0x3b74;
export const VFIO_DEVICE_FEATURE_MASK = 0xffff;
export const VFIO_DEVICE_FEATURE_GET = 0x10000;
export const VFIO_DEVICE_FEATURE_SET = 0x20000;
export const VFIO_DEVICE_FEATURE_PROBE = 0x40000;
/** _IO(VFIO_TYPE, VFIO_BASE + 17) */
export const VFIO_DEVICE_FEATURE = 0x3b75;
export const VFIO_DEVICE_FEATURE_PCI_VF_TOKEN = 0;
export const VFIO_DEVICE_FEATURE_MIGRATION = 1;
export const VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE = 2;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY = 3;
export const VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP = 4;
export const VFIO_DEVICE_FEATURE_LOW_POWER_EXIT = 5;
export const VFIO_IOMMU_INFO_PGSIZES = 0x1;
export const VFIO_IOMMU_INFO_CAPS = 0x2;
export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
export const VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION = 2;
export const VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL = 3;
/** _IO(VFIO_TYPE, VFIO_BASE + 12) */
export const VFIO_IOMMU_GET_INFO = 0x3b70;
export const VFIO_DMA_MAP_FLAG_READ = 0x1;
export const VFIO_DMA_MAP_FLAG_WRITE = 0x2;
export const VFIO_DMA_MAP_FLAG_VADDR = 0x4;
/** _IO(VFIO_TYPE, VFIO_BASE + 13) */
export const VFIO_IOMMU_MAP_DMA = 0x3b71;
export const VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP = 0x1;
export const VFIO_DMA_UNMAP_FLAG_ALL = 0x2;
export const VFIO_DMA_UNMAP_FLAG_VADDR = 0x4;
/** _IO(VFIO_TYPE, VFIO_BASE + 14) */
export const VFIO_IOMMU_UNMAP_DMA = 0x3b72;
/** _IO(VFIO_TYPE, VFIO_BASE + 15) */
export const VFIO_IOMMU_ENABLE = 0x3b73;
/** _IO(VFIO_TYPE, VFIO_BASE + 16) */
export const VFIO_IOMMU_DISABLE = 0x3b74;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_START = 0x1;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP = 0x2;
export const VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP = 0x4;
/** _IO(VFIO_TYPE, VFIO_BASE + 17) */
export const VFIO_IOMMU_DIRTY_PAGES = 0x3b75;
export const VFIO_PCI_BAR0_REGION_INDEX = 0;
export const VFIO_PCI_BAR1_REGION_INDEX = 1;
export const VFIO_PCI_BAR2_REGION_INDEX = 2;
export const VFIO_PCI_BAR3_REGION_INDEX = 3;
export const VFIO_PCI_BAR4_REGION_INDEX = 4;
export const VFIO_PCI_BAR5_REGION_INDEX = 5;
export const VFIO_PCI_ROM_REGION_INDEX = 6;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_VGA_REGION_INDEX = 8;
export const VFIO_PCI_NUM_REGIONS = 9;
export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSI_IRQ_INDEX = 1;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;
export const VFIO_PCI_NUM_IRQS = 5;

/** Begins each capability of a chain behind an info struct; `next` counts from the info's first byte, 0 ends it. */
export const vfio_info_cap_header = {
  sizeof: 8,
  id: u16(0),
  version: u16(2),
  next: u32(4),
} as const;

/** Of VFIO_GROUP_GET_STATUS: VFIO_GROUP_FLAGS_*. */
export const vfio_group_status = {
  sizeof: 8,
  argsz: u32(0),
  flags: u32(4),
} as const;

/** Of VFIO_DEVICE_GET_INFO: VFIO_DEVICE_FLAGS_*. */
export const vfio_device_info = {
  sizeof: 20,
  argsz: u32(0),
  flags: u32(4),
  num_regions: u32(8),
  num_irqs: u32(12),
  cap_offset: u32(16),
} as const;

/** Of VFIO_DEVICE_GET_REGION_INFO, which is asked with `index`: VFIO_REGION_INFO_FLAG_*, where in the device's file. */
export const vfio_region_info = {
  sizeof: 32,
  argsz: u32(0),
  flags: u32(4),
  index: u32(8),
  cap_offset: u32(12),
  size: u64(16),
  offset: u64(24),
} as const;

/** A part of a region that can be mapped. */
export const vfio_region_sparse_mmap_area = {
  sizeof: 16,
  offset: u64(0),
  size: u64(8),
} as const;

/** Capability VFIO_REGION_INFO_CAP_SPARSE_MMAP: only these parts of the region can be mapped. */
export const vfio_region_info_cap_sparse_mmap = {
  sizeof: 16,
  header: bytes(0, 8),
  nr_areas: u32(8),
  reserved: u32(12),
  areas: elements(16, 16),
} as const;

/** Capability VFIO_REGION_INFO_CAP_TYPE of regions that one kind of device has. */
export const vfio_region_info_cap_type = {
  sizeof: 16,
  header: bytes(0, 8),
  type: u32(8),
  subtype: u32(12),
} as const;

/** Of VFIO_DEVICE_GET_IRQ_INFO, which is asked with `index`: VFIO_IRQ_INFO_*, how many. */
export const vfio_irq_info = {
  sizeof: 16,
  argsz: u32(0),
  flags: u32(4),
  index: u32(8),
  count: u32(12),
} as const;

/** For VFIO_DEVICE_SET_IRQS: VFIO_IRQ_SET_*; with VFIO_IRQ_SET_DATA_EVENTFD, `data` is `count` descriptors of 32 bits. */
export const vfio_irq_set = {
  sizeof: 20,
  argsz: u32(0),
  flags: u32(4),
  index: u32(8),
  start: u32(12),
  count: u32(16),
  data: numbers(u8, 20),
} as const;

/** A function that a hot reset would reset too. */
export const vfio_pci_dependent_device = {
  sizeof: 8,
  group_id: u32(0),
  segment: u16(4),
  bus: u8(6),
  devfn: u8(7),
} as const;

/** Of VFIO_DEVICE_GET_PCI_HOT_RESET_INFO. */
export const vfio_pci_hot_reset_info = {
  sizeof: 12,
  argsz: u32(0),
  flags: u32(4),
  count: u32(8),
  devices: elements(12, 8),
} as const;

/** For VFIO_DEVICE_PCI_HOT_RESET: the groups that own all functions concerned. */
export const vfio_pci_hot_reset = {
  sizeof: 12,
  argsz: u32(0),
  flags: u32(4),
  count: u32(8),
  group_fds: numbers(s32, 12),
} as const;

/** For VFIO_DEVICE_IOEVENTFD: VFIO_DEVICE_IOEVENTFD_*. */
export const vfio_device_ioeventfd = {
  sizeof: 32,
  argsz: u32(0),
  flags: u32(4),
  offset: u64(8),
  data: u64(16),
  fd: s32(24),
} as const;

/** For VFIO_DEVICE_FEATURE: VFIO_DEVICE_FEATURE_*. */
export const vfio_device_feature = {
  sizeof: 8,
  argsz: u32(0),
  flags: u32(4),
  data: numbers(u8, 8),
} as const;

/** Of VFIO_IOMMU_GET_INFO: VFIO_IOMMU_INFO_*, a bit for each page size. */
export const vfio_iommu_type1_info = {
  sizeof: 24,
  argsz: u32(0),
  flags: u32(4),
  iova_pgsizes: u64(8),
  cap_offset: u32(16),
} as const;

/** Addresses that can be mapped, `end` included. */
export const vfio_iova_range = {
  sizeof: 16,
  start: u64(0),
  end: u64(8),
} as const;

/** Capability VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE. */
export const vfio_iommu_type1_info_cap_iova_range = {
  sizeof: 16,
  header: bytes(0, 8),
  nr_iovas: u32(8),
  reserved: u32(12),
  iova_ranges: elements(16, 16),
} as const;

/** Capability VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL: how many more mappings there can be. */
export const vfio_iommu_type1_info_dma_avail = {
  sizeof: 12,
  header: bytes(0, 8),
  avail: u32(8),
} as const;

/** For VFIO_IOMMU_MAP_DMA: VFIO_DMA_MAP_FLAG_*. */
export const vfio_iommu_type1_dma_map = {
  sizeof: 32,
  argsz: u32(0),
  flags: u32(4),
  vaddr: u64(8),
  iova: u64(16),
  size: u64(24),
} as const;

/** For VFIO_IOMMU_UNMAP_DMA: VFIO_DMA_UNMAP_FLAG_*; `size` comes back as what was unmapped. */
export const vfio_iommu_type1_dma_unmap = {
  sizeof: 24,
  argsz: u32(0),
  flags: u32(4),
  iova: u64(8),
  size: u64(16),
  data: numbers(u8, 24),
} as const;
