/** The Toeplitz hash (virtio 1.2 section 5.1.6.4.3.2), bit by bit. */
export function toeplitz(key: Uint8Array, input: Uint8Array): number {
  const bit = (bytes: Uint8Array, at: number) => (bytes[at >> 3]! >> (7 - (at & 7))) & 1;
  let hash = 0;
  for (let i = 0; i < input.length * 8; i++) {
    if (bit(input, i) === 0) continue;
    for (let j = 0; j < 32; j++) hash ^= bit(key, i + j) << (31 - j);
  }
  return hash >>> 0;
}
