/** Information on a virtio port: queues, the private dump, its path. Pure. */
import { hex } from '../../native/hex.js';
import { BROKEN, brokenReason, isTx, queueState, type QueueSpec } from '../../paths/guest/queue.js';
import type { Selection } from '../../paths/select.js';
import { maxMtuOf, maxRxPktLenOf, type PortLimits, type ResolvedConfig } from '../port/config.js';
import { RX_OFFLOAD_SCATTER, type PathReport, type QueueInfo } from '../port/types.js';
import * as F from '../wire/virtio-features.js';
import { has, type Negotiation } from './features.js';

/** The lines of the private dump, in the order of DPDK's PMD. */
export function privateInfo(
  { hdrSize, deviceMtu }: Pick<PortLimits, 'hdrSize' | 'deviceMtu'>,
  maxQueuePairs: number,
  mtu: number,
  negotiation: Negotiation | undefined,
  selection: Selection | undefined,
): [string, string][] {
  const acknowledged = negotiation?.acknowledged ?? 0n;
  const vec = (path: string | undefined) => (path?.endsWith('_vec') ? 1 : 0);
  const inOrder = has(acknowledged, F.VIRTIO_F_IN_ORDER) && !has(acknowledged, F.VIRTIO_F_RING_PACKED) ? 1 : 0;
  return [
    ['guest_features', hex(acknowledged)],
    ['vtnet_hdr_size', `${hdrSize}`],
    ['use_vec', `rx-${vec(selection?.rx)} tx-${vec(selection?.tx)}`],
    ['use_inorder', `rx-${inOrder} tx-${inOrder}`],
    ['intr_lsc', has(acknowledged, F.VIRTIO_NET_F_STATUS) ? '1' : '0'],
    ['max_mtu', `${maxMtuOf({ hdrSize, deviceMtu })}`],
    ['max_rx_pkt_len', `${maxRxPktLenOf(mtu, hdrSize)}`],
    ['max_queue_pairs', `${maxQueuePairs}`],
    ['req_guest_features', hex(negotiation?.asked ?? 0n)],
  ];
}

export function queueInfo(spec: QueueSpec, config: ResolvedConfig, selection: Selection): Omit<QueueInfo, 'started'> {
  const tx = isTx(spec);
  const broken = queueState(spec).words[BROKEN]!;
  return {
    queueId: spec.queueId,
    mempool: spec.mempool.name,
    nbDesc: spec.nbDesc,
    freeThresh: spec.freeThresh,
    offloads: tx ? config.txOffloads : config.rxOffloads,
    scattered: !tx && (config.rxOffloads & RX_OFFLOAD_SCATTER) !== 0,
    burstMode: tx ? selection.txBurstMode : selection.rxBurstMode,
    broken: broken === 0 ? undefined : brokenReason(broken),
  };
}

export function pathReport(selection: Selection, negotiation: Negotiation): PathReport {
  const { recipe, rx, tx, simd } = selection;
  return {
    recipe,
    rx,
    tx,
    rejected: selection.rejected.map(({ what, why }) => ({ what, why })),
    simd,
    widerIsas: selection.widerIsas.map(({ isa, why }) => ({ what: isa, why })),
    features: negotiation,
  };
}
