/** What a port answers when it is asked about itself (rte_eth_dev_info, queue infos, the private dump). Pure. */
import { BROKEN, brokenReason, isTx, queueState, type QueueSpec } from '../../paths/guest/queue.js';
import { MAX_QUEUE_SIZE, MAX_RX_PKTLEN } from '../../paths/layout.js';
import type { Selection } from '../../paths/select.js';
import { splitDevargs, type PortArgs } from '../devargs/devargs.js';
import { has, type Negotiation } from '../virtio/features.js';
import {
  maxMtuOf,
  maxRxPktLenOf,
  MIN_DESC,
  MIN_MTU,
  MIN_RX_BUF_SIZE,
  type PortLimits,
  type ResolvedConfig,
} from './config.js';
import { RX_OFFLOAD_SCATTER, RX_OFFLOAD_VLAN_FILTER, type PathReport, type PortInfo, type QueueInfo } from './types.js';
import * as F from '../wire/virtio-features.js';

/** VIRTIO_MAX_MAC_ADDRS. */
const MAX_MAC_ADDRS = 64;

export interface InfoInput {
  readonly port: {
    readonly id: number;
    readonly name: string;
    readonly devargs: string;
    readonly mac: string;
    readonly started: boolean;
    readonly config: ResolvedConfig | undefined;
  };
  readonly args: PortArgs;
  readonly limits: PortLimits;
  readonly driver: string;
  readonly mtu: number;
  readonly promiscuous: boolean;
  readonly allmulticast: boolean;
  readonly rss: PortInfo['rss'];
  /** As it is now; the configuration says how it was at first. */
  readonly vlanFilter: boolean;
  readonly negotiation: Negotiation | undefined;
  readonly selection: Selection | undefined;
}

export function portInfo(input: InfoInput): PortInfo {
  const { port, limits, mtu } = input;
  const { config } = port;
  return {
    portId: port.id,
    name: port.name,
    driver: input.driver,
    devargs: splitDevargs(port.devargs).args,
    mac: port.mac,
    mtu,
    minMtu: MIN_MTU,
    maxMtu: maxMtuOf(limits),
    promiscuous: input.promiscuous,
    allmulticast: input.allmulticast,
    maxMacAddrs: MAX_MAC_ADDRS,
    rss: input.rss,
    minRxBufSize: MIN_RX_BUF_SIZE,
    maxRxPktLen: MAX_RX_PKTLEN,
    maxRxQueues: limits.maxQueuePairs,
    maxTxQueues: limits.maxQueuePairs,
    rxQueues: config?.rxQueues ?? 0,
    txQueues: config?.txQueues ?? 0,
    minDesc: MIN_DESC,
    maxDesc: MAX_QUEUE_SIZE,
    queueSize: Math.max(limits.queueSize, limits.txQueueSize ?? 0),
    rxOffloadCapa: limits.rxOffloadCapa,
    txOffloadCapa: limits.txOffloadCapa,
    rxOffloads: ((config?.rxOffloads ?? 0) & ~RX_OFFLOAD_VLAN_FILTER) | (input.vlanFilter ? RX_OFFLOAD_VLAN_FILTER : 0),
    txOffloads: config?.txOffloads ?? 0,
    started: port.started,
    privateInfo: privateInfo(input),
  };
}

/** The lines of the PMD's priv dump, in its order. */
function privateInfo({ limits, mtu, negotiation, selection }: InfoInput): [string, string][] {
  const hex = (value: bigint) => `0x${value.toString(16)}`;
  const acknowledged = negotiation?.acknowledged ?? 0n;
  const vec = (path: string | undefined) => (path?.endsWith('_vec') ? 1 : 0);
  const inOrder = has(acknowledged, F.VIRTIO_F_IN_ORDER) && !has(acknowledged, F.VIRTIO_F_RING_PACKED) ? 1 : 0;
  return [
    ['guest_features', hex(acknowledged)],
    ['vtnet_hdr_size', `${limits.hdrSize}`],
    ['use_vec', `rx-${vec(selection?.rx)} tx-${vec(selection?.tx)}`],
    ['use_inorder', `rx-${inOrder} tx-${inOrder}`],
    ['intr_lsc', has(acknowledged, F.VIRTIO_NET_F_STATUS) ? '1' : '0'],
    ['max_mtu', `${maxMtuOf(limits)}`],
    ['max_rx_pkt_len', `${maxRxPktLenOf(mtu, limits.hdrSize)}`],
    ['max_queue_pairs', `${limits.maxQueuePairs}`],
    ['req_guest_features', hex(negotiation?.asked ?? 0n)],
  ];
}

export function queueInfo(spec: QueueSpec, config: ResolvedConfig, selection: Selection, started: boolean): QueueInfo {
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
    started,
    broken: broken === 0 ? undefined : brokenReason(broken),
  };
}

export function pathReport(selection: Selection, negotiation: Negotiation): PathReport {
  const { recipe, rx, tx, kernel } = selection;
  return {
    recipe,
    rx,
    tx,
    rejected: selection.rejected.map(({ what, why }) => ({ what, why })),
    kernel,
    widerKernels: selection.widerKernels.map(({ isa, why }) => ({ what: isa, why })),
    features: negotiation,
  };
}
