/**
 * Feature bits of virtio and virtio-net (virtio 1.2 sections 6 and 5.1.3) as bigint masks. The control plane works on
 * bigints, because the bits reach 63; data paths get booleans made from them. Bits come from the kernel's headers; those that
 * the headers of Linux 6.1 do not have are numbers.
 */
import { aBigint, checkArgument } from '../../native/arguments.js';
import * as vhost from './linux/vhost-types.js';
import * as config from './linux/virtio-config.js';
import * as net from './linux/virtio-net.js';
import * as ring from './linux/virtio-ring.js';

const bit = (n: number): bigint => 1n << BigInt(n);

// ---- network device (5.1.3) ------------------------------------------------------------------------------------------
export const VIRTIO_NET_F_CSUM = bit(net.VIRTIO_NET_F_CSUM);
export const VIRTIO_NET_F_GUEST_CSUM = bit(net.VIRTIO_NET_F_GUEST_CSUM);
export const VIRTIO_NET_F_CTRL_GUEST_OFFLOADS = bit(net.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
export const VIRTIO_NET_F_MTU = bit(net.VIRTIO_NET_F_MTU);
export const VIRTIO_NET_F_MAC = bit(net.VIRTIO_NET_F_MAC);
/** Legacy only: the device can merge any GSO type (5.1.3.2). */
const VIRTIO_NET_F_GSO = bit(net.VIRTIO_NET_F_GSO);
export const VIRTIO_NET_F_GUEST_TSO4 = bit(net.VIRTIO_NET_F_GUEST_TSO4);
export const VIRTIO_NET_F_GUEST_TSO6 = bit(net.VIRTIO_NET_F_GUEST_TSO6);
export const VIRTIO_NET_F_GUEST_ECN = bit(net.VIRTIO_NET_F_GUEST_ECN);
export const VIRTIO_NET_F_GUEST_UFO = bit(net.VIRTIO_NET_F_GUEST_UFO);
export const VIRTIO_NET_F_HOST_TSO4 = bit(net.VIRTIO_NET_F_HOST_TSO4);
export const VIRTIO_NET_F_HOST_TSO6 = bit(net.VIRTIO_NET_F_HOST_TSO6);
export const VIRTIO_NET_F_HOST_ECN = bit(net.VIRTIO_NET_F_HOST_ECN);
export const VIRTIO_NET_F_HOST_UFO = bit(net.VIRTIO_NET_F_HOST_UFO);
export const VIRTIO_NET_F_MRG_RXBUF = bit(net.VIRTIO_NET_F_MRG_RXBUF);
export const VIRTIO_NET_F_STATUS = bit(net.VIRTIO_NET_F_STATUS);
export const VIRTIO_NET_F_CTRL_VQ = bit(net.VIRTIO_NET_F_CTRL_VQ);
export const VIRTIO_NET_F_CTRL_RX = bit(net.VIRTIO_NET_F_CTRL_RX);
export const VIRTIO_NET_F_CTRL_VLAN = bit(net.VIRTIO_NET_F_CTRL_VLAN);
export const VIRTIO_NET_F_CTRL_RX_EXTRA = bit(net.VIRTIO_NET_F_CTRL_RX_EXTRA);
export const VIRTIO_NET_F_GUEST_ANNOUNCE = bit(net.VIRTIO_NET_F_GUEST_ANNOUNCE);
export const VIRTIO_NET_F_MQ = bit(net.VIRTIO_NET_F_MQ);
export const VIRTIO_NET_F_CTRL_MAC_ADDR = bit(net.VIRTIO_NET_F_CTRL_MAC_ADDR);
export const VIRTIO_NET_F_GUEST_USO4 = bit(54);
export const VIRTIO_NET_F_GUEST_USO6 = bit(55);
export const VIRTIO_NET_F_HOST_USO = bit(56);
export const VIRTIO_NET_F_HASH_REPORT = bit(net.VIRTIO_NET_F_HASH_REPORT);
const VIRTIO_NET_F_GUEST_HDRLEN = bit(59);
export const VIRTIO_NET_F_RSS = bit(net.VIRTIO_NET_F_RSS);
export const VIRTIO_NET_F_RSC_EXT = bit(net.VIRTIO_NET_F_RSC_EXT);
const VIRTIO_NET_F_STANDBY = bit(net.VIRTIO_NET_F_STANDBY);
export const VIRTIO_NET_F_SPEED_DUPLEX = bit(net.VIRTIO_NET_F_SPEED_DUPLEX);

// ---- any device (6) --------------------------------------------------------------------------------------------------
/** Legacy only: the device wants an interrupt when the ring runs dry. */
const VIRTIO_F_NOTIFY_ON_EMPTY = bit(config.VIRTIO_F_NOTIFY_ON_EMPTY);
/** vhost: log all writes to guest memory (live migration). */
export const VHOST_F_LOG_ALL = bit(vhost.VHOST_F_LOG_ALL);
export const VIRTIO_F_ANY_LAYOUT = bit(config.VIRTIO_F_ANY_LAYOUT);
export const VIRTIO_F_INDIRECT_DESC = bit(ring.VIRTIO_RING_F_INDIRECT_DESC);
export const VIRTIO_F_EVENT_IDX = bit(ring.VIRTIO_RING_F_EVENT_IDX);
/** vhost-user only (defined in its own specification), never offered to a driver: protocol features can be negotiated. */
export const VHOST_USER_F_PROTOCOL_FEATURES = bit(30);
export const VIRTIO_F_VERSION_1 = bit(config.VIRTIO_F_VERSION_1);
/** VIRTIO_F_ACCESS_PLATFORM in newer versions of the specification. */
export const VIRTIO_F_IOMMU_PLATFORM = bit(config.VIRTIO_F_IOMMU_PLATFORM);
export const VIRTIO_F_RING_PACKED = bit(config.VIRTIO_F_RING_PACKED);
export const VIRTIO_F_IN_ORDER = bit(config.VIRTIO_F_IN_ORDER);
export const VIRTIO_F_ORDER_PLATFORM = bit(config.VIRTIO_F_ORDER_PLATFORM);
const VIRTIO_F_SR_IOV = bit(config.VIRTIO_F_SR_IOV);
export const VIRTIO_F_NOTIFICATION_DATA = bit(38);
const VIRTIO_F_NOTIF_CONFIG_DATA = bit(39);
export const VIRTIO_F_RING_RESET = bit(config.VIRTIO_F_RING_RESET);
const VIRTIO_F_ADMIN_VQ = bit(41);

/** Names by bit. */
const names: ReadonlyMap<number, string> = new Map(
  Object.entries({
    VIRTIO_NET_F_CSUM,
    VIRTIO_NET_F_GUEST_CSUM,
    VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
    VIRTIO_NET_F_MTU,
    VIRTIO_NET_F_MAC,
    VIRTIO_NET_F_GSO,
    VIRTIO_NET_F_GUEST_TSO4,
    VIRTIO_NET_F_GUEST_TSO6,
    VIRTIO_NET_F_GUEST_ECN,
    VIRTIO_NET_F_GUEST_UFO,
    VIRTIO_NET_F_HOST_TSO4,
    VIRTIO_NET_F_HOST_TSO6,
    VIRTIO_NET_F_HOST_ECN,
    VIRTIO_NET_F_HOST_UFO,
    VIRTIO_NET_F_MRG_RXBUF,
    VIRTIO_NET_F_STATUS,
    VIRTIO_NET_F_CTRL_VQ,
    VIRTIO_NET_F_CTRL_RX,
    VIRTIO_NET_F_CTRL_VLAN,
    VIRTIO_NET_F_CTRL_RX_EXTRA,
    VIRTIO_NET_F_GUEST_ANNOUNCE,
    VIRTIO_NET_F_MQ,
    VIRTIO_NET_F_CTRL_MAC_ADDR,
    VIRTIO_F_NOTIFY_ON_EMPTY,
    VHOST_F_LOG_ALL,
    VIRTIO_F_ANY_LAYOUT,
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_EVENT_IDX,
    VHOST_USER_F_PROTOCOL_FEATURES,
    VIRTIO_F_VERSION_1,
    VIRTIO_F_IOMMU_PLATFORM,
    VIRTIO_F_RING_PACKED,
    VIRTIO_F_IN_ORDER,
    VIRTIO_F_ORDER_PLATFORM,
    VIRTIO_F_SR_IOV,
    VIRTIO_F_NOTIFICATION_DATA,
    VIRTIO_F_NOTIF_CONFIG_DATA,
    VIRTIO_F_RING_RESET,
    VIRTIO_F_ADMIN_VQ,
    VIRTIO_NET_F_GUEST_USO4,
    VIRTIO_NET_F_GUEST_USO6,
    VIRTIO_NET_F_HOST_USO,
    VIRTIO_NET_F_HASH_REPORT,
    VIRTIO_NET_F_GUEST_HDRLEN,
    VIRTIO_NET_F_RSS,
    VIRTIO_NET_F_RSC_EXT,
    VIRTIO_NET_F_STANDBY,
    VIRTIO_NET_F_SPEED_DUPLEX,
  }).map(([name, mask]) => [highestBit(mask), name]),
);

function highestBit(mask: bigint): number {
  return mask.toString(2).length - 1;
}

const aFeature = {
  accepts: 'a bit number or a mask (bigint)',
  fits: (value: unknown) => typeof value === 'number' || typeof value === 'bigint',
};

/** Name of a feature: the bit number (0 to 63) or its one-bit mask as a bigint. Unknown bits are "bit N". */
export function featureName(feature: number | bigint): string {
  checkArgument('featureName', 'feature', feature, aFeature);
  const number = typeof feature === 'number' ? feature : highestBit(feature);
  return names.get(number) ?? `bit ${number}`;
}

/** Names of all features of a set, lowest bit first. */
export function featureNames(features: bigint): string[] {
  checkArgument('featureNames', 'features', features, aBigint);
  const found: string[] = [];
  for (let n = 0; n < 64; n++) if (features & bit(n)) found.push(featureName(n));
  return found;
}

// ---- device status (2.1), which 0 resets -----------------------------------------------------------------------------
export const STATUS_ACKNOWLEDGE = config.VIRTIO_CONFIG_S_ACKNOWLEDGE;
export const STATUS_DRIVER = config.VIRTIO_CONFIG_S_DRIVER;
export const STATUS_DRIVER_OK = config.VIRTIO_CONFIG_S_DRIVER_OK;
export const STATUS_FEATURES_OK = config.VIRTIO_CONFIG_S_FEATURES_OK;
export const STATUS_NEEDS_RESET = config.VIRTIO_CONFIG_S_NEEDS_RESET;
export const STATUS_FAILED = config.VIRTIO_CONFIG_S_FAILED;
