/** The features that the back-end offers, virtio's and the protocol's, and the checks of what a front-end acknowledges. */
import {
  VHOST_USER_F_PROTOCOL_FEATURES,
  VIRTIO_F_ANY_LAYOUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_RING_PACKED,
  VIRTIO_F_VERSION_1,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_VQ,
  VIRTIO_NET_F_MQ,
  VIRTIO_NET_F_MRG_RXBUF,
  VIRTIO_NET_F_MTU,
} from '../wire/virtio-features.js';
import {
  PROTOCOL_F_BACKEND_REQ,
  PROTOCOL_F_CONFIGURE_MEM_SLOTS,
  PROTOCOL_F_INBAND_NOTIFICATIONS,
  PROTOCOL_F_MQ,
  PROTOCOL_F_NET_MTU,
  PROTOCOL_F_REPLY_ACK,
  PROTOCOL_F_STATUS,
} from '../wire/vhost-user.js';
import { hex } from '../../native/hex.js';

/**
 * All features of this back-end (virtio 1.2 sections 5.1.3 and 6). CTRL_VQ is offered because MQ depends on it (5.1.3.1), and
 * CTRL_RX because rte_vhost offers it. The front-end itself serves the control queue, and this back-end does not filter.
 */
export const SUPPORTED_FEATURES =
  VIRTIO_NET_F_MRG_RXBUF |
  VIRTIO_NET_F_CTRL_VQ |
  VIRTIO_NET_F_CTRL_RX |
  VIRTIO_NET_F_MQ |
  VIRTIO_NET_F_MTU |
  VIRTIO_F_ANY_LAYOUT |
  VIRTIO_F_INDIRECT_DESC |
  VIRTIO_F_EVENT_IDX |
  VIRTIO_F_VERSION_1 |
  VIRTIO_F_RING_PACKED |
  VIRTIO_F_IN_ORDER |
  VHOST_USER_F_PROTOCOL_FEATURES;

/** All protocol features of this back-end (vhost-user.rst, Protocol features). */
export const SUPPORTED_PROTOCOL_FEATURES =
  PROTOCOL_F_MQ | PROTOCOL_F_NET_MTU | PROTOCOL_F_REPLY_ACK | PROTOCOL_F_CONFIGURE_MEM_SLOTS | PROTOCOL_F_STATUS;

/** Features that need another one (virtio 1.2 sections 5.1.3.1 and 6). */
const dependencies: readonly (readonly [feature: bigint, needs: bigint, sentence: string])[] = [
  [VIRTIO_NET_F_MQ, VIRTIO_NET_F_CTRL_VQ, 'MQ was acknowledged without CTRL_VQ'],
  [VIRTIO_NET_F_CTRL_RX, VIRTIO_NET_F_CTRL_VQ, 'CTRL_RX was acknowledged without CTRL_VQ'],
  [VIRTIO_F_RING_PACKED, VIRTIO_F_VERSION_1, 'RING_PACKED was acknowledged without VERSION_1'],
];

/**
 * Sentences about features that were acknowledged without the features that they need; empty when there are none. They are
 * logged only: DPDK's virtio_user serves CTRL_VQ itself and acknowledges MQ alone.
 */
export function contradictions(features: bigint): string[] {
  return dependencies.filter(([feature, needs]) => features & feature && !(features & needs)).map(([, , text]) => text);
}

/** SET_FEATURES. @returns undefined, or a sentence about bits that were not offered. */
export function featuresProblem(features: bigint, offered: bigint): string | undefined {
  const extra = features & ~offered;
  return extra === 0n
    ? undefined
    : `received invalid negotiated features: ${hex(extra)} of ${hex(features)} was not offered`;
}

/**
 * SET_PROTOCOL_FEATURES.
 * @returns undefined, or why it is refused; `fatal`: the connection must be closed (vhost-user.rst, In-band notifications).
 */
export function protocolFeaturesProblem(
  features: bigint,
  offered: bigint,
): { readonly why: string; readonly fatal: boolean } | undefined {
  const needed = PROTOCOL_F_BACKEND_REQ | PROTOCOL_F_REPLY_ACK;
  if (features & PROTOCOL_F_INBAND_NOTIFICATIONS && (features & needed) !== needed) {
    return { why: 'INBAND_NOTIFICATIONS was acknowledged without BACKEND_REQ and REPLY_ACK', fatal: true };
  }
  const extra = features & ~offered;
  if (extra === 0n) return undefined;
  return { why: `received protocol features that were not offered: ${hex(extra)}`, fatal: false };
}
