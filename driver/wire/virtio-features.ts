/**
 * Feature bits of virtio and virtio-net (virtio 1.2 sections 6 and 5.1.3) as bigint masks. The control plane works on
 * bigints, because the bits reach 63; data paths get booleans made from them.
 */
import { aBigint, checkArgument } from '../../native/arguments.js';

const bit = (n: number): bigint => 1n << BigInt(n);

// ---- network device (5.1.3) ------------------------------------------------------------------------------------------
export const VIRTIO_NET_F_CSUM = bit(0);
export const VIRTIO_NET_F_GUEST_CSUM = bit(1);
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = bit(2);
export const VIRTIO_NET_F_MTU = bit(3);
export const VIRTIO_NET_F_MAC = bit(5);
/** Legacy only: the device can merge any GSO type (5.1.3.2). */
export const VIRTIO_NET_F_GSO = bit(6);
export const VIRTIO_NET_F_GUEST_TSO4 = bit(7);
export const VIRTIO_NET_F_GUEST_TSO6 = bit(8);
export const VIRTIO_NET_F_GUEST_ECN = bit(9);
export const VIRTIO_NET_F_GUEST_UFO = bit(10);
export const VIRTIO_NET_F_HOST_TSO4 = bit(11);
export const VIRTIO_NET_F_HOST_TSO6 = bit(12);
export const VIRTIO_NET_F_HOST_ECN = bit(13);
export const VIRTIO_NET_F_HOST_UFO = bit(14);
export const VIRTIO_NET_F_MRG_RXBUF = bit(15);
export const VIRTIO_NET_F_STATUS = bit(16);
export const VIRTIO_NET_F_CTRL_VQ = bit(17);
export const VIRTIO_NET_F_CTRL_RX = bit(18);
export const VIRTIO_NET_F_CTRL_VLAN = bit(19);
export const VIRTIO_NET_F_CTRL_RX_EXTRA = bit(20);
export const VIRTIO_NET_F_GUEST_ANNOUNCE = bit(21);
export const VIRTIO_NET_F_MQ = bit(22);
export const VIRTIO_NET_F_CTRL_MAC_ADDR = bit(23);
export const VIRTIO_NET_F_GUEST_USO4 = bit(54);
export const VIRTIO_NET_F_GUEST_USO6 = bit(55);
export const VIRTIO_NET_F_HOST_USO = bit(56);
export const VIRTIO_NET_F_HASH_REPORT = bit(57);
export const VIRTIO_NET_F_GUEST_HDRLEN = bit(59);
export const VIRTIO_NET_F_RSS = bit(60);
export const VIRTIO_NET_F_RSC_EXT = bit(61);
export const VIRTIO_NET_F_STANDBY = bit(62);
export const VIRTIO_NET_F_SPEED_DUPLEX = bit(63);

// ---- any device (6) --------------------------------------------------------------------------------------------------
/** Legacy only: the device wants an interrupt when the ring runs dry. */
export const VIRTIO_F_NOTIFY_ON_EMPTY = bit(24);
/** vhost: log all writes to guest memory (live migration). */
export const VHOST_F_LOG_ALL = bit(26);
export const VIRTIO_F_ANY_LAYOUT = bit(27);
export const VIRTIO_F_INDIRECT_DESC = bit(28);
export const VIRTIO_F_EVENT_IDX = bit(29);
/** vhost-user only, never shown to a driver: protocol features can be negotiated. */
export const VHOST_USER_F_PROTOCOL_FEATURES = bit(30);
export const VIRTIO_F_VERSION_1 = bit(32);
/** VIRTIO_F_ACCESS_PLATFORM in newer texts. */
export const VIRTIO_F_IOMMU_PLATFORM = bit(33);
export const VIRTIO_F_RING_PACKED = bit(34);
export const VIRTIO_F_IN_ORDER = bit(35);
export const VIRTIO_F_ORDER_PLATFORM = bit(36);
export const VIRTIO_F_SR_IOV = bit(37);
export const VIRTIO_F_NOTIFICATION_DATA = bit(38);
export const VIRTIO_F_NOTIF_CONFIG_DATA = bit(39);
export const VIRTIO_F_RING_RESET = bit(40);
export const VIRTIO_F_ADMIN_VQ = bit(41);

const names: Readonly<Record<number, string>> = {
  0: 'VIRTIO_NET_F_CSUM',
  1: 'VIRTIO_NET_F_GUEST_CSUM',
  2: 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
  3: 'VIRTIO_NET_F_MTU',
  5: 'VIRTIO_NET_F_MAC',
  6: 'VIRTIO_NET_F_GSO',
  7: 'VIRTIO_NET_F_GUEST_TSO4',
  8: 'VIRTIO_NET_F_GUEST_TSO6',
  9: 'VIRTIO_NET_F_GUEST_ECN',
  10: 'VIRTIO_NET_F_GUEST_UFO',
  11: 'VIRTIO_NET_F_HOST_TSO4',
  12: 'VIRTIO_NET_F_HOST_TSO6',
  13: 'VIRTIO_NET_F_HOST_ECN',
  14: 'VIRTIO_NET_F_HOST_UFO',
  15: 'VIRTIO_NET_F_MRG_RXBUF',
  16: 'VIRTIO_NET_F_STATUS',
  17: 'VIRTIO_NET_F_CTRL_VQ',
  18: 'VIRTIO_NET_F_CTRL_RX',
  19: 'VIRTIO_NET_F_CTRL_VLAN',
  20: 'VIRTIO_NET_F_CTRL_RX_EXTRA',
  21: 'VIRTIO_NET_F_GUEST_ANNOUNCE',
  22: 'VIRTIO_NET_F_MQ',
  23: 'VIRTIO_NET_F_CTRL_MAC_ADDR',
  24: 'VIRTIO_F_NOTIFY_ON_EMPTY',
  26: 'VHOST_F_LOG_ALL',
  27: 'VIRTIO_F_ANY_LAYOUT',
  28: 'VIRTIO_F_INDIRECT_DESC',
  29: 'VIRTIO_F_EVENT_IDX',
  30: 'VHOST_USER_F_PROTOCOL_FEATURES',
  32: 'VIRTIO_F_VERSION_1',
  33: 'VIRTIO_F_IOMMU_PLATFORM',
  34: 'VIRTIO_F_RING_PACKED',
  35: 'VIRTIO_F_IN_ORDER',
  36: 'VIRTIO_F_ORDER_PLATFORM',
  37: 'VIRTIO_F_SR_IOV',
  38: 'VIRTIO_F_NOTIFICATION_DATA',
  39: 'VIRTIO_F_NOTIF_CONFIG_DATA',
  40: 'VIRTIO_F_RING_RESET',
  41: 'VIRTIO_F_ADMIN_VQ',
  54: 'VIRTIO_NET_F_GUEST_USO4',
  55: 'VIRTIO_NET_F_GUEST_USO6',
  56: 'VIRTIO_NET_F_HOST_USO',
  57: 'VIRTIO_NET_F_HASH_REPORT',
  59: 'VIRTIO_NET_F_GUEST_HDRLEN',
  60: 'VIRTIO_NET_F_RSS',
  61: 'VIRTIO_NET_F_RSC_EXT',
  62: 'VIRTIO_NET_F_STANDBY',
  63: 'VIRTIO_NET_F_SPEED_DUPLEX',
};

const aFeature = {
  accepts: 'a bit number or a mask (bigint)',
  fits: (value: unknown) => typeof value === 'number' || typeof value === 'bigint',
};

/** Name of a feature: the bit number (0 to 63) or its one-bit mask as a bigint. Unknown bits are "bit N". */
export function featureName(feature: number | bigint): string {
  checkArgument('featureName', 'feature', feature, aFeature);
  const number = typeof feature === 'number' ? feature : feature.toString(2).length - 1;
  return names[number] ?? `bit ${number}`;
}

/** Names of all features of a set, lowest bit first. */
export function featureNames(features: bigint): string[] {
  checkArgument('featureNames', 'features', features, aBigint);
  const found: string[] = [];
  for (let n = 0; n < 64; n++) if (features & bit(n)) found.push(featureName(n));
  return found;
}

// ---- device status (2.1) ---------------------------------------------------------------------------------------------
export const STATUS_RESET = 0x00;
export const STATUS_ACKNOWLEDGE = 0x01;
export const STATUS_DRIVER = 0x02;
export const STATUS_DRIVER_OK = 0x04;
export const STATUS_FEATURES_OK = 0x08;
export const STATUS_NEEDS_RESET = 0x40;
export const STATUS_FAILED = 0x80;
