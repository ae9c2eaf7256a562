/**
 * <linux/if_packet.h> of Linux 6.1: packet sockets, and their rings of frames in memory.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { be16, s32, u16, u32 } from './fields.js';

export const PACKET_RX_RING = 5;
export const PACKET_STATISTICS = 6;
export const PACKET_VERSION = 10;
export const PACKET_TX_RING = 13;
export const PACKET_LOSS = 14;
export const PACKET_FANOUT = 18;
export const PACKET_QDISC_BYPASS = 20;
export const PACKET_IGNORE_OUTGOING = 23;
export const PACKET_FANOUT_HASH = 0;
export const PACKET_FANOUT_FLAG_ROLLOVER = 0x1000;
export const PACKET_FANOUT_FLAG_UNIQUEID = 0x2000;
export const PACKET_FANOUT_FLAG_DEFRAG = 0x8000;
export const TP_STATUS_KERNEL = 0;
export const TP_STATUS_USER = 0x1;
export const TP_STATUS_CSUMNOTREADY = 0x8;
export const TP_STATUS_VLAN_VALID = 0x10;
export const TP_STATUS_VLAN_TPID_VALID = 0x40;
export const TP_STATUS_AVAILABLE = 0;
export const TP_STATUS_SEND_REQUEST = 0x1;
export const TP_STATUS_TS_SOFTWARE = 0x20000000;
export const TP_STATUS_TS_RAW_HARDWARE = 0x80000000;
export const TPACKET_ALIGNMENT = 16;
export const TPACKET_V2 = 1;
/** (TPACKET_ALIGN(sizeof(struct tpacket2_hdr)) + sizeof(struct sockaddr_ll)) */
export const TPACKET2_HDRLEN = 52;

/** The interface and the protocol of a packet socket. */
export const sockaddr_ll = {
  sizeof: 20,
  sll_family: u16(0),
  sll_protocol: be16(2),
  sll_ifindex: s32(4),
} as const;

/** For PACKET_RX_RING and PACKET_TX_RING: blocks of memory, and the frames in them. */
export const tpacket_req = {
  sizeof: 16,
  tp_block_size: u32(0),
  tp_block_nr: u32(4),
  tp_frame_size: u32(8),
  tp_frame_nr: u32(12),
} as const;

/** Begins each frame of a ring: TP_STATUS_*, lengths and the offset of the packet. */
export const tpacket2_hdr = {
  sizeof: 32,
  tp_status: u32(0),
  tp_len: u32(4),
  tp_snaplen: u32(8),
  tp_mac: u16(12),
  tp_vlan_tci: u16(24),
  tp_vlan_tpid: u16(26),
} as const;

/** Of PACKET_STATISTICS, which sets both to 0. */
export const tpacket_stats = {
  sizeof: 8,
  tp_packets: u32(0),
  tp_drops: u32(4),
} as const;
