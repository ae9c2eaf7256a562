/**
 * Feature negotiation as a pure function with reasons: what the device offered, what the driver requested, what was
 * acknowledged, and why any other offered or requested bit was not (virtio 1.2 section 2.2). The request set is DPDK's
 * VIRTIO_PMD_DEFAULT_GUEST_FEATURES; prerequisites are those of section 5.1.3.1.
 */
import {
  RX_OFFLOAD_RSS_HASH,
  RX_OFFLOAD_TCP_CKSUM,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  TX_OFFLOAD_TCP_CKSUM,
  TX_OFFLOAD_TCP_TSO,
  TX_OFFLOAD_UDP_CKSUM,
  type Reason,
} from '../port/types.js';
import * as F from '../wire/virtio-features.js';

/** What a device offers. */
export interface FeatureOffer {
  readonly bits: bigint;
  /** One-bit masks that the transport removed from the offer, and why; not in `bits`. */
  readonly withheld: ReadonlyMap<bigint, string>;
}

/** What the request depends on: devargs and the port's configuration. */
export interface FeatureWishes {
  readonly mrgRxbuf: boolean;
  readonly inOrder: boolean;
  readonly packedVq: boolean;
  /** A control queue: devarg cq, or more than one queue pair. */
  readonly cq: boolean;
  readonly eventIdx: boolean;
  /** Several Rx queues, over which the device must spread packets as configured. */
  readonly rss?: boolean;
  /** RX_OFFLOAD_*, TX_OFFLOAD_*. */
  readonly rxOffloads: number;
  readonly txOffloads: number;
}

export interface FeatureRequest {
  readonly bits: bigint;
  /** Features (one-bit masks) that a user's setting excludes from the request, and which setting. */
  readonly declined: ReadonlyMap<bigint, string>;
}

export interface Negotiation {
  readonly offered: bigint;
  readonly asked: bigint;
  readonly acknowledged: bigint;
  readonly refused: readonly Reason[];
}

/** Whether any bit of `feature` is set. */
export function has(features: bigint, feature: bigint): boolean {
  return (features & feature) !== 0n;
}

export function hasAll(features: bigint, wanted: bigint): boolean {
  return (features & wanted) === wanted;
}

const union = (...bits: readonly bigint[]) => bits.reduce((all, bit) => all | bit, 0n);

/** Requested from every device, unless the user's settings exclude them. */
const DEFAULT_REQUEST = union(
  F.VIRTIO_NET_F_MAC,
  F.VIRTIO_NET_F_STATUS,
  F.VIRTIO_NET_F_MQ,
  F.VIRTIO_NET_F_CTRL_MAC_ADDR,
  F.VIRTIO_NET_F_CTRL_VQ,
  F.VIRTIO_NET_F_CTRL_RX,
  F.VIRTIO_NET_F_CTRL_VLAN,
  F.VIRTIO_NET_F_MRG_RXBUF,
  F.VIRTIO_NET_F_MTU,
  F.VIRTIO_NET_F_GUEST_ANNOUNCE,
  F.VIRTIO_F_INDIRECT_DESC,
  F.VIRTIO_F_VERSION_1,
  F.VIRTIO_F_IN_ORDER,
  F.VIRTIO_F_RING_PACKED,
  F.VIRTIO_F_IOMMU_PLATFORM,
  F.VIRTIO_F_ORDER_PLATFORM,
  F.VIRTIO_F_NOTIFICATION_DATA,
  F.VIRTIO_NET_F_SPEED_DUPLEX,
);

const NEED_CTRL_VQ = [
  F.VIRTIO_NET_F_CTRL_RX,
  F.VIRTIO_NET_F_CTRL_VLAN,
  F.VIRTIO_NET_F_CTRL_RX_EXTRA,
  F.VIRTIO_NET_F_GUEST_ANNOUNCE,
  F.VIRTIO_NET_F_MQ,
  F.VIRTIO_NET_F_CTRL_MAC_ADDR,
  F.VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  F.VIRTIO_NET_F_RSS,
  F.VIRTIO_NET_F_HASH_REPORT,
] as const;

export const GUEST_TSO = F.VIRTIO_NET_F_GUEST_TSO4 | F.VIRTIO_NET_F_GUEST_TSO6;
export const HOST_TSO = F.VIRTIO_NET_F_HOST_TSO4 | F.VIRTIO_NET_F_HOST_TSO6;
/** Either of them makes several queue pairs possible. */
export const MQ_OR_RSS = F.VIRTIO_NET_F_MQ | F.VIRTIO_NET_F_RSS;

/** Features, and their prerequisites, of which each needs at least one. */
const PREREQUISITES: readonly (readonly [feature: bigint, anyOf: bigint])[] = [
  ...[
    F.VIRTIO_NET_F_GUEST_TSO4,
    F.VIRTIO_NET_F_GUEST_TSO6,
    F.VIRTIO_NET_F_GUEST_UFO,
    F.VIRTIO_NET_F_GUEST_USO4,
    F.VIRTIO_NET_F_GUEST_USO6,
  ].map((feature) => [feature, F.VIRTIO_NET_F_GUEST_CSUM] as const),
  ...[F.VIRTIO_NET_F_HOST_TSO4, F.VIRTIO_NET_F_HOST_TSO6, F.VIRTIO_NET_F_HOST_UFO, F.VIRTIO_NET_F_HOST_USO].map(
    (feature) => [feature, F.VIRTIO_NET_F_CSUM] as const,
  ),
  [F.VIRTIO_NET_F_GUEST_ECN, GUEST_TSO],
  [F.VIRTIO_NET_F_HOST_ECN, HOST_TSO],
  [F.VIRTIO_NET_F_RSC_EXT, HOST_TSO],
  ...NEED_CTRL_VQ.map((feature) => [feature, F.VIRTIO_NET_F_CTRL_VQ] as const),
];

/** The set of prerequisites of which `feature` has none in `features`; 0n when nothing is missing. */
export function missingPrerequisite(feature: bigint, features: bigint): bigint {
  const row = PREREQUISITES.find(([dependent, anyOf]) => dependent === feature && !has(features, anyOf));
  return row === undefined ? 0n : row[1];
}

/** The features to request from a device. */
export function requestFeatures(wishes: FeatureWishes): FeatureRequest {
  const declined = new Map<bigint, string>();
  let bits = DEFAULT_REQUEST;
  const decline = (feature: bigint, why: string) => {
    bits &= ~feature;
    declined.set(feature, why);
  };
  if (!wishes.mrgRxbuf) decline(F.VIRTIO_NET_F_MRG_RXBUF, 'switched off by mrg_rxbuf=0');
  if (!wishes.inOrder) decline(F.VIRTIO_F_IN_ORDER, 'switched off by in_order=0');
  if (!wishes.packedVq) decline(F.VIRTIO_F_RING_PACKED, 'not asked for: add packed_vq=1');
  if (!wishes.cq) {
    const why = 'there is no control queue: add cq=1';
    for (const feature of [F.VIRTIO_NET_F_CTRL_VQ, ...NEED_CTRL_VQ]) decline(feature, why);
  }
  if (wishes.eventIdx) bits |= F.VIRTIO_F_EVENT_IDX;
  else decline(F.VIRTIO_F_EVENT_IDX, 'not asked for: add event_idx=1');

  if (wishes.rss) bits |= F.VIRTIO_NET_F_RSS;
  else decline(F.VIRTIO_NET_F_RSS, 'one Rx queue needs none');

  const offloads: readonly (readonly [wanted: number, of: 'rx' | 'tx', features: bigint])[] = [
    [RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM, 'rx', F.VIRTIO_NET_F_GUEST_CSUM],
    [RX_OFFLOAD_TCP_LRO, 'rx', GUEST_TSO | F.VIRTIO_NET_F_GUEST_CSUM],
    [RX_OFFLOAD_RSS_HASH, 'rx', F.VIRTIO_NET_F_HASH_REPORT],
    [TX_OFFLOAD_UDP_CKSUM | TX_OFFLOAD_TCP_CKSUM, 'tx', F.VIRTIO_NET_F_CSUM],
    [TX_OFFLOAD_TCP_TSO, 'tx', HOST_TSO | F.VIRTIO_NET_F_CSUM],
  ];
  let wanted = 0n;
  for (const [mask, direction, features] of offloads) {
    const requested = direction === 'rx' ? wishes.rxOffloads : wishes.txOffloads;
    if (requested & mask) wanted |= features;
  }
  if (!wishes.cq) wanted &= ~union(...NEED_CTRL_VQ);
  bits |= wanted;
  for (const [, direction, features] of offloads) {
    for (const feature of bitsOf(features & ~bits)) {
      if (!declined.has(feature)) declined.set(feature, `no ${direction === 'rx' ? 'Rx' : 'Tx'} offload asks for it`);
    }
  }
  return { bits, declined };
}

/** Acknowledges features that are offered, requested, supported by the transport (`supported`) and have prerequisites. */
export function negotiate(offer: FeatureOffer, request: FeatureRequest, supported: bigint): Negotiation {
  const possible = offer.bits & request.bits & supported;
  let acknowledged = possible;
  for (let before = -1n; before !== acknowledged;) {
    before = acknowledged;
    for (const [feature, anyOf] of PREREQUISITES) if (!has(acknowledged, anyOf)) acknowledged &= ~feature;
  }

  const why = (feature: bigint): string => {
    const withheld = offer.withheld.get(feature);
    if (withheld !== undefined) return withheld;
    const declined = request.declined.get(feature);
    if (declined !== undefined) return declined;
    if (!has(request.bits, feature)) return 'offered by the device; this driver has no use for it';
    if (!has(supported, feature)) return 'this kind of device does not carry it';
    if (!has(offer.bits, feature)) return 'not offered by the device';
    return `needs ${F.featureNames(missingPrerequisite(feature, acknowledged)).join(' or ')}, which was not acknowledged`;
  };
  const wantedBySomeone = union(offer.bits, request.bits, ...offer.withheld.keys());
  const refused = bitsOf(wantedBySomeone & ~acknowledged).map((feature) => ({
    what: F.featureName(feature),
    why: why(feature),
  }));
  return { offered: offer.bits, asked: request.bits, acknowledged, refused };
}

/** The one-bit masks of a set, lowest first. */
export function bitsOf(features: bigint): bigint[] {
  const bits: bigint[] = [];
  for (let bit = 1n; bit <= features; bit <<= 1n) if (has(features, bit)) bits.push(bit);
  return bits;
}

/** Bytes of the net header with a set of features (virtio 1.2 section 5.1.6.1). */
export function netHeaderSize(features: bigint): 10 | 12 | 20 {
  if (has(features, F.VIRTIO_NET_F_HASH_REPORT)) return 20;
  const twelve = F.VIRTIO_NET_F_MRG_RXBUF | F.VIRTIO_F_VERSION_1 | F.VIRTIO_F_RING_PACKED;
  return has(features, twelve) ? 12 : 10;
}
