/** The arguments of the ioctls of a tap, without I/O. */
import { VirtioPmdError } from '../../../../native/errors.js';
import { has } from '../../features.js';
import { ARPHRD_ETHER } from '../../../wire/linux/if-arp.js';
import { IFHWADDRLEN, IFNAMSIZ, ifreq } from '../../../wire/linux/if.js';
import * as T from '../../../wire/linux/if-tun.js';
import * as F from '../../../wire/virtio-features.js';
import type { ReceiveFilter } from '../../control/emulator.js';

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

// ---- struct ifreq --------------------------------------------------------------------------------------------------

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

/** A struct ifreq for the MAC address of the interface behind a descriptor, which needs no name. @param mac six bytes */
export function addressRequest(mac?: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ifreq.sizeof);
  const { sa_family, sa_data } = ifreq.ifr_ifru.ifru_hwaddr;
  sa_family.set(viewOf(bytes), ARPHRD_ETHER);
  if (mac !== undefined) sa_data.get(viewOf(bytes)).set(mac);
  return bytes;
}

/** The MAC address in a struct ifreq, six bytes. */
export function addressIn(request: Uint8Array): Uint8Array {
  return ifreq.ifr_ifru.ifru_hwaddr.sa_data.get(viewOf(request)).slice(0, IFHWADDRLEN);
}

// ---- names ---------------------------------------------------------------------------------------------------------

/** Bytes that the kernel's dev_valid_name refuses: / and :, those that it treats as spaces (0xa0 also within a letter), and 0. */
const FORBIDDEN: readonly number[] = [...Buffer.from('/: \t\n\v\f\r\0'), 0xa0];

/** Refuses names that the kernel would refuse, or shorten without notice. @throws VirtioPmdError EDEVARGS */
export function checkTapName(name: string): void {
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

// ---- offloads and filters ------------------------------------------------------------------------------------------

/** TUN_F_* bits: the work that the tap may leave to us. @param features the acknowledged ones */
export function tapOffload(features: bigint): number {
  if (!has(features, F.VIRTIO_NET_F_GUEST_CSUM)) return 0;
  return (
    T.TUN_F_CSUM |
    (has(features, F.VIRTIO_NET_F_GUEST_TSO4) ? T.TUN_F_TSO4 : 0) |
    (has(features, F.VIRTIO_NET_F_GUEST_TSO6) ? T.TUN_F_TSO6 : 0)
  );
}

const BROADCAST = new Uint8Array(6).fill(0xff);

/**
 * struct tun_filter. The kernel compares the first eight addresses exactly, and puts the others into a hash that takes only
 * multicast addresses. Therefore unicast addresses go first; with more than eight of them the kernel does not filter, which the
 * specification allows (virtio 1.2 section 5.1.6.5.1).
 */
export function filterArgument({ promiscuous, allmulticast, unicast, multicast }: ReceiveFilter): Uint8Array {
  const { sizeof, flags, count, addr } = T.tun_filter;
  const addresses = promiscuous ? [] : [...unicast, BROADCAST, ...multicast];
  const bytes = new Uint8Array(sizeof + addresses.length * addr.stride);
  flags.set(viewOf(bytes), allmulticast ? T.TUN_FLT_ALLMULTI : 0);
  count.set(viewOf(bytes), addresses.length);
  addresses.forEach((address, i) => bytes.set(address, addr.at(i)));
  return bytes;
}
