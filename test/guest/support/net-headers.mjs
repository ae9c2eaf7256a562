/**
 * What the kernel notes of each packet that comes in on an interface: `net-headers.mjs INTERFACE`. Switches off what would put
 * packets together before (GRO), prints `listening`, and once there is a line of input, a line of JSON: packets, the longest,
 * how many have no checksum yet (NEEDS_CSUM), and how many of each GSO type and size, as `1:1448`.
 */
import { setImmediate } from 'node:timers/promises';
import koffi from 'koffi';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const ETH_P_ALL = 0x0003;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const SOL_PACKET = 263;
const PACKET_VNET_HDR = 15;
const PACKET_OUTGOING = 4;
const SIOCETHTOOL = 0x8946;
const ETHTOOL_SGRO = 0x2c;
/** struct ifreq: name 0, pointer 16. */
const IFREQ_BYTES = 40;
/** struct sockaddr_ll: protocol 2 (big-endian), interface 4, packet type 10. */
const ADDRESS_BYTES = 20;
/** struct virtio_net_hdr: flags 0, GSO type 1, GSO size 4. */
const NET_HEADER = 10;
const NEEDS_CSUM = 1;
const LONGEST = NET_HEADER + 14 + 65535;

const libc = koffi.load('libc.so.6');
const socket = libc.func('int socket(int, int, int)');
const interfaceIndex = libc.func('unsigned int if_nametoindex(const char *)');
const bind = libc.func('int bind(int, const void *, uint32_t)');
const setOption = libc.func('int setsockopt(int, int, int, const void *, uint32_t)');
const ioctl = libc.func('int ioctl(int, unsigned long, void *)');
const receive = libc.func('int64_t recvfrom(int, void *, size_t, int, void *, void *)');

function check(result, what) {
  if (result < 0) throw new Error(`${what}: errno ${koffi.errno()}`);
  return result;
}

const name = process.argv[2];
const fd = check(socket(AF_PACKET, SOCK_RAW, 0), 'socket');
const set = (level, option, ...words) => {
  const value = new Uint8Array(Int32Array.from(words).buffer);
  check(setOption(fd, level, option, value, value.length), `socket option ${option}`);
};
set(SOL_PACKET, PACKET_VNET_HDR, 1);
set(SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24);
set(SOL_SOCKET, SO_RCVTIMEO, 0, 0, 100_000, 0);
const address = Buffer.alloc(ADDRESS_BYTES);
address.writeUInt16LE(AF_PACKET, 0);
address.writeUInt16BE(ETH_P_ALL, 2);
address.writeUInt32LE(interfaceIndex(name), 4);
check(bind(fd, address, ADDRESS_BYTES), 'bind');

const off = new Uint32Array(Uint32Array.of(ETHTOOL_SGRO, 0).buffer); // of the buffer: else it might move
const request = Buffer.alloc(IFREQ_BYTES);
request.write(name);
request.writeBigUInt64LE(BigInt(koffi.address(off)), 16);
check(ioctl(fd, SIOCETHTOOL, request), 'ETHTOOL_SGRO');

let asked = false;
process.stdin.once('data', () => (asked = true));
console.log('listening');

const packet = Buffer.alloc(LONGEST);
const addressLength = new Uint32Array(1);
const seen = { packets: 0, longest: 0, needsChecksum: 0, gso: {} };
for (;;) {
  addressLength[0] = ADDRESS_BYTES;
  const length = Number(receive(fd, packet, LONGEST, 0, address, addressLength));
  if (length <= 0 && asked) break; // all that was waiting has been read
  await setImmediate();
  if (length <= 0 || address[10] === PACKET_OUTGOING) continue;
  seen.packets++;
  seen.longest = Math.max(seen.longest, length - NET_HEADER);
  if ((packet[0] & NEEDS_CSUM) !== 0) seen.needsChecksum++;
  const gso = `${packet[1]}:${packet.readUInt16LE(4)}`;
  if (packet[1] !== 0) seen.gso[gso] = (seen.gso[gso] ?? 0) + 1;
}
console.log(JSON.stringify(seen));
process.exit();
