/**
 * Ring layouts as constants: virtio 1.2 sections 2.7 (split), 2.8 (packed) and 5.1.6 (the net header). No code here accesses
 * memory. Offsets are in bytes unless the name says otherwise. test/paths/layout.test.ts compares them with the kernel's
 * headers.
 */
import { aWhole, checkArgument } from '../native/arguments.js';

/** Descriptor flags (both ring formats; the last two exist on packed rings only). */
export const DESC_F_NEXT = 1;
export const DESC_F_WRITE = 2;
export const DESC_F_INDIRECT = 4;
export const DESC_F_AVAIL = 1 << 7;
export const DESC_F_USED = 1 << 15;
/** Both wrap bits of a packed descriptor. */
export const DESC_F_AVAIL_USED = DESC_F_AVAIL | DESC_F_USED;

/** A descriptor is 16 bytes in every format: address 0 (u64), length 8 (u32), then flags and next, or id and flags. */
export const DESC_SIZE = 16;
/** In 32-bit words: address low, address high, length, then (split) flags | next << 16 or (packed) id | flags << 16. */
export const DESC_WORDS = 4;

/** Split: avail is flags u16, idx u16, ring u16[size], used_event u16; used is flags u16, idx u16, ring {id u32, len u32}[size], avail_event u16. */
export const AVAIL_F_NO_INTERRUPT = 1;
export const USED_F_NO_NOTIFY = 1;

/** Packed event suppression structures: off_wrap u16, flags u16. */
export const EVENT_F_ENABLE = 0;
export const EVENT_F_DISABLE = 1;
export const EVENT_F_DESC = 2;

export const MAX_QUEUE_SIZE = 32768;
/** Alignment of the used ring in the legacy layout, in bytes. All our rings use that layout. */
export const RING_ALIGN = 4096;

/** virtio_net_hdr fields: flags u8 0, gso_type u8 1, hdr_len u16 2, gso_size u16 4, csum_start u16 6, csum_offset u16 8, num_buffers u16 10. */
export const NET_HDR_LEGACY = 10;
export const NET_HDR_MRG = 12;
export const NET_HDR_HASH = 20;
export const GSO_TYPE_OFF = 1;
export const GSO_SIZE_OFF = 4;
export const CSUM_START_OFF = 6;
export const CSUM_OFFSET_OFF = 8;
export const NUM_BUFFERS_OFF = 10;
/** With HASH_REPORT: hash_value u32 12, hash_report u16 16. */
export const HASH_VALUE_OFF = 12;
export const HASH_REPORT_OFF = 16;

/** virtio_net_hdr.flags. NEEDS_CSUM: the checksum is to be completed. DATA_VALID: the checksum was verified. */
export const NET_HDR_F_NEEDS_CSUM = 1;
export const NET_HDR_F_DATA_VALID = 2;
/** virtio_net_hdr.gso_type */
export const NET_HDR_GSO_NONE = 0;
export const NET_HDR_GSO_TCPV4 = 1;
export const NET_HDR_GSO_TCPV6 = 4;

export const ETHER_HDR_LEN = 14;
export const ETHER_CRC_LEN = 4;
/** VIRTIO_MAX_RX_PKTLEN. */
export const MAX_RX_PKTLEN = 9728;
/** Bytes of the longest packet after LRO: the most that IP's length field allows, behind a header with two VLAN tags. */
export const MAX_LRO_PKTLEN = ETHER_HDR_LEN + 8 + 65535;

/** Byte offsets of the parts of one ring, from its first byte, and its length. */
export interface RingLayout {
  /** Descriptor table (split) or descriptor ring (packed). */
  readonly desc: number;
  /** Avail ring (split) or driver event suppression (packed). */
  readonly driver: number;
  /** Used ring (split) or device event suppression (packed). */
  readonly device: number;
  readonly byteLength: number;
}

const alignUp = (value: number, alignment: number) => Math.ceil(value / alignment) * alignment;

/** The legacy layout (vring_size): descriptors, avail ring directly behind, used ring at the next multiple of 4096. */
export function splitLayout(size: number): RingLayout {
  checkArgument('splitLayout', 'size', size, aWhole);
  const driver = size * DESC_SIZE;
  const device = alignUp(driver + 4 + 2 * size + 2, RING_ALIGN);
  return { desc: 0, driver, device, byteLength: device + 4 + 8 * size + 2 };
}

export function packedLayout(size: number): RingLayout {
  checkArgument('packedLayout', 'size', size, aWhole);
  const driver = size * DESC_SIZE;
  const device = alignUp(driver + 4, RING_ALIGN);
  return { desc: 0, driver, device, byteLength: device + 4 };
}
