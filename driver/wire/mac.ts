/**
 * MAC addresses as text and as bytes. `parseMac` and `formatMac` return AA:BB:CC:DD:EE:FF, in capitals, so that equal
 * addresses are equal strings.
 */

export const MAC_LENGTH = 6;

/** The six bytes of `02:00:00:00:00:01`. */
export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (byte) => parseInt(byte, 16));
}

/** `02:00:00:00:00:01` of six bytes. */
export function formatMac(bytes: ArrayLike<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0').toUpperCase()).join(':');
}

/**
 * Parses an address in the formats of DPDK: `2:0:0:0:0:1`, `02-00-00-00-00-01`, `0200:0000:0001`. Undefined when the text is
 * not an address; separators and lengths must not be mixed.
 */
export function parseMac(text: string): string | undefined {
  const groups = text.split(text.includes('-') ? '-' : ':');
  const all = (pattern: RegExp) => groups.every((group) => pattern.test(group));
  if (groups.length === 6 && all(/^[0-9a-f]{1,2}$/i)) return formatMac(groups.map((group) => parseInt(group, 16)));
  if (groups.length !== 3 || !all(/^[0-9a-f]{4}$/i)) return undefined;
  const words = groups.map((group) => parseInt(group, 16));
  return formatMac(words.flatMap((word) => [word >> 8, word & 0xff]));
}

/** True for a unicast address: the group bit is not set, and it is not all zeros. */
export function isUnicast(mac: ArrayLike<number>): boolean {
  return (mac[0]! & 1) === 0 && Array.from(mac).some((byte) => byte !== 0);
}
