/**
 * <linux/vfio.h> of Linux 6.1: devices for programs, behind an IOMMU.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { bytes, elements, numbers, u16, u32, u64, u8 } from './fields.js';

export const VFIO_API_VERSION = 0;
export const VFIO_TYPE1_IOMMU = 1;
export const VFIO_TYPE1v2_IOMMU = 3;
export const VFIO_NOIOMMU_IOMMU = 8;
/** _IO(VFIO_TYPE, VFIO_BASE + 0) */
export const VFIO_GET_API_VERSION = 0x3b64;
/** _IO(VFIO_TYPE, VFIO_BASE + 1) */
export const VFIO_CHECK_EXTENSION = 0x3b65;
/** _IO(VFIO_TYPE, VFIO_BASE + 2) */
export const VFIO_SET_IOMMU = 0x3b66;
export const VFIO_GROUP_FLAGS_VIABLE = 0x1;
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
/** _IO(VFIO_TYPE, VFIO_BASE + 7) */
export const VFIO_DEVICE_GET_INFO = 0x3b6b;
export const VFIO_REGION_INFO_FLAG_MMAP = 0x4;
export const VFIO_REGION_INFO_FLAG_CAPS = 0x8;
/** _IO(VFIO_TYPE, VFIO_BASE + 8) */
export const VFIO_DEVICE_GET_REGION_INFO = 0x3b6c;
export const VFIO_REGION_INFO_CAP_SPARSE_MMAP = 1;
export const VFIO_REGION_INFO_CAP_MSIX_MAPPABLE = 3;
export const VFIO_IRQ_INFO_EVENTFD = 0x1;
/** _IO(VFIO_TYPE, VFIO_BASE + 9) */
export const VFIO_DEVICE_GET_IRQ_INFO = 0x3b6d;
export const VFIO_IRQ_SET_DATA_NONE = 0x1;
export const VFIO_IRQ_SET_DATA_EVENTFD = 0x4;
export const VFIO_IRQ_SET_ACTION_UNMASK = 0x10;
export const VFIO_IRQ_SET_ACTION_TRIGGER = 0x20;
/** _IO(VFIO_TYPE, VFIO_BASE + 10) */
export const VFIO_DEVICE_SET_IRQS = 0x3b6e;
/** _IO(VFIO_TYPE, VFIO_BASE + 11) */
export const VFIO_DEVICE_RESET = 0x3b6f;
export const VFIO_IOMMU_INFO_CAPS = 0x2;
export const VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE = 1;
/** _IO(VFIO_TYPE, VFIO_BASE + 12) */
export const VFIO_IOMMU_GET_INFO = 0x3b70;
export const VFIO_DMA_MAP_FLAG_READ = 0x1;
export const VFIO_DMA_MAP_FLAG_WRITE = 0x2;
/** _IO(VFIO_TYPE, VFIO_BASE + 13) */
export const VFIO_IOMMU_MAP_DMA = 0x3b71;
/** _IO(VFIO_TYPE, VFIO_BASE + 14) */
export const VFIO_IOMMU_UNMAP_DMA = 0x3b72;
export const VFIO_PCI_CONFIG_REGION_INDEX = 7;
export const VFIO_PCI_INTX_IRQ_INDEX = 0;
export const VFIO_PCI_MSIX_IRQ_INDEX = 2;
export const VFIO_PCI_ERR_IRQ_INDEX = 3;
export const VFIO_PCI_REQ_IRQ_INDEX = 4;

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

/** Capability VFIO_REGION_INFO_CAP_SPARSE_MMAP: only these parts of the region can be mapped. */
export const vfio_region_info_cap_sparse_mmap = {
  sizeof: 16,
  header: bytes(0, 8),
  nr_areas: u32(8),
  reserved: u32(12),
  areas: elements(16, 16),
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

/** Of VFIO_IOMMU_GET_INFO: VFIO_IOMMU_INFO_*, a bit for each page size. */
export const vfio_iommu_type1_info = {
  sizeof: 24,
  argsz: u32(0),
  flags: u32(4),
  iova_pgsizes: u64(8),
  cap_offset: u32(16),
} as const;

/** Capability VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE. */
export const vfio_iommu_type1_info_cap_iova_range = {
  sizeof: 16,
  header: bytes(0, 8),
  nr_iovas: u32(8),
  reserved: u32(12),
  iova_ranges: elements(16, 16),
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
