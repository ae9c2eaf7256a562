/** Numbers as text. */

/** `0x1af4` */
export function hex(value: number | bigint): string {
  return `0x${value.toString(16)}`;
}
