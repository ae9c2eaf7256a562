/** Capture files of libpcap, which DPDK's pcap PMD takes packets from and puts packets into. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const MAGIC = 0xa1b2c3d4;
const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const LINKTYPE_ETHERNET = 1;

export function writePcap(path: string, packets: readonly Uint8Array[]): void {
  const header = Buffer.alloc(FILE_HEADER);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(0xffff, 16);
  header.writeUInt32LE(LINKTYPE_ETHERNET, 20);
  const parts: Uint8Array[] = [header];
  for (const packet of packets) {
    const lengths = Buffer.alloc(PACKET_HEADER);
    lengths.writeUInt32LE(packet.length, 8);
    lengths.writeUInt32LE(packet.length, 12);
    parts.push(lengths, packet);
  }
  writeFileSync(path, Buffer.concat(parts));
}

/** The packets of a file that may still be written to: whole ones alone. */
export function readPcap(path: string): Uint8Array[] {
  const packets: Uint8Array[] = [];
  if (!existsSync(path)) return packets;
  const bytes = readFileSync(path);
  let at = FILE_HEADER;
  while (at + PACKET_HEADER <= bytes.length) {
    const end = at + PACKET_HEADER + bytes.readUInt32LE(at + 8);
    if (end > bytes.length) break;
    packets.push(bytes.subarray(at + PACKET_HEADER, end));
    at = end;
  }
  return packets;
}
