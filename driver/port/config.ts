/** A port's configuration: defaults and checks, as rte_eth_dev_configure and the queue set-ups have them. Pure. */
import { aBoolean, aNumber, madeBy, optional, type OptionKinds } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { ETHER_CRC_LEN, ETHER_HDR_LEN, MAX_QUEUE_SIZE, MAX_RX_PKTLEN, NET_HDR_HASH } from '../../paths/layout.js';
import { GUEST_TSO, has, hasAll, HOST_TSO } from '../virtio/features.js';
import {
  RX_OFFLOAD_RSS_HASH,
  RX_OFFLOAD_SCATTER,
  RX_OFFLOAD_TCP_CKSUM,
  RX_OFFLOAD_TCP_LRO,
  RX_OFFLOAD_UDP_CKSUM,
  RX_OFFLOAD_VLAN_FILTER,
  RX_OFFLOAD_VLAN_STRIP,
  TX_OFFLOAD_MULTI_SEGS,
  TX_OFFLOAD_TCP_CKSUM,
  TX_OFFLOAD_TCP_TSO,
  TX_OFFLOAD_UDP_CKSUM,
  TX_OFFLOAD_VLAN_INSERT,
  type PortConfig,
} from './types.js';
import * as F from '../wire/virtio-features.js';

export type ResolvedConfig = Required<PortConfig>;

export const MIN_DESC = 32;
export const MIN_MTU = 68;
export const DEFAULT_MTU = 1500;
/** Rx buffers smaller than this make no sense (rte_eth_dev_info.min_rx_bufsize). */
export const MIN_RX_BUF_SIZE = 64;
const MIN_HEADROOM = NET_HDR_HASH;
const DEFAULT_FREE_THRESH = 32;
/** RTE_VECT_DEFAULT_SIMD_BITWIDTH. */
export const DEFAULT_SIMD_BITWIDTH = process.arch === 'x64' ? 256 : 128;
/** RTE_VECT_SIMD_MAX. */
const MAX_SIMD_BITWIDTH = 1 << 15;

export const portConfig: OptionKinds<PortConfig> = {
  mempool: madeBy('eal.createMempool', 'name', 'shared', 'dataRoom'),
  rxQueues: optional(aNumber),
  txQueues: optional(aNumber),
  rxDesc: optional(aNumber),
  txDesc: optional(aNumber),
  rxFreeThresh: optional(aNumber),
  txFreeThresh: optional(aNumber),
  rxOffloads: optional(aNumber),
  txOffloads: optional(aNumber),
  mtu: optional(aNumber),
  rss: optional(aBoolean),
  rxInterrupts: optional(aBoolean),
  maxSimdBitwidth: optional(aNumber),
};

/** What the device allows. */
export interface PortLimits {
  readonly portId: number;
  readonly maxQueuePairs: number;
  /** Descriptors of the Rx rings, and of the Tx rings where these have another size. */
  readonly queueSize: number;
  readonly txQueueSize?: number;
  /** Bytes of the net header. */
  readonly hdrSize: number;
  /** The most that the device allows, if it says so (VIRTIO_NET_F_MTU). */
  readonly deviceMtu?: number | undefined;
  readonly rxOffloadCapa: number;
  readonly txOffloadCapa: number;
}

/** Rx offloads that an offer of features allows (dev_info of the PMD). */
export function rxOffloadCapa(offered: bigint): number {
  let capa = RX_OFFLOAD_VLAN_STRIP;
  if (has(offered, F.VIRTIO_NET_F_MRG_RXBUF)) capa |= RX_OFFLOAD_SCATTER;
  if (has(offered, F.VIRTIO_NET_F_GUEST_CSUM)) {
    capa |= RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM;
    if (hasAll(offered, GUEST_TSO)) capa |= RX_OFFLOAD_TCP_LRO;
  }
  if (has(offered, F.VIRTIO_NET_F_HASH_REPORT)) capa |= RX_OFFLOAD_RSS_HASH;
  if (has(offered, F.VIRTIO_NET_F_CTRL_VLAN)) capa |= RX_OFFLOAD_VLAN_FILTER;
  return capa;
}

export function txOffloadCapa(offered: bigint): number {
  let capa = TX_OFFLOAD_MULTI_SEGS | TX_OFFLOAD_VLAN_INSERT;
  if (has(offered, F.VIRTIO_NET_F_CSUM)) {
    capa |= TX_OFFLOAD_UDP_CKSUM | TX_OFFLOAD_TCP_CKSUM;
    if (hasAll(offered, HOST_TSO)) capa |= TX_OFFLOAD_TCP_TSO;
  }
  return capa;
}

/** What virtio_dev_configure says of offloads that were asked for and not negotiated; it looks at those of Rx alone. */
export function missingOffload(
  { rxOffloads, txOffloads }: Pick<ResolvedConfig, 'rxOffloads' | 'txOffloads'>,
  acknowledged: bigint,
): string | undefined {
  const rows: readonly (readonly [requested: number, features: bigint, why: string])[] = [
    [
      rxOffloads & (RX_OFFLOAD_UDP_CKSUM | RX_OFFLOAD_TCP_CKSUM),
      F.VIRTIO_NET_F_GUEST_CSUM,
      'rx checksum not available on this host',
    ],
    [rxOffloads & RX_OFFLOAD_TCP_LRO, GUEST_TSO, 'Large Receive Offload not available on this host'],
    [rxOffloads & RX_OFFLOAD_VLAN_FILTER, F.VIRTIO_NET_F_CTRL_VLAN, 'vlan filtering not available on this host'],
    [
      txOffloads & (TX_OFFLOAD_UDP_CKSUM | TX_OFFLOAD_TCP_CKSUM),
      F.VIRTIO_NET_F_CSUM,
      'tx checksum not available on this host',
    ],
    [txOffloads & TX_OFFLOAD_TCP_TSO, HOST_TSO, 'TCP segmentation not available on this host'],
  ];
  return rows.find(([requested, features]) => requested !== 0 && !hasAll(acknowledged, features))?.[2];
}

/** LRO makes packets of up to 64 KiB, which a device cannot put into one buffer (virtio 1.2 section 5.1.6.3.1). */
export function lroWarning(acknowledged: bigint, dataRoom: number): string | undefined {
  if (!has(acknowledged, GUEST_TSO) || has(acknowledged, F.VIRTIO_NET_F_MRG_RXBUF)) return undefined;
  return `LRO without mergeable buffers: the device drops packets of more than the ${dataRoom} bytes of an mbuf; use mrg_rxbuf=1`;
}

export function maxMtuOf({ hdrSize, deviceMtu }: Pick<PortLimits, 'hdrSize' | 'deviceMtu'>): number {
  return deviceMtu ?? MAX_RX_PKTLEN - ETHER_HDR_LEN - ETHER_CRC_LEN - hdrSize;
}

/** Longest packet that an MTU makes, with the net header in front of it. */
export function maxRxPktLenOf(mtu: number, hdrSize: number): number {
  return mtu + ETHER_HDR_LEN + ETHER_CRC_LEN + hdrSize;
}

/** @throws VirtioPmdError ECONFIG, with ethdev's own words where there are some */
export function resolveConfig(config: PortConfig, limits: PortLimits): ResolvedConfig {
  const { mempool, rxQueues = 1, txQueues = rxQueues } = config;
  const mtu = config.mtu ?? defaultMtu(limits, config);
  const { rxOffloads = 0, txOffloads = 0, maxSimdBitwidth = DEFAULT_SIMD_BITWIDTH } = config;
  const { portId, queueSize, txQueueSize = queueSize } = limits;
  checkQueues('rx', rxQueues, limits);
  checkQueues('tx', txQueues, limits);
  if (rxQueues + txQueues === 0) throw fail('a port needs at least one queue: rxQueues and txQueues are both 0');
  checkOffloads('Rx', rxOffloads, limits.rxOffloadCapa, portId);
  checkOffloads('Tx', txOffloads, limits.txOffloadCapa, portId);
  if (mempool.headroom < MIN_HEADROOM) {
    throw fail(`Not sufficient headroom required = ${MIN_HEADROOM}, avail = ${mempool.headroom}`);
  }
  if (mempool.dataRoom < MIN_RX_BUF_SIZE) {
    throw fail(
      `mempool ${mempool.name} has a data room of ${mempool.dataRoom} bytes, at least ${MIN_RX_BUF_SIZE} are needed`,
    );
  }
  if (!isSimdBitwidth(maxSimdBitwidth)) {
    throw fail(`maxSimdBitwidth=${maxSimdBitwidth}: expected ${SIMD_BITWIDTHS}`);
  }
  const resolved = {
    mempool,
    rxQueues,
    txQueues,
    rxDesc: descriptors('rx', config.rxDesc, queueSize),
    txDesc: descriptors('tx', config.txDesc, txQueueSize),
    rxFreeThresh: rxFreeThresh(config.rxFreeThresh, queueSize),
    txFreeThresh: txFreeThresh(config.txFreeThresh, txQueueSize),
    rxOffloads,
    txOffloads,
    mtu,
    maxSimdBitwidth,
    rss: config.rss ?? rxQueues > 1,
    rxInterrupts: config.rxInterrupts ?? false,
  };
  checkMtu(mtu, resolved, limits);
  return resolved;
}

/** 1500, or what the device says, as far as the mbufs hold it. */
function defaultMtu({ deviceMtu, hdrSize }: PortLimits, { mempool, rxOffloads = 0 }: PortConfig): number {
  if (deviceMtu === undefined) return DEFAULT_MTU;
  const fits = (rxOffloads & RX_OFFLOAD_SCATTER) !== 0 || maxRxPktLenOf(deviceMtu, hdrSize) <= mempool.dataRoom;
  return fits ? deviceMtu : Math.min(deviceMtu, DEFAULT_MTU);
}

/** What rte_vect_set_max_simd_bitwidth takes, and 0. */
export const SIMD_BITWIDTHS = `a power of two up to ${MAX_SIMD_BITWIDTH}, or 0 for no limit`;

export function isSimdBitwidth(bits: number): boolean {
  return Number.isInteger(bits) && bits >= 0 && bits <= MAX_SIMD_BITWIDTH && (bits & (bits - 1)) === 0;
}

/** @throws VirtioPmdError ECONFIG when packets of this MTU cannot be received */
export function checkMtu(
  mtu: number,
  config: Pick<ResolvedConfig, 'rxOffloads' | 'mempool'>,
  limits: Pick<PortLimits, 'hdrSize' | 'deviceMtu'>,
): void {
  const { hdrSize } = limits;
  const maxMtu = maxMtuOf(limits);
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > maxMtu) {
    throw fail(`MTU should be between ${MIN_MTU} and ${maxMtu}; ${mtu} was asked for`);
  }
  const length = maxRxPktLenOf(mtu, hdrSize);
  const { dataRoom } = config.mempool;
  if ((config.rxOffloads & RX_OFFLOAD_SCATTER) === 0 && length > dataRoom) {
    throw fail(
      `Rx scatter is disabled and RxQ mbuf pool object size is too small: an MTU of ${mtu} needs ${length} bytes, an mbuf holds ${dataRoom}; use larger mbufs (--mbuf-size) or --enable-scatter`,
    );
  }
}

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', message);
}

function checkQueues(kind: 'rx' | 'tx', count: number, { maxQueuePairs, portId }: PortLimits): void {
  if (!Number.isInteger(count) || count < 0) throw fail(`nb_${kind}_queues=${count}: expected a whole number`);
  if (count <= maxQueuePairs) return;
  throw fail(
    `Ethdev port_id=${portId} nb_${kind}_queues=${count} > ${maxQueuePairs}: the device grants ${maxQueuePairs}; attach it with queues=${count} if its back-end has as many`,
  );
}

function checkOffloads(kind: 'Rx' | 'Tx', requested: number, capa: number, portId: number): void {
  if ((requested & ~capa) === 0) return;
  throw fail(
    `Ethdev port_id=${portId} requested ${kind} offloads 0x${requested.toString(16)} doesn't match ${kind} offloads capabilities 0x${capa.toString(16)}: leave out 0x${(requested & ~capa).toString(16)}`,
  );
}

function descriptors(kind: 'rx' | 'tx', count = 0, queueSize: number): number {
  if (count === 0) return queueSize;
  if (!Number.isInteger(count) || count < MIN_DESC || count > MAX_QUEUE_SIZE) {
    throw fail(
      `Invalid value for nb_${kind}_desc(=${count}), should be: <= ${MAX_QUEUE_SIZE}, >= ${MIN_DESC}, and a product of 1`,
    );
  }
  return Math.min(count, queueSize);
}

function rxFreeThresh(thresh = 0, queueSize: number): number {
  if (thresh === 0) return Math.min(queueSize >> 2, DEFAULT_FREE_THRESH);
  if (thresh % 4 !== 0) throw fail(`rx_free_thresh must be multiples of four. (rx_free_thresh=${thresh})`);
  if (thresh > 0 && thresh < queueSize) return thresh;
  throw fail(`rx_free_thresh must be less than the number of RX entries. (rx_free_thresh=${thresh} ring=${queueSize})`);
}

function txFreeThresh(thresh = 0, queueSize: number): number {
  if (thresh === 0) return Math.min(queueSize >> 2, DEFAULT_FREE_THRESH);
  if (Number.isInteger(thresh) && thresh > 0 && thresh < queueSize - 3) return thresh;
  throw fail(
    `tx_free_thresh must be less than the number of TX entries minus 3 (${queueSize - 3}). (tx_free_thresh=${thresh})`,
  );
}
