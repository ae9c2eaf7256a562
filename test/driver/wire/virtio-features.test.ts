/** Feature and status bits, and names of features: what the specification says, typed in once more. */
import test from 'ava';
import * as F from '../../../driver/wire/virtio-features.js';

/** Virtio 1.2 sections 5.1.3 and 6, legacy bits, vhost's; the kernel's names. */
const specification: Readonly<Record<number, string>> = {
  ...{ 0: 'NET_F_CSUM', 1: 'NET_F_GUEST_CSUM', 2: 'NET_F_CTRL_GUEST_OFFLOADS', 3: 'NET_F_MTU', 5: 'NET_F_MAC' },
  ...{ 6: 'NET_F_GSO', 7: 'NET_F_GUEST_TSO4', 8: 'NET_F_GUEST_TSO6', 9: 'NET_F_GUEST_ECN', 10: 'NET_F_GUEST_UFO' },
  ...{ 11: 'NET_F_HOST_TSO4', 12: 'NET_F_HOST_TSO6', 13: 'NET_F_HOST_ECN', 14: 'NET_F_HOST_UFO' },
  ...{ 15: 'NET_F_MRG_RXBUF', 16: 'NET_F_STATUS', 17: 'NET_F_CTRL_VQ', 18: 'NET_F_CTRL_RX', 19: 'NET_F_CTRL_VLAN' },
  ...{ 20: 'NET_F_CTRL_RX_EXTRA', 21: 'NET_F_GUEST_ANNOUNCE', 22: 'NET_F_MQ', 23: 'NET_F_CTRL_MAC_ADDR' },
  ...{ 24: 'F_NOTIFY_ON_EMPTY', 27: 'F_ANY_LAYOUT', 28: 'F_INDIRECT_DESC', 29: 'F_EVENT_IDX' },
  ...{ 32: 'F_VERSION_1', 33: 'F_IOMMU_PLATFORM', 34: 'F_RING_PACKED', 35: 'F_IN_ORDER', 36: 'F_ORDER_PLATFORM' },
  ...{ 37: 'F_SR_IOV', 38: 'F_NOTIFICATION_DATA', 39: 'F_NOTIF_CONFIG_DATA', 40: 'F_RING_RESET', 41: 'F_ADMIN_VQ' },
  ...{ 54: 'NET_F_GUEST_USO4', 55: 'NET_F_GUEST_USO6', 56: 'NET_F_HOST_USO', 57: 'NET_F_HASH_REPORT' },
  ...{ 59: 'NET_F_GUEST_HDRLEN', 60: 'NET_F_RSS', 61: 'NET_F_RSC_EXT', 62: 'NET_F_STANDBY', 63: 'NET_F_SPEED_DUPLEX' },
};
const vhost: Readonly<Record<number, string>> = { 26: 'VHOST_F_LOG_ALL', 30: 'VHOST_USER_F_PROTOCOL_FEATURES' };

const nameOf = (bit: number) => vhost[bit] ?? (specification[bit] ? `VIRTIO_${specification[bit]}` : `bit ${bit}`);

test('every bit has its name, by number and by mask', (t) => {
  for (let bit = 0; bit < 64; bit++) {
    t.is(F.featureName(bit), nameOf(bit));
    t.is(F.featureName(1n << BigInt(bit)), nameOf(bit));
  }
  t.deepEqual(
    F.featureNames(2n ** 64n - 1n),
    Array.from({ length: 64 }, (_, bit) => nameOf(bit)),
  );
  t.deepEqual(F.featureNames(0n), []);
});

test('a mask that is exported is the bit of its name', (t) => {
  const masks = Object.entries(F).filter((entry): entry is [string, bigint] => typeof entry[1] === 'bigint');
  t.true(masks.length > 30);
  for (const [name, mask] of masks) t.is(F.featureName(mask), name);
});

test('status bits (2.1)', (t) => {
  t.deepEqual([F.STATUS_ACKNOWLEDGE, F.STATUS_DRIVER, F.STATUS_DRIVER_OK, F.STATUS_FEATURES_OK], [1, 2, 4, 8]);
  t.deepEqual([F.STATUS_NEEDS_RESET, F.STATUS_FAILED], [64, 128]);
});
