/**
 * <linux/virtio_net.h> of Linux 6.1: network devices: feature bits, configuration, the header before each packet, commands of the control queue.
 * Written by vfio-bindings-generator, which asked the C compiler; do not edit.
 */
import { bytes, elements, numbers, u16, u32, u8 } from './fields.js';

export const VIRTIO_NET_F_CSUM = 0;
export const VIRTIO_NET_F_GUEST_CSUM = 1;
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = 2;
export const VIRTIO_NET_F_MTU = 3;
export const VIRTIO_NET_F_MAC = 5;
export const VIRTIO_NET_F_GUEST_TSO4 = 7;
export const VIRTIO_NET_F_GUEST_TSO6 = 8;
export const VIRTIO_NET_F_GUEST_ECN = 9;
export const VIRTIO_NET_F_GUEST_UFO = 10;
export const VIRTIO_NET_F_HOST_TSO4 = 11;
export const VIRTIO_NET_F_HOST_TSO6 = 12;
export const VIRTIO_NET_F_HOST_ECN = 13;
export const VIRTIO_NET_F_HOST_UFO = 14;
export const VIRTIO_NET_F_MRG_RXBUF = 15;
export const VIRTIO_NET_F_STATUS = 16;
export const VIRTIO_NET_F_CTRL_VQ = 17;
export const VIRTIO_NET_F_CTRL_RX = 18;
export const VIRTIO_NET_F_CTRL_VLAN = 19;
export const VIRTIO_NET_F_CTRL_RX_EXTRA = 20;
export const VIRTIO_NET_F_GUEST_ANNOUNCE = 21;
export const VIRTIO_NET_F_MQ = 22;
export const VIRTIO_NET_F_CTRL_MAC_ADDR = 23;
export const VIRTIO_NET_F_HASH_REPORT = 57;
export const VIRTIO_NET_F_RSS = 60;
export const VIRTIO_NET_F_RSC_EXT = 61;
export const VIRTIO_NET_F_STANDBY = 62;
export const VIRTIO_NET_F_SPEED_DUPLEX = 63;
export const VIRTIO_NET_F_GSO = 6;
export const VIRTIO_NET_S_LINK_UP = 1;
export const VIRTIO_NET_S_ANNOUNCE = 2;
export const VIRTIO_NET_RSS_HASH_TYPE_IPv4 = 0x1;
export const VIRTIO_NET_RSS_HASH_TYPE_TCPv4 = 0x2;
export const VIRTIO_NET_RSS_HASH_TYPE_UDPv4 = 0x4;
export const VIRTIO_NET_RSS_HASH_TYPE_IPv6 = 0x8;
export const VIRTIO_NET_RSS_HASH_TYPE_TCPv6 = 0x10;
export const VIRTIO_NET_RSS_HASH_TYPE_UDPv6 = 0x20;
export const VIRTIO_NET_RSS_HASH_TYPE_IP_EX = 0x40;
export const VIRTIO_NET_RSS_HASH_TYPE_TCP_EX = 0x80;
export const VIRTIO_NET_RSS_HASH_TYPE_UDP_EX = 0x100;
export const VIRTIO_NET_OK = 0;
export const VIRTIO_NET_CTRL_RX = 0;
export const VIRTIO_NET_CTRL_RX_PROMISC = 0;
export const VIRTIO_NET_CTRL_RX_ALLMULTI = 1;
export const VIRTIO_NET_CTRL_MAC = 1;
export const VIRTIO_NET_CTRL_MAC_TABLE_SET = 0;
export const VIRTIO_NET_CTRL_MAC_ADDR_SET = 1;
export const VIRTIO_NET_CTRL_VLAN = 2;
export const VIRTIO_NET_CTRL_VLAN_ADD = 0;
export const VIRTIO_NET_CTRL_VLAN_DEL = 1;
export const VIRTIO_NET_CTRL_ANNOUNCE = 3;
export const VIRTIO_NET_CTRL_ANNOUNCE_ACK = 0;
export const VIRTIO_NET_CTRL_MQ = 4;
export const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET = 0;
export const VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MAX = 0x8000;
export const VIRTIO_NET_CTRL_MQ_RSS_CONFIG = 1;
export const VIRTIO_NET_CTRL_MQ_HASH_CONFIG = 2;

/** The device configuration. */
export const virtio_net_config = {
  sizeof: 24,
  mac: bytes(0, 6),
  status: u16(6),
  max_virtqueue_pairs: u16(8),
  mtu: u16(10),
  speed: u32(12),
  duplex: u8(16),
  rss_max_key_size: u8(17),
  rss_max_indirection_table_length: u16(18),
  supported_hash_types: u32(20),
} as const;

/** Before each packet of a legacy device without MRG_RXBUF. */
export const virtio_net_hdr = {
  sizeof: 10,
  flags: u8(0),
  gso_type: u8(1),
  hdr_len: u16(2),
  gso_size: u16(4),
  csum_start: u16(6),
  csum_offset: u16(8),
} as const;

/** Before each packet of a legacy device with MRG_RXBUF. */
export const virtio_net_hdr_mrg_rxbuf = {
  sizeof: 12,
  hdr: bytes(0, 10),
  num_buffers: u16(10),
} as const;

/** Before each packet of a modern device. */
export const virtio_net_hdr_v1 = {
  sizeof: 12,
  flags: u8(0),
  gso_type: u8(1),
  hdr_len: u16(2),
  gso_size: u16(4),
  csum_start: u16(6),
  csum_offset: u16(8),
  rsc: {
    segments: u16(6),
    dup_acks: u16(8),
  },
  num_buffers: u16(10),
} as const;

/** Before each packet with HASH_REPORT. */
export const virtio_net_hdr_v1_hash = {
  sizeof: 20,
  hdr: bytes(0, 12),
  hash_value: u32(12),
  hash_report: u16(16),
  padding: u16(18),
} as const;

/** Begins a command of the control queue. */
export const virtio_net_ctrl_hdr = {
  sizeof: 2,
  class: u8(0),
  cmd: u8(1),
} as const;

/** VIRTIO_NET_CTRL_MAC_TABLE_SET takes two: unicast addresses, then multicast ones. */
export const virtio_net_ctrl_mac = {
  sizeof: 4,
  entries: u32(0),
  macs: elements(4, 6),
} as const;

/** For VIRTIO_NET_CTRL_MQ_RSS_CONFIG with a table of one entry; a longer table moves what follows it. */
export const virtio_net_rss_config = {
  sizeof: 16,
  hash_types: u32(0),
  indirection_table_mask: u16(4),
  unclassified_queue: u16(6),
  indirection_table: numbers(u16, 8, 1),
  max_tx_vq: u16(10),
  hash_key_length: u8(12),
  hash_key_data: numbers(u8, 13),
} as const;

/** For VIRTIO_NET_CTRL_MQ_HASH_CONFIG. */
export const virtio_net_hash_config = {
  sizeof: 16,
  hash_types: u32(0),
  reserved: numbers(u16, 4, 4),
  hash_key_length: u8(12),
  hash_key_data: numbers(u8, 13),
} as const;
