/** What virtio_user devices have in common, whatever their back-end: this process provides a part of the device itself. */
import { CONFIG_MAC, CONFIG_MAX_PAIRS, CONFIG_SPEED, CONFIG_STATUS, LINK_UP } from '../transport.js';
import { virtio_net_config } from '../../wire/linux/virtio-net.js';
import * as F from '../../wire/virtio-features.js';

/** DPDK's VIRTIO_USER_SUPPORTED_FEATURES and EVENT_IDX, without RSS and HASH_REPORT (docs/decisions/0009). */
export const USER_SUPPORTED =
  F.VIRTIO_NET_F_MAC |
  F.VIRTIO_NET_F_STATUS |
  F.VIRTIO_NET_F_MQ |
  F.VIRTIO_NET_F_CTRL_MAC_ADDR |
  F.VIRTIO_NET_F_CTRL_VQ |
  F.VIRTIO_NET_F_CTRL_RX |
  F.VIRTIO_NET_F_CTRL_VLAN |
  F.VIRTIO_NET_F_CSUM |
  F.VIRTIO_NET_F_HOST_TSO4 |
  F.VIRTIO_NET_F_HOST_TSO6 |
  F.VIRTIO_NET_F_MRG_RXBUF |
  F.VIRTIO_F_INDIRECT_DESC |
  F.VIRTIO_NET_F_GUEST_CSUM |
  F.VIRTIO_NET_F_GUEST_TSO4 |
  F.VIRTIO_NET_F_GUEST_TSO6 |
  F.VIRTIO_F_IN_ORDER |
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_F_RING_PACKED |
  F.VIRTIO_F_NOTIFICATION_DATA |
  F.VIRTIO_F_ORDER_PLATFORM |
  F.VIRTIO_F_EVENT_IDX;

/** All but what goes with RSS. */
const CONFIG_LENGTH = virtio_net_config.rss_max_key_size.offset;
const UNKNOWN_SPEED = 0xffffffff;

/** The values of the device configuration. */
export interface UserConfig {
  /** Six bytes; undefined: none, zeros. */
  readonly mac: Uint8Array | undefined;
  readonly linkUp: boolean;
  readonly maxQueuePairs: number;
  /** Mb/s; undefined: unknown. */
  readonly speed: number | undefined;
}

/** The bytes of virtio_net_config (virtio 1.2 section 5.1.4), which this process provides. */
export function userConfig({ mac, linkUp, maxQueuePairs, speed }: UserConfig): Uint8Array {
  const config = new Uint8Array(CONFIG_LENGTH);
  const view = new DataView(config.buffer);
  if (mac !== undefined) config.set(mac, CONFIG_MAC);
  view.setUint16(CONFIG_STATUS, linkUp ? LINK_UP : 0, true);
  view.setUint16(CONFIG_MAX_PAIRS, maxQueuePairs, true);
  view.setUint32(CONFIG_SPEED, speed ?? UNKNOWN_SPEED, true);
  return config;
}
