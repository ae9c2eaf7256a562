/** The Tx offloads that the csum mode requests for a packet. Pure. */
import { RTE_MBUF_F_TX_TCP_CKSUM, RTE_MBUF_F_TX_TCP_SEG, RTE_MBUF_F_TX_UDP_CKSUM } from '../../../paths/mbuf.js';
import { IPPROTO_TCP } from '../../../paths/packet-headers.js';
import { TX_OFFLOAD_TCP_CKSUM, TX_OFFLOAD_TCP_TSO, TX_OFFLOAD_UDP_CKSUM } from '../../../driver/port/types.js';
import type { TxSettings } from './tx-settings.js';

/**
 * Bytes of TCP payload in each segment, or 0 when the packet need not be segmented. `tso set` has priority. Without it, a
 * packet that was received as several segments in one is segmented as before, where the port supports that (DPDK sends it
 * whole, longer than any MTU).
 */
export function segmentSize({ offloads, tsoSegsz }: TxSettings, received: number, payload: number): number {
  if ((offloads & TX_OFFLOAD_TCP_TSO) === 0) return 0;
  const size = tsoSegsz > 0 ? tsoSegsz : received;
  return payload > size ? size : 0;
}

/** RTE_MBUF_F_TX_* for a TCP or UDP packet; 0: compute its checksum in software. */
export function requestFor({ offloads }: TxSettings, protocol: number, segment: number): number {
  if (protocol !== IPPROTO_TCP) return (offloads & TX_OFFLOAD_UDP_CKSUM) !== 0 ? RTE_MBUF_F_TX_UDP_CKSUM : 0;
  if (segment > 0) return RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_TCP_CKSUM;
  return (offloads & TX_OFFLOAD_TCP_CKSUM) !== 0 ? RTE_MBUF_F_TX_TCP_CKSUM : 0;
}
