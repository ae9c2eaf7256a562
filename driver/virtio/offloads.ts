/** Converts between DPDK's offload bits and virtio features. Pure. */
import type { ResolvedConfig } from '../port/config.js';
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
} from '../port/types.js';
import * as F from '../wire/virtio-features.js';
import { GUEST_TSO, has, hasAll, HOST_TSO } from './features.js';

/** Rx offloads that the offered features allow (dev_info of the PMD). */
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

/** The error text for offloads that were requested and not negotiated. DPDK's virtio_dev_configure checks only those of Rx. */
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

/** Warns when buffers are too small for LRO: its packets have up to 64 KiB (virtio 1.2 section 5.1.6.3.1). */
export function lroWarning(acknowledged: bigint, dataRoom: number): string | undefined {
  if (!has(acknowledged, GUEST_TSO) || has(acknowledged, F.VIRTIO_NET_F_MRG_RXBUF)) return undefined;
  return `LRO without mergeable buffers: the device drops packets of more than the ${dataRoom} bytes of an mbuf; use mrg_rxbuf=1`;
}
