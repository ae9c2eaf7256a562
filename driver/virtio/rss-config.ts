/**
 * Receive-side scaling (virtio 1.2 sections 5.1.6.4.3 and 5.1.6.5.7) as pure functions: the device's capability, a port's
 * configuration, and the conversion between DPDK's and virtio's hash types.
 */
import { VirtioPmdError } from '../../native/errors.js';
import type { RetaEntries, RssUpdate } from '../port/parts.js';
import * as net from '../wire/linux/virtio-net.js';

/** VIRTIO_NET_RSS_KEY_SIZE and VIRTIO_NET_RSS_RETA_SIZE: the driver supports no others, as in DPDK. */
export const RSS_KEY_SIZE = 40;
export const RSS_RETA_SIZE = 128;
/** Entries of one rte_eth_rss_reta_entry64. */
const RETA_GROUP_SIZE = 64;

/** Offset and bytes of rss_max_key_size, rss_max_indirection_table_length and supported_hash_types in virtio_net_config. */
export const CONFIG_RSS = net.virtio_net_config.rss_max_key_size.offset;
export const CONFIG_RSS_LENGTH = net.virtio_net_config.sizeof - CONFIG_RSS;

/** The well-known Toeplitz key of Intel's drivers: the default in DPDK's virtio driver. */
// prettier-ignore
export const DEFAULT_RSS_KEY: Uint8Array = Uint8Array.of(
  0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
  0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
);

/** Pairs of a VIRTIO_NET_RSS_HASH_TYPE_* mask and a bit number of RTE_ETH_RSS_*. */
const HASH_TYPES: readonly (readonly [virtio: number, ethdev: number])[] = [
  [net.VIRTIO_NET_RSS_HASH_TYPE_IPv4, 2],
  [net.VIRTIO_NET_RSS_HASH_TYPE_TCPv4, 4],
  [net.VIRTIO_NET_RSS_HASH_TYPE_UDPv4, 5],
  [net.VIRTIO_NET_RSS_HASH_TYPE_IPv6, 8],
  [net.VIRTIO_NET_RSS_HASH_TYPE_TCPv6, 10],
  [net.VIRTIO_NET_RSS_HASH_TYPE_UDPv6, 11],
  [net.VIRTIO_NET_RSS_HASH_TYPE_IP_EX, 15], // IPv6 with extension headers
  [net.VIRTIO_NET_RSS_HASH_TYPE_TCP_EX, 16],
  [net.VIRTIO_NET_RSS_HASH_TYPE_UDP_EX, 17],
];

/** VIRTIO_NET_HASH_TYPE_* as RTE_ETH_RSS_*. */
export function ethdevHashTypes(virtio: number): bigint {
  return HASH_TYPES.reduce((hf, [from, to]) => ((virtio & from) !== 0 ? hf | (1n << BigInt(to)) : hf), 0n);
}

/** RTE_ETH_RSS_* as VIRTIO_NET_HASH_TYPE_*; bits that virtio does not have are lost. */
export function virtioHashTypes(hf: bigint): number {
  return HASH_TYPES.reduce((types, [to, from]) => (hf & (1n << BigInt(from)) ? types | to : types), 0);
}

/** The RSS capability of the device. */
export interface RssCapability {
  readonly maxKeySize: number;
  readonly maxRetaSize: number;
  /** VIRTIO_NET_HASH_TYPE_* */
  readonly hashTypes: number;
}

/** @param config CONFIG_RSS_LENGTH bytes of the device configuration, from CONFIG_RSS on */
export function readRssCapability(config: Uint8Array): RssCapability {
  const view = new DataView(config.buffer, config.byteOffset, config.byteLength);
  return { maxKeySize: view.getUint8(0), maxRetaSize: view.getUint16(1, true), hashTypes: view.getUint32(3, true) };
}

/** The device's hash types that the driver supports. */
export function knownHashTypes({ hashTypes }: RssCapability): number {
  return virtioHashTypes(ethdevHashTypes(hashTypes));
}

/** How a port spreads received packets over its Rx queues. */
export interface RssConfig {
  /** VIRTIO_NET_HASH_TYPE_* */
  readonly hashTypes: number;
  readonly key: Uint8Array;
  /** Rx queue by the low bits of the hash. */
  readonly reta: readonly number[];
  /** Number of Rx queues for which the table was made. */
  readonly rxQueues: number;
}

function fail(message: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', message);
}

/** @throws VirtioPmdError ECONFIG, with DPDK's text, for a device that supports less than the driver needs */
function checkRssCapability({ maxKeySize, maxRetaSize, hashTypes }: RssCapability): void {
  if (maxKeySize < RSS_KEY_SIZE) {
    throw fail(`Invalid device RSS max key size (${maxKeySize}): at least ${RSS_KEY_SIZE} are needed`);
  }
  if (maxRetaSize < RSS_RETA_SIZE) {
    throw fail(`Invalid device RSS max reta size (${maxRetaSize}): at least ${RSS_RETA_SIZE} are needed`);
  }
  if (ethdevHashTypes(hashTypes) === 0n) {
    throw fail(`Invalid device RSS hash types (0x${hashTypes.toString(16)}): none that the driver knows`);
  }
}

/** Entry i is queue i % n. */
export function defaultReta(rxQueues: number): number[] {
  return Array.from({ length: RSS_RETA_SIZE }, (_, i) => i % rxQueues);
}

/**
 * The configuration at start: the previous one where it fits the device and the current queues, else defaults.
 * @throws VirtioPmdError ECONFIG
 */
export function initialRss(capability: RssCapability, rxQueues: number, before?: RssConfig): RssConfig {
  if (rxQueues === 0) throw fail('Cannot init RSS if no Rx queues');
  checkRssCapability(capability);
  const supported = knownHashTypes(capability);
  return {
    hashTypes: before === undefined ? supported : before.hashTypes & supported,
    key: before?.key ?? DEFAULT_RSS_KEY,
    reta: before?.rxQueues === rxQueues ? before.reta : defaultReta(rxQueues),
    rxQueues,
  };
}

/**
 * Applies rte_eth_rss_conf: omitted values stay unchanged.
 * @throws VirtioPmdError ECONFIG for a key of another length, or packet types that the device cannot hash
 */
export function updateRss(
  config: RssConfig,
  { key, hf }: RssUpdate,
  { hashTypes }: RssCapability,
  portId: number,
): RssConfig {
  const valid = ethdevHashTypes(hashTypes);
  if (hf !== undefined && (hf & ~valid) !== 0n) {
    throw fail(`Ethdev port_id=${portId} invalid rss_hf: 0x${hf.toString(16)}, valid value: 0x${valid.toString(16)}`);
  }
  if (key !== undefined && key.length !== RSS_KEY_SIZE) {
    throw fail(`Driver only supports ${RSS_KEY_SIZE} RSS key length: ${key.length} bytes were given`);
  }
  return {
    ...config,
    hashTypes: hf === undefined ? config.hashTypes : virtioHashTypes(hf),
    key: key === undefined ? config.key : Uint8Array.from(key),
  };
}

/** @throws VirtioPmdError ECONFIG for an entry or a queue that does not exist */
export function updateReta(config: RssConfig, entries: RetaEntries): RssConfig {
  const reta = [...config.reta];
  for (const [index, queue] of entries) {
    if (!Number.isInteger(index) || index < 0 || index >= RSS_RETA_SIZE) {
      throw fail(`Invalid RETA hash index=${index}: the table has ${RSS_RETA_SIZE} entries`);
    }
    if (!Number.isInteger(queue) || queue < 0 || queue >= config.rxQueues) {
      const group = Math.floor(index / RETA_GROUP_SIZE);
      throw fail(
        `reta_conf[${group}]->reta[${index % RETA_GROUP_SIZE}]: ${queue} exceeds the maximum rxq index: ${config.rxQueues}`,
      );
    }
    reta[index] = queue;
  }
  return { ...config, reta };
}
