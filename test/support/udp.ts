/** UDP datagrams with both checksums, made and checked by the book (RFC 768, RFC 1071). */

interface End {
  /** Last byte of the MAC address. */
  readonly mac: number;
  readonly ip: number;
  readonly port: number;
}

export interface Datagram {
  readonly source: End;
  readonly destination: End;
  /** Bytes of IP options, a multiple of 4. */
  readonly optionBytes?: number;
  readonly payload?: Uint8Array;
}

/** Ones' complement sum of the 16-bit words. */
function sum(bytes: Uint8Array, start = 0): number {
  for (let i = 0; i < bytes.length; i++) start += bytes[i]! << (i & 1 ? 0 : 8);
  while (start > 0xffff) start = (start & 0xffff) + (start >>> 16);
  return start;
}

/** Sum of the UDP header, its data and the pseudo-header. */
function udpSum(ip: Uint8Array, udp: Uint8Array): number {
  return sum(udp, sum(ip.subarray(12, 20)) + 17 + udp.length);
}

export function udpPacket({ source, destination, optionBytes = 0, payload }: Datagram): Uint8Array {
  const data = payload ?? Uint8Array.from({ length: 31 }, (_, i) => i * 7);
  const ipLength = 20 + optionBytes;
  const packet = new Uint8Array(14 + ipLength + 8 + data.length);
  packet.set([2, 0, 0, 0, 0, destination.mac, 2, 0, 0, 0, 0, source.mac, 8, 0]);
  const ip = packet.subarray(14, 14 + ipLength);
  const udp = packet.subarray(14 + ipLength);
  const view = new DataView(packet.buffer, 14);
  view.setUint8(0, 0x40 | (ipLength / 4));
  view.setUint16(2, ipLength + udp.length);
  view.setUint8(8, 64);
  view.setUint8(9, 17);
  view.setUint32(12, source.ip);
  view.setUint32(16, destination.ip);
  ip.fill(1, 20); // no-operation options
  view.setUint16(10, ~sum(ip) & 0xffff);
  view.setUint16(ipLength, source.port);
  view.setUint16(ipLength + 2, destination.port);
  view.setUint16(ipLength + 4, udp.length);
  udp.set(data, 8);
  view.setUint16(ipLength + 6, ~udpSum(ip, udp) & 0xffff);
  return packet;
}

/** Whether both checksums are right. */
export function isRight(packet: Uint8Array): boolean {
  const ipLength = (packet[14]! & 0xf) * 4;
  const ip = packet.subarray(14, 14 + ipLength);
  return sum(ip) === 0xffff && udpSum(ip, packet.subarray(14 + ipLength)) === 0xffff;
}
