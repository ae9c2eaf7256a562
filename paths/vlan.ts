/** VLAN tags in software, for devices that cannot do it: virtio's, and those of the device side. Pure. */
import { ETHER_HDR_LEN } from './layout.js';
import {
  RTE_MBUF_F_RX_VLAN,
  RTE_MBUF_F_RX_VLAN_STRIPPED,
  RTE_MBUF_F_TX_HEADER_MASK,
  RTE_MBUF_F_TX_VLAN,
} from './mbuf.js';
import type { Mempool } from './mempool.js';

const VLAN_TAG_LEN = 4;
const ETHER_TYPE_VLAN_BE = 0x0081; // 0x8100 as a little-endian load reads it

/** Removes the outer 802.1Q tag from packets that have one (rte_vlan_strip). */
export function stripVlan(pool: Mempool, pkts: Uint32Array, n: number): void {
  const { u8, dataLen, dataOff, pktLen, vlanTci, olFlags } = pool;
  for (let i = 0; i < n; i++) {
    const m = pkts[i]!;
    const at = pool.dataStart(m);
    if (dataLen[m]! < 18 || (u8[at + 12]! | (u8[at + 13]! << 8)) !== ETHER_TYPE_VLAN_BE) continue;
    vlanTci[m] = (u8[at + 14]! << 8) | u8[at + 15]!;
    olFlags[m]! |= RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED;
    u8.copyWithin(at + 4, at, at + 12); // moves both MAC addresses over the tag
    dataOff[m]! += 4;
    dataLen[m]! -= 4;
    pktLen[m]! -= 4;
  }
}

/** rte_vlan_insert. @returns false, with nothing changed, when there is no room for it in front of the data. */
export function insertVlan(pool: Mempool, m: number): boolean {
  const { u8, dataOff, dataLen, pktLen, l2Len, olFlags, vlanTci } = pool;
  if (dataOff[m]! < VLAN_TAG_LEN || dataLen[m]! < ETHER_HDR_LEN || dataLen[m]! + VLAN_TAG_LEN > 0xffff) return false;
  const at = pool.dataStart(m) - VLAN_TAG_LEN;
  u8.copyWithin(at, at + VLAN_TAG_LEN, at + VLAN_TAG_LEN + 12); // moves both MAC addresses to make room
  u8[at + 12] = 0x81;
  u8[at + 13] = 0x00;
  u8[at + 14] = vlanTci[m]! >> 8;
  u8[at + 15] = vlanTci[m]! & 0xff;
  dataOff[m]! -= VLAN_TAG_LEN;
  dataLen[m]! += VLAN_TAG_LEN;
  pktLen[m]! += VLAN_TAG_LEN;
  if ((olFlags[m]! & RTE_MBUF_F_TX_HEADER_MASK) !== 0) l2Len[m]! += VLAN_TAG_LEN;
  olFlags[m]! &= ~(RTE_MBUF_F_TX_VLAN | RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
  return true;
}
