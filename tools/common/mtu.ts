/** The MTU for a longest packet (eth_dev_get_overhead_len of ethdev). Pure. */
import type { PortInfo } from '../../driver/port/types.js';

/** Ethernet header and CRC. */
const FRAMING = 18;
/** The largest MTU, and the longest packet, of devices that do not name any. */
const ANY_MTU = 0xffff;
const ANY_LENGTH = 0xffffffff;

/** The MTU with which packets have `length` bytes at most. As in ethdev, that includes what the device puts in front of them. */
export function mtuFor(length: number, { maxRxPktLen, maxMtu }: Pick<PortInfo, 'maxRxPktLen' | 'maxMtu'>): number {
  const known = maxMtu !== ANY_MTU && maxRxPktLen !== ANY_LENGTH && maxRxPktLen > maxMtu;
  return length - (known ? maxRxPktLen - maxMtu : FRAMING);
}
