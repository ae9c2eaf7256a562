/** Bytes of packets in place: `u8` is a mempool's view, and positions are offsets in it (such as `pool.dataStart(m)`). */

/** The 16-bit number in network byte order at `at`. */
export function bigEndian16(u8: Uint8Array, at: number): number {
  return (u8[at]! << 8) | u8[at + 1]!;
}

/** Exchanges `length` bytes at `a` and `b`. */
export function swapBytes(u8: Uint8Array, a: number, b: number, length: number): void {
  for (let i = 0; i < length; i++) {
    const byte = u8[a + i]!;
    u8[a + i] = u8[b + i]!;
    u8[b + i] = byte;
  }
}
