/** What a tap is asked for by its virtio device: offloads and filters, as arguments of ioctls. Without I/O. */
import { has } from '../../features.js';
import * as T from '../../../wire/linux/if-tun.js';
import * as F from '../../../wire/virtio-features.js';
import type { ReceiveFilter } from '../../control/emulator.js';

const viewOf = (bytes: Uint8Array) => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

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
