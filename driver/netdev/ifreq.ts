/** struct ifreq, the argument of requests about a network interface, and the names that interfaces may have. Without I/O. */
import { VirtioPmdError } from '../../native/errors.js';
import { ARPHRD_ETHER } from '../wire/linux/if-arp.js';
import { IFHWADDRLEN, IFNAMSIZ, ifreq } from '../wire/linux/if.js';

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A struct ifreq with the name of an interface and flags. */
export function flagsRequest(name: string, flags = 0): Uint8Array {
  const bytes = new Uint8Array(ifreq.sizeof);
  const place = ifreq.ifr_ifrn.ifrn_name.get(viewOf(bytes));
  new TextEncoder().encodeInto(name, place.subarray(0, IFNAMSIZ - 1));
  ifreq.ifr_ifru.ifru_flags.set(viewOf(bytes), flags);
  return bytes;
}

/** The name in a struct ifreq. */
export function nameOf(request: Uint8Array): string {
  const name = ifreq.ifr_ifrn.ifrn_name.get(viewOf(request));
  const end = name.indexOf(0);
  return new TextDecoder().decode(end < 0 ? name : name.subarray(0, end));
}

/** The flags in a struct ifreq, 16 bits. */
export function flagsOf(request: Uint8Array): number {
  return ifreq.ifr_ifru.ifru_flags.get(viewOf(request)) & 0xffff;
}

/**
 * A struct ifreq for the MAC address of an interface. @param mac six bytes
 * @param name not needed when the request goes to the interface's own descriptor
 */
export function addressRequest(mac?: Uint8Array, name = ''): Uint8Array {
  const bytes = flagsRequest(name);
  const { sa_family, sa_data } = ifreq.ifr_ifru.ifru_hwaddr;
  sa_family.set(viewOf(bytes), ARPHRD_ETHER);
  if (mac !== undefined) sa_data.get(viewOf(bytes)).set(mac);
  return bytes;
}

/** The MAC address in a struct ifreq, six bytes. */
export function addressIn(request: Uint8Array): Uint8Array {
  return ifreq.ifr_ifru.ifru_hwaddr.sa_data.get(viewOf(request)).slice(0, IFHWADDRLEN);
}

/** The kind of interface (ARPHRD_*) that came with the MAC address. */
export function familyIn(request: Uint8Array): number {
  return ifreq.ifr_ifru.ifru_hwaddr.sa_family.get(viewOf(request));
}

/** A struct ifreq with the index of an interface, for its name. */
export function indexRequest(index: number): Uint8Array {
  const bytes = new Uint8Array(ifreq.sizeof);
  ifreq.ifr_ifru.ifru_ivalue.set(viewOf(bytes), index);
  return bytes;
}

/** The index in a struct ifreq. */
export function indexIn(request: Uint8Array): number {
  return ifreq.ifr_ifru.ifru_ivalue.get(viewOf(request));
}

/** A struct ifreq with the name of an interface and its MTU in bytes. */
export function mtuRequest(name: string, mtu: number): Uint8Array {
  const bytes = flagsRequest(name);
  ifreq.ifr_ifru.ifru_mtu.set(viewOf(bytes), mtu);
  return bytes;
}

/** The MTU in a struct ifreq, bytes. */
export function mtuIn(request: Uint8Array): number {
  return ifreq.ifr_ifru.ifru_mtu.get(viewOf(request));
}

/** Bytes that the kernel's dev_valid_name refuses: / and :, those that it treats as spaces (0xa0 also within a letter), and 0. */
const FORBIDDEN: readonly number[] = [...Buffer.from('/: \t\n\v\f\r\0'), 0xa0];

/** Refuses names that the kernel would refuse, or shorten without notice. @throws VirtioPmdError EDEVARGS */
export function checkInterfaceName(name: string): void {
  const refuse = (why: string) => new VirtioPmdError('EDEVARGS', `iface=${name} cannot name an interface: ${why}`);
  const length = Buffer.byteLength(name);
  if (length >= IFNAMSIZ)
    throw refuse(`it has ${length} bytes, the kernel takes ${IFNAMSIZ - 1}; choose a shorter one`);
  if (name === '.' || name === '..') throw refuse('it means a directory; choose another');
  if (Buffer.from(name).some((byte) => FORBIDDEN.includes(byte))) {
    throw refuse('there may be no spaces, slashes or colons in it; leave them out');
  }
  if (name.includes('%') && !/^[^%]*%d[^%]*$/.test(name)) {
    throw refuse('the only % there may be is one %d, for which the kernel puts a number; leave others out');
  }
}
