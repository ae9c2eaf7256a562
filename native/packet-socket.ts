/** Packet sockets (packet(7)): a network interface below the kernel's protocols. What options and addresses mean is the caller's. */
import { SystemError } from './errors.js';
import { addressOf, c, check, lastErrno, lastErrnoNumber } from './libc.js';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const SOL_PACKET = 263;
const SOL_SOCKET = 1;
const SO_ERROR = 4;
const SO_ATTACH_FILTER = 26;
const SO_DETACH_FILTER = 27;
const MSG_DONTWAIT = 0x40;

/** For the field sll_family of a struct sockaddr_ll. */
export const PACKET_FAMILY = AF_PACKET;

/** A packet socket that receives nothing before it is bound. @throws SystemError EPERM without CAP_NET_RAW */
export function openPacketSocket(): number {
  return check(c.socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 'socket');
}

/** @param address struct sockaddr_ll. @throws SystemError ENODEV, ... */
export function bindPacketSocket(fd: number, address: Uint8Array): void {
  check(c.bind(fd, address, address.length), 'bind');
}

/** Sets an option of the level SOL_PACKET. @param name of the option, for the error message. @throws SystemError */
export function setPacketOption(fd: number, option: number, value: Uint8Array, name: string): void {
  check(c.setsockopt(fd, SOL_PACKET, option, value, value.length), `setsockopt ${name}`);
}

/** Reads an option of the level SOL_PACKET into `value`, which has exactly its size. @throws SystemError */
export function packetOption(fd: number, option: number, value: Uint8Array, name: string): void {
  read(fd, SOL_PACKET, option, value, name);
}

function read(fd: number, level: number, option: number, value: Uint8Array, name: string): void {
  check(c.getsockopt(fd, level, option, value, Uint32Array.of(value.length)), `getsockopt ${name}`);
}

/**
 * Which packets the socket receives: those for which the filter returns more than 0.
 * @param program instructions of struct sock_filter, one behind the other; undefined: all packets
 * @throws SystemError
 */
export function setPacketFilter(fd: number, program: Uint8Array | undefined): void {
  if (program === undefined) {
    const result = c.setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, new Uint8Array(4), 4);
    if (result < 0 && lastErrno() !== 'ENOENT') check(result, 'setsockopt SO_DETACH_FILTER');
    return;
  }
  const fprog = new DataView(new ArrayBuffer(16)); // struct sock_fprog: len 0, filter 8
  fprog.setUint16(0, program.length / 8, true);
  fprog.setBigUint64(8, addressOf(program), true);
  check(c.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, fprog, 16), 'setsockopt SO_ATTACH_FILTER');
}

/** Takes the error that waits at the socket, such as that its interface went down: until then poll reports it. */
export function takeSocketError(fd: number): void {
  try {
    read(fd, SOL_SOCKET, SO_ERROR, new Uint8Array(4), 'SO_ERROR');
  } catch (error) {
    if (!(error instanceof SystemError)) throw error; // it has been closed
  }
}

/**
 * Has the kernel send the frames of a Tx ring that are ready, without waiting.
 * @returns 0, or the number of the error
 */
export function sendFrames(fd: number): number {
  return c.send(fd, 0, 0, MSG_DONTWAIT) < 0 ? lastErrnoNumber() : 0;
}
