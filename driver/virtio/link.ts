/** Reads a device's configuration: the MAC address, the link, and whether the port should announce itself. */
import { formatMac } from '../wire/mac.js';
import { has } from './features.js';
import { ANNOUNCE, CONFIG_MAC, CONFIG_SPEED, CONFIG_STATUS, LINK_UP, type Transport } from './transport.js';
import type { Link } from '../port/types.js';
import * as F from '../wire/virtio-features.js';

const UNKNOWN_SPEED = 0xffffffff;

export const DOWN: Link = { up: false, speed: undefined };

function field(transport: Transport, offset: number, length: number): DataView {
  return new DataView(transport.readConfig(offset, length).buffer);
}

/** The link of a device at DRIVER_OK. @param speed of the device's arguments, in Mb/s */
export function linkOf(transport: Transport, acknowledged: bigint, speed: number | undefined): Link {
  const hasStatus = has(acknowledged, F.VIRTIO_NET_F_STATUS);
  if (hasStatus && (field(transport, CONFIG_STATUS, 2).getUint16(0, true) & LINK_UP) === 0) return DOWN;
  return { up: true, speed: speed ?? deviceSpeed(transport, acknowledged) };
}

function deviceSpeed(transport: Transport, acknowledged: bigint): number | undefined {
  if (!has(acknowledged, F.VIRTIO_NET_F_SPEED_DUPLEX)) return undefined;
  const speed = field(transport, CONFIG_SPEED, 4).getUint32(0, true);
  return speed === UNKNOWN_SPEED ? undefined : speed;
}

/** Whether the device wants the port to announce itself to the network. */
export function wantsAnnouncement(transport: Transport, acknowledged: bigint): boolean {
  if (!has(acknowledged, F.VIRTIO_NET_F_GUEST_ANNOUNCE)) return false;
  return (field(transport, CONFIG_STATUS, 2).getUint16(0, true) & ANNOUNCE) !== 0;
}

/** The device's MAC address as AA:BB:CC:DD:EE:FF; undefined when it has none. */
export function deviceMac(transport: Transport, offered: bigint): string | undefined {
  return has(offered, F.VIRTIO_NET_F_MAC) ? formatMac(transport.readConfig(CONFIG_MAC, 6)) : undefined;
}
