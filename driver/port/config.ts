/** A port's configuration: defaults and checks as in rte_eth_dev_configure and the queue set-ups. Pure. */
import { aBoolean, aNumber, madeBy, optional, type OptionKinds } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { ETHER_CRC_LEN, ETHER_HDR_LEN, MAX_QUEUE_SIZE, MAX_RX_PKTLEN, NET_HDR_HASH } from '../../paths/layout.js';
import { RX_OFFLOAD_SCATTER, type PortConfig } from './types.js';

export type ResolvedConfig = Required<PortConfig>;

export const MIN_DESC = 32;
export const MIN_MTU = 68;
export const DEFAULT_MTU = 1500;
/** Of devices that do not say otherwise: the smallest Rx buffer in bytes, and VIRTIO_MAX_MAC_ADDRS. */
const MIN_RX_BUF_SIZE = 64;
const MAX_MAC_ADDRS = 64;
/** The largest MTU of ethdev. */
const MAX_MTU = 0xffff;
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
  readonly maxRxQueues: number;
  readonly maxTxQueues: number;
  /** Descriptors of the Rx rings, and of the Tx rings where these have another size. */
  readonly queueSize: number;
  readonly txQueueSize?: number;
  /** Bytes that the device puts in front of a packet: the net header of virtio, or 0. */
  readonly hdrSize: number;
  /** The device's maximum, if it has one. */
  readonly deviceMtu?: number | undefined;
  /** The MTU that the device has now, if it is one of its own: the default. */
  readonly currentMtu?: number | undefined;
  readonly rxOffloadCapa: number;
  readonly txOffloadCapa: number;
  /** Bytes of the smallest Rx buffer. Default 64. */
  readonly minRxBufSize?: number;
  /** Bytes of the longest packet, with the header of `hdrSize`. Default 9728; 0xffffffff: any. */
  readonly maxRxPktLen?: number;
  /** Default 64. */
  readonly maxMacAddrs?: number;
  /** Packets that are longer than an mbuf come as chains of mbufs, also without the offload SCATTER. Default: false. */
  readonly chains?: boolean;
}

/** Limits that a device need not give: its own, or those of virtio. */
export function restOf({
  minRxBufSize = MIN_RX_BUF_SIZE,
  maxRxPktLen = MAX_RX_PKTLEN,
  maxMacAddrs = MAX_MAC_ADDRS,
}: Pick<PortLimits, 'minRxBufSize' | 'maxRxPktLen' | 'maxMacAddrs'>) {
  return { minRxBufSize, maxRxPktLen, maxMacAddrs };
}

/** What the largest MTU depends on. */
export type MtuLimits = Pick<PortLimits, 'hdrSize' | 'deviceMtu' | 'maxRxPktLen' | 'chains'>;

export function maxMtuOf({ hdrSize, deviceMtu, maxRxPktLen = MAX_RX_PKTLEN }: MtuLimits): number {
  return deviceMtu ?? Math.min(maxRxPktLen - ETHER_HDR_LEN - ETHER_CRC_LEN - hdrSize, MAX_MTU);
}

/** Bytes of the longest packet for an MTU, with the net header in front of it. */
export function maxRxPktLenOf(mtu: number, hdrSize: number): number {
  return mtu + ETHER_HDR_LEN + ETHER_CRC_LEN + hdrSize;
}

/** Checks a configuration and fills in the defaults. @throws VirtioPmdError ECONFIG, with ethdev's texts where it has some */
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
  const { minRxBufSize } = restOf(limits);
  if (mempool.dataRoom < minRxBufSize) {
    throw fail(
      `mempool ${mempool.name} has a data room of ${mempool.dataRoom} bytes, at least ${minRxBufSize} are needed`,
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

/** 1500, or the device's MTU; at most 1500 when packets of the device's MTU do not fit into the mbufs. */
export function defaultMtu(limits: PortLimits, { mempool, rxOffloads = 0 }: PortConfig): number {
  const { deviceMtu, hdrSize } = limits;
  const mtu = Math.min(limits.currentMtu ?? deviceMtu ?? DEFAULT_MTU, maxMtuOf(limits));
  const isChained = limits.chains === true || (rxOffloads & RX_OFFLOAD_SCATTER) !== 0;
  const fits = isChained || maxRxPktLenOf(mtu, hdrSize) <= mempool.dataRoom;
  return fits ? mtu : Math.min(mtu, DEFAULT_MTU);
}

/** The values that rte_vect_set_max_simd_bitwidth accepts, and 0. */
export const SIMD_BITWIDTHS = `a power of two up to ${MAX_SIMD_BITWIDTH}, or 0 for no limit`;

export function isSimdBitwidth(bits: number): boolean {
  return Number.isInteger(bits) && bits >= 0 && bits <= MAX_SIMD_BITWIDTH && (bits & (bits - 1)) === 0;
}

/** @throws VirtioPmdError ECONFIG when packets of this MTU cannot be received */
export function checkMtu(mtu: number, config: Pick<ResolvedConfig, 'rxOffloads' | 'mempool'>, limits: MtuLimits): void {
  const { hdrSize, chains = false } = limits;
  const maxMtu = maxMtuOf(limits);
  if (!Number.isInteger(mtu) || mtu < MIN_MTU || mtu > maxMtu) {
    throw fail(`MTU should be between ${MIN_MTU} and ${maxMtu}; ${mtu} was asked for`);
  }
  const length = maxRxPktLenOf(mtu, hdrSize);
  const { dataRoom } = config.mempool;
  if (!chains && (config.rxOffloads & RX_OFFLOAD_SCATTER) === 0 && length > dataRoom) {
    throw fail(
      `Rx scatter is disabled and RxQ mbuf pool object size is too small: an MTU of ${mtu} needs ${length} bytes, an mbuf holds ${dataRoom}; use larger mbufs (--mbuf-size) or --enable-scatter`,
    );
  }
}

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', message);
}

function checkQueues(kind: 'rx' | 'tx', count: number, { maxRxQueues, maxTxQueues, portId }: PortLimits): void {
  const max = kind === 'rx' ? maxRxQueues : maxTxQueues;
  if (!Number.isInteger(count) || count < 0) throw fail(`nb_${kind}_queues=${count}: expected a whole number`);
  if (count <= max) return;
  throw fail(
    `Ethdev port_id=${portId} nb_${kind}_queues=${count} > ${max}: the device has ${max}; attach it with queues=${count} if its driver has that argument and the other side as many`,
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

export function sameConfig(a: ResolvedConfig, b: ResolvedConfig): boolean {
  return (Object.keys(a) as (keyof ResolvedConfig)[]).every((key) => a[key] === b[key]);
}
