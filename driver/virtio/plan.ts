/**
 * The result of a port's configuration: features, paths and rings. A plan outlives connections: when a back-end comes back,
 * the same plan is applied to it again, so that queues opened on other threads stay valid.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { helperStatus } from '../../native/helper.js';
import {
  BROKEN,
  isTx,
  queueState,
  reclaim,
  resetQueue,
  retireQueue,
  STARTED,
  type QueueSpec,
} from '../../paths/guest/queue.js';
import { openTx } from '../../paths/guest/open.js';
import { selectPaths, type RingFeatures, type Selection } from '../../paths/select.js';
import type { PortArgs } from '../devargs/devargs.js';
import type { Eal } from '../eal/eal.js';
import {
  has,
  MQ_OR_RSS,
  negotiate,
  netHeaderSize,
  requestFeatures,
  type FeatureOffer,
  type Negotiation,
} from './features.js';
import { MIN_MTU, type PortLimits, type ResolvedConfig } from '../port/config.js';
import type { Wishes } from '../port/device.js';
import { missingOffload, rxOffloadCapa, txOffloadCapa } from './offloads.js';
import { makeQueues, releaseQueues, type PortQueues } from './queues.js';
import { CONFIG_MTU, type Transport } from './transport.js';
import {
  RX_OFFLOAD_RSS_HASH,
  RX_OFFLOAD_TCP_CKSUM,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  RX_OFFLOAD_VLAN_STRIP,
} from '../port/types.js';
import * as F from '../wire/virtio-features.js';

/** Everything that a configuration fixes. */
export interface Plan {
  readonly config: ResolvedConfig;
  readonly negotiation: Negotiation;
  readonly selection: Selection;
  /** Queue pairs that were negotiated; the port may use fewer. */
  readonly pairs: number;
  readonly queues: PortQueues;
}

/** What a plan is made from. */
export interface PlanContext {
  readonly eal: Eal;
  readonly portId: number;
  readonly args: PortArgs;
  readonly transport: Transport;
  readonly offer: FeatureOffer;
}

function negotiation(
  { args, offer, transport }: PlanContext,
  { rxOffloads = 0, txOffloads = 0, rxQueues = 1, rss = rxQueues > 1 }: Wishes,
): Negotiation {
  const { mrgRxbuf, inOrder, packedVq, cq, eventIdx } = args;
  const request = requestFeatures({ mrgRxbuf, inOrder, packedVq, cq, eventIdx, rss, rxOffloads, txOffloads });
  return negotiate(offer, request, transport.supported);
}

function pairsOf({ acknowledged }: Negotiation, transport: Transport): number {
  return has(acknowledged, MQ_OR_RSS) ? transport.maxQueuePairs : 1;
}

/** The device's MTU limit, which applies only with a control queue, as in DPDK. */
function deviceMtu({ acknowledged }: Negotiation, transport: Transport): number | undefined {
  if (!has(acknowledged, F.VIRTIO_NET_F_MTU) || !has(acknowledged, F.VIRTIO_NET_F_CTRL_VQ)) return undefined;
  if (!transport.connected) return undefined;
  const mtu = new DataView(transport.readConfig(CONFIG_MTU, 2).buffer).getUint16(0, true);
  return mtu >= MIN_MTU ? mtu : undefined;
}

/** The limits of the device with these wishes. */
export function portLimits(context: PlanContext, wishes: Wishes): PortLimits {
  const { portId, transport, offer } = context;
  const result = negotiation(context, wishes);
  const pairs = pairsOf(result, transport);
  return {
    portId,
    maxRxQueues: pairs,
    maxTxQueues: pairs,
    queueSize: transport.maxQueueSize(0),
    txQueueSize: transport.maxQueueSize(1),
    hdrSize: netHeaderSize(result.acknowledged),
    deviceMtu: deviceMtu(result, transport),
    rxOffloadCapa: rxOffloadCapa(offer.bits & transport.supported),
    txOffloadCapa: txOffloadCapa(offer.bits & transport.supported),
  };
}

/** @throws VirtioPmdError ECONFIG for offloads that were not negotiated; EMEMORY */
export function makePlan(context: PlanContext, config: ResolvedConfig): Plan {
  const { eal, portId, transport, args, offer } = context;
  const result = negotiation(context, config);
  const missing = missingOffload(config, result.acknowledged);
  if (missing !== undefined) throw new VirtioPmdError('ECONFIG', `port ${portId}: ${missing}: leave the offload out`);
  const { isas, lacking } = helperStatus();
  const selection = selectPaths({
    ...ringFeatures(result.acknowledged),
    offered: ringFeatures(offer.bits),
    vectorized: args.vectorized,
    rxOffloads: {
      checksum: (config.rxOffloads & (RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM)) !== 0,
      lro: (config.rxOffloads & RX_OFFLOAD_TCP_LRO) !== 0,
      vlanStrip: (config.rxOffloads & RX_OFFLOAD_VLAN_STRIP) !== 0,
      rssHash: (config.rxOffloads & RX_OFFLOAD_RSS_HASH) !== 0,
    },
    maxSimdBitwidth: config.maxSimdBitwidth,
    isas,
    lacking,
  });
  const pairs = pairsOf(result, transport);
  const interruptFds = setInterrupts(transport, config, portId);
  const queues = makeQueues(eal, transport, { portId, pairs, config, negotiation: result, selection, interruptFds });
  const plan = { config, negotiation: result, selection, pairs, queues };
  for (const spec of allQueues(plan)) resetQueue(spec, eal.mempool(spec.mempool));
  return plan;
}

/** Sets up Rx interrupts. @returns the descriptors by Rx queue; empty without rxInterrupts. @throws VirtioPmdError ECONFIG */
function setInterrupts(transport: Transport, { rxInterrupts, rxQueues }: ResolvedConfig, portId: number): number[] {
  const wanted = rxInterrupts ? rxQueues : 0;
  transport.setInterrupts?.(wanted);
  return Array.from({ length: wanted }, (_, queue) => {
    const fd = transport.rxInterruptFd?.(queue);
    if (fd !== undefined) return fd;
    throw new VirtioPmdError(
      'ECONFIG',
      `port ${portId}: its device (${transport.driverName}) has no interrupt for Rx queue ${queue}: configure it without rxInterrupts and poll`,
    );
  });
}

function ringFeatures(features: bigint): RingFeatures {
  return {
    packed: has(features, F.VIRTIO_F_RING_PACKED),
    mergeable: has(features, F.VIRTIO_NET_F_MRG_RXBUF),
    inOrder: has(features, F.VIRTIO_F_IN_ORDER),
    version1: has(features, F.VIRTIO_F_VERSION_1),
  };
}

/** Frees all mbufs and the memory. The device must have been reset, or its connection closed. */
export function releasePlan(eal: Eal, transport: Transport, plan: Plan): void {
  for (const spec of allQueues(plan)) {
    reclaim(spec, eal.mempool(spec.mempool));
    retireQueue(spec);
    transport.deleteQueue(virtqueueIndex(spec));
  }
  releaseQueues(eal, plan.queues);
}

export function allQueues({ queues }: Plan): readonly QueueSpec[] {
  return [...queues.rx, ...queues.tx];
}

/** Queues that the configuration uses. */
export function usedRx({ queues, config }: Plan): readonly QueueSpec[] {
  return queues.rx.slice(0, config.rxQueues);
}

export function usedTx({ queues, config }: Plan): readonly QueueSpec[] {
  return queues.tx.slice(0, config.txQueues);
}

/** 2n receives, 2n + 1 transmits (virtio 1.2 section 5.1.2). */
export function virtqueueIndex(spec: QueueSpec): number {
  return 2 * spec.queueId + (isTx(spec) ? 1 : 0);
}

/** Starts or stops queues for bursts. Bursts that are running continue until the lcores are quiesced. */
export function letBursts(specs: readonly QueueSpec[], through: boolean): void {
  for (const spec of specs) Atomics.store(queueState(spec).words, STARTED, through ? 1 : 0);
}

const stateWords = new WeakMap<Plan, readonly Int32Array[]>();

/** Whether a queue is broken. For the timer: leaves no garbage. */
export function anyBroken(plan: Plan): boolean {
  let queues = stateWords.get(plan);
  if (queues === undefined) {
    queues = allQueues(plan).map((spec) => queueState(spec).words);
    stateWords.set(plan, queues);
  }
  for (let i = 0; i < queues.length; i++) if (queues[i]![BROKEN] !== 0) return true;
  return false;
}

/** The broken queues and their reason codes. */
export function brokenQueues(plan: Plan): { spec: QueueSpec; code: number }[] {
  return allQueues(plan)
    .map((spec) => ({ spec, code: queueState(spec).words[BROKEN]! }))
    .filter(({ code }) => code !== 0);
}

/** Frees the mbufs of packets that the device has sent. Only while no lcore polls. */
export function cleanupTx(eal: Eal, plan: Plan): void {
  if (eal.memory === undefined) return; // the Eal was closed first: there are no rings any more
  for (const spec of plan.queues.tx) openTx(spec, eal.mempool(spec.mempool)).cleanup();
}
