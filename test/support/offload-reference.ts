/**
 * What offloads have to come to, as slow and as obvious as possible: RFC 1071 over whole arrays, the net header field by
 * field (virtio 1.2 section 5.1.6), a device that completes a checksum, and one that cuts a long TCP packet. Nothing is
 * shared with the paths.
 */

export const TCP = 6;
export const UDP = 17;

export const get16 = (bytes: ArrayLike<number>, at: number) => bytes[at]! * 256 + bytes[at + 1]!;
export const get32 = (bytes: ArrayLike<number>, at: number) => get16(bytes, at) * 65536 + get16(bytes, at + 2);

export function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = (value >> 8) & 0xff;
  bytes[at + 1] = value & 0xff;
}

export function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, Math.floor(value / 65536));
  put16(bytes, at + 2, value % 65536);
}

/** The ones' complement sum of 16-bit words, the last byte of an odd number being the upper half of a word. */
export function onesSum(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! * 256 + (i + 1 < bytes.length ? bytes[i + 1]! : 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

/** The checksum field for a sum, which may be one of two sums. Of the two zeros it is 0xffff: 0 means "none" in UDP. */
export const checksumOfSum = (sum: number) => 0xffff - (sum > 0xffff ? sum - 0xffff : sum) || 0xffff;

/** The checksum field for `bytes`, whose own field is 0. */
export const checksum = (bytes: ArrayLike<number>) => checksumOfSum(onesSum(bytes));

/** The pseudo header of the IP packet at `at`: RFC 768 and RFC 793, RFC 8200 section 8.1. */
export function pseudoHeader(
  bytes: ArrayLike<number>,
  at: number,
  protocol: number,
  length: number,
  version = bytes[at]! >> 4,
): number[] {
  const slice = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => bytes[at + from + i]!);
  const low = [(length >> 8) & 0xff, length & 0xff];
  if (version === 4) return [...slice(12, 20), 0, protocol, ...low];
  return [...slice(8, 40), 0, length >> 16, ...low, 0, 0, 0, protocol];
}

// ---- the net header ------------------------------------------------------------------------------------------------

export const NEEDS_CSUM = 1;
export const DATA_VALID = 2;
export const RSC_INFO = 4;
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_UDP = 3;
export const GSO_TCPV6 = 4;
export const GSO_UDP_L4 = 5;
export const GSO_ECN = 0x80;

export interface NetHeader {
  readonly flags: number;
  readonly gsoType: number;
  readonly hdrLen: number;
  readonly gsoSize: number;
  readonly csumStart: number;
  readonly csumOffset: number;
  /** HASH_REPORT: what goes behind num_buffers. */
  readonly hash?: { readonly value: number; readonly type: number };
}

export const emptyHeader: NetHeader = { flags: 0, gsoType: 0, hdrLen: 0, gsoSize: 0, csumStart: 0, csumOffset: 0 };

/** Little endian, whatever the network's order is. num_buffers stays 0. */
export function encodeHeader(header: NetHeader, hdrSize: number): Uint8Array {
  const bytes = new Uint8Array(hdrSize);
  bytes[0] = header.flags;
  bytes[1] = header.gsoType;
  const view = new DataView(bytes.buffer);
  view.setUint16(2, header.hdrLen, true);
  view.setUint16(4, header.gsoSize, true);
  view.setUint16(6, header.csumStart, true);
  view.setUint16(8, header.csumOffset, true);
  if (header.hash !== undefined) {
    view.setUint32(12, header.hash.value, true);
    view.setUint16(16, header.hash.type, true);
  }
  return bytes;
}

export function decodeHeader(bytes: Uint8Array): NetHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (at: number) => view.getUint16(at, true);
  return {
    ...{ flags: bytes[0]!, gsoType: bytes[1]!, hdrLen: word(2), gsoSize: word(4) },
    ...{ csumStart: word(6), csumOffset: word(8) },
  };
}

// ---- what a device does --------------------------------------------------------------------------------------------

/** NEEDS_CSUM: "one's complement of the sum from csum_start to the end, at csum_start + csum_offset". A copy. */
export function completeChecksum(packet: Uint8Array, csumStart: number, csumOffset: number): Uint8Array {
  const copy = packet.slice();
  put16(copy, csumStart + csumOffset, checksum(copy.subarray(csumStart)));
  return copy;
}

/** The packet as it leaves a sender that leaves its checksum to a device: the sum of the pseudo header is in its place. */
export function withPseudoSum(
  packet: Uint8Array,
  at: { readonly l2Len: number; readonly l3Len: number; readonly protocol: number; readonly csumOffset: number },
  length: number,
): Uint8Array {
  const copy = packet.slice();
  const sum = onesSum(pseudoHeader(copy, at.l2Len, at.protocol, length));
  put16(copy, at.l2Len + at.l3Len + at.csumOffset, sum);
  return copy;
}

/**
 * Cuts a TCP packet as Linux does (tcp_gso_segment): headers in front of each piece, sequence numbers, CWR in the first,
 * FIN and PSH in the last, IPv4 ids that count. The checksum comes from the sum that the packet brings along, corrected
 * by the difference of the lengths, so that a wrong pseudo header shows in every piece.
 */
export function segment(packet: Uint8Array, header: NetHeader, l2Len: number): Uint8Array[] {
  const l4 = header.csumStart;
  const headers = l4 + (packet[l4 + 12]! >> 4) * 4;
  const isIpv4 = header.gsoType === GSO_TCPV4;
  const pieces: Uint8Array[] = [];
  for (let at = headers; at < packet.length; at += header.gsoSize) {
    const data = packet.subarray(at, Math.min(at + header.gsoSize, packet.length));
    const last = at + header.gsoSize >= packet.length;
    const piece = new Uint8Array(headers + data.length);
    piece.set(packet.subarray(0, headers));
    piece.set(data, headers);
    put32(piece, l4 + 4, (get32(packet, l4 + 4) + at - headers) % 2 ** 32);
    if (pieces.length > 0) piece[l4 + 13]! &= ~0x80;
    if (!last) piece[l4 + 13]! &= ~0x09;
    if (isIpv4) {
      const ihl = (packet[l2Len]! & 15) * 4;
      put16(piece, l2Len + 2, piece.length - l2Len);
      put16(piece, l2Len + 4, (get16(packet, l2Len + 4) + pieces.length) & 0xffff);
      put16(piece, l2Len + 10, 0);
      put16(piece, l2Len + 10, checksum(piece.subarray(l2Len, l2Len + ihl)));
    } else {
      put16(piece, l2Len + 4, piece.length - l2Len - 40);
    }
    const lengthNow = piece.length - l4;
    const lengthThen = packet.length - l4;
    const difference = (((lengthNow - lengthThen) % 0xffff) + 0xffff) % 0xffff;
    put16(piece, l4 + 16, onesSum([...piece.subarray(l4 + 16, l4 + 18), difference >> 8, difference & 0xff]));
    pieces.push(completeChecksum(piece, l4, header.csumOffset));
  }
  return pieces;
}

/** Whether the L4 checksum at `l4 + offset` is right, by the packet's own addresses and lengths. */
export function checksumHolds(packet: Uint8Array, l2Len: number, l4: number, protocol: number): boolean {
  const isIpv4 = packet[l2Len]! >> 4 === 4;
  const end = isIpv4 ? l2Len + get16(packet, l2Len + 2) : l2Len + 40 + get16(packet, l2Len + 4);
  const covered = [...pseudoHeader(packet, l2Len, protocol, end - l4), ...packet.subarray(l4, end)];
  return onesSum(covered) === 0xffff;
}
