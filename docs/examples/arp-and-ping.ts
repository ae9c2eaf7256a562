// Turns ARP requests and pings for an IPv4 address into their answers: for event-driven.ts.
import { bigEndian16, swapBytes, type Mempool } from '../../driver/index.js';

const [ARP, IPV4, WITHOUT_OPTIONS, ICMP, ECHO] = [0x0806, 0x0800, 0x45, 1, 8];

/** @returns a function that tells whether packet `m` is an answer now */
export function answering(pool: Mempool, mac: string, address: string): (m: number) => boolean {
  const { u8, dataLen } = pool;
  const [ours, ip] = [mac.split(':').map((byte) => parseInt(byte, 16)), address.split('.').map(Number)];
  return (m) => {
    const at = pool.dataStart(m);
    const isOurs = (where: number) => dataLen[m]! >= 42 && ip.every((byte, i) => u8[where + i] === byte);
    const etherType = bigEndian16(u8, at + 12);
    const isWhole = u8[at + 14] === WITHOUT_OPTIONS && (bigEndian16(u8, at + 20) & 0x3fff) === 0; // no fragment
    const isEcho = isWhole && u8[at + 23] === ICMP && u8[at + 34] === ECHO;
    if (etherType === ARP && bigEndian16(u8, at + 20) === 1 && isOurs(at + 38)) {
      u8[at + 21] = 2; // a reply
      swapBytes(u8, at + 22, at + 32, 10); // MAC and IP addresses of sender and target
      u8.set(ours, at + 22);
    } else if (etherType === IPV4 && isEcho && isOurs(at + 30)) {
      u8[at + 34] = 0; // a reply; what the type is less now, the checksum is more
      const sum = bigEndian16(u8, at + 36) + (ECHO << 8);
      const folded = (sum & 0xffff) + (sum >> 16);
      u8.set([folded >> 8, folded & 0xff], at + 36);
      swapBytes(u8, at + 26, at + 30, 4);
    } else return false;
    u8.copyWithin(at, at + 6, at + 12);
    u8.set(ours, at + 6);
    return true;
  };
}
