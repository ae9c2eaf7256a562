/** The address of a port whose device has none. */
import { randomBytes } from 'node:crypto';
import { formatMac, MAC_LENGTH } from '../wire/mac.js';

/** A random MAC address: locally administered, unicast. */
export function randomMac(): string {
  const bytes = randomBytes(MAC_LENGTH);
  bytes[0] = (bytes[0]! & 0xfe) | 0x02;
  return formatMac(bytes);
}
