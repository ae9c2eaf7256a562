/** Numbers of the two formats of capture files: pcap (draft-ietf-opsawg-pcap) and pcapng (draft-ietf-opsawg-pcapng). */

/** First word of a pcap file, with time stamps in microseconds, and in nanoseconds. */
export const MAGIC_MICROSECONDS = 0xa1b2c3d4;
export const MAGIC_NANOSECONDS = 0xa1b23c4d;
export const PCAP_HEADER = 24;
export const PCAP_RECORD = 16;

/** First word of a pcapng file, in either byte order. */
export const SECTION_HEADER = 0x0a0d0d0a;
/** Its third word. */
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
export const INTERFACE_DESCRIPTION = 1;
/** The Packet Block, which is obsolete, and the blocks that took its place. */
export const PACKET = 2;
export const SIMPLE_PACKET = 3;
export const ENHANCED_PACKET = 6;
/** Bytes of the smallest block of each kind. */
export const MIN_BLOCK = 12;
export const MIN_SECTION_HEADER = 28;
export const MIN_INTERFACE_DESCRIPTION = 20;
export const MIN_SIMPLE_PACKET = 16;
export const MIN_ENHANCED_PACKET = 32;

export const LINKTYPE_ETHERNET = 1;
/** MAXIMUM_SNAPLEN of libpcap: a longer packet is a damaged one. */
export const MAX_PACKET = 262144;
/** Bytes of a packet that DPDK's files say they may have; longer ones are cut. */
export const WRITTEN_SNAPLEN = 65535;
