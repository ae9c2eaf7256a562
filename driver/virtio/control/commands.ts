/**
 * Commands of the control virtqueue (virtio 1.2 section 5.1.6.5): their bytes. How a command reaches the device is the
 * transport's business: a real device has a virtqueue for it (queue.ts), virtio_user's is emulated in this process
 * (user/control-emulator.ts).
 */
import { macBytes } from '../../wire/mac.js';

export const CTRL_RX = 0;
export const CTRL_RX_PROMISC = 0;
export const CTRL_RX_ALLMULTI = 1;
export const CTRL_MAC = 1;
export const CTRL_MAC_TABLE_SET = 0;
export const CTRL_MAC_ADDR_SET = 1;
export const CTRL_VLAN = 2;
export const CTRL_VLAN_ADD = 0;
export const CTRL_VLAN_DEL = 1;
const CTRL_ANNOUNCE = 3;
const CTRL_ANNOUNCE_ACK = 0;
export const CTRL_MQ = 4;
export const CTRL_MQ_VQ_PAIRS_SET = 0;
export const CTRL_MQ_RSS_CONFIG = 1;
const CTRL_MQ_HASH_CONFIG = 2;

/** The device's answer, one byte. */
export const CTRL_OK = 0;
export const CTRL_ERR = 0xff;

/** A command before it is split into descriptors: header (class, command), then one descriptor per argument, then the answer. */
export interface ControlCommand {
  readonly class: number;
  readonly command: number;
  readonly args: readonly Uint8Array[];
}

/** Makes the device use the first `pairs` queue pairs. */
export function setPairsCommand(pairs: number): ControlCommand {
  return { class: CTRL_MQ, command: CTRL_MQ_VQ_PAIRS_SET, args: [u16(pairs)] };
}

/** Switches promiscuous or all-multicast mode. */
export function rxModeCommand(command: typeof CTRL_RX_PROMISC | typeof CTRL_RX_ALLMULTI, on: boolean): ControlCommand {
  return { class: CTRL_RX, command, args: [Uint8Array.of(on ? 1 : 0)] };
}

/** Replaces the addresses that the device lets through, whole: two arguments, as legacy devices insist on (5.1.6.5.2). */
export function macTableCommand(unicast: readonly string[], multicast: readonly string[]): ControlCommand {
  return { class: CTRL_MAC, command: CTRL_MAC_TABLE_SET, args: [macList(unicast), macList(multicast)] };
}

/** Changes the device's own address. */
export function macAddressCommand(mac: string): ControlCommand {
  return { class: CTRL_MAC, command: CTRL_MAC_ADDR_SET, args: [macBytes(mac)] };
}

/** Lets packets of a VLAN through, or not any more. */
export function vlanCommand(id: number, on: boolean): ControlCommand {
  return { class: CTRL_VLAN, command: on ? CTRL_VLAN_ADD : CTRL_VLAN_DEL, args: [u16(id)] };
}

/** Tells the device that the announcement which it asked for has been sent. */
export function announceCommand(): ControlCommand {
  return { class: CTRL_ANNOUNCE, command: CTRL_ANNOUNCE_ACK, args: [] };
}

/** How packets are hashed (virtio 1.2 section 5.1.6.4.3): VIRTIO_NET_HASH_TYPE_* bits, and the Toeplitz key. */
export interface HashParameters {
  readonly hashTypes: number;
  readonly key: Uint8Array;
}

/** struct virtio_net_rss_config. */
export interface RssParameters extends HashParameters {
  /** Rx queue of packets that have no hash. */
  readonly unclassifiedQueue: number;
  /** Rx queue by the low bits of the hash; a power of two long. */
  readonly reta: readonly number[];
  /** Tx queues in use. */
  readonly maxTxVq: number;
}

/** Offsets of indirection_table_mask and indirection_table. */
const RSS_MASK = 4;
const RSS_TABLE = 8;

/** Spreads packets over Rx queues, and makes the device use the queue pairs for it (5.1.6.5.7.1). */
export function rssConfigCommand({ hashTypes, unclassifiedQueue, reta, maxTxVq, key }: RssParameters): ControlCommand {
  const bytes = new Uint8Array(RSS_TABLE + 2 * reta.length + 3 + key.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, hashTypes, true);
  view.setUint16(RSS_MASK, reta.length - 1, true);
  view.setUint16(6, unclassifiedQueue, true);
  reta.forEach((queue, i) => view.setUint16(RSS_TABLE + 2 * i, queue, true));
  const behind = RSS_TABLE + 2 * reta.length;
  view.setUint16(behind, maxTxVq, true);
  view.setUint8(behind + 2, key.length);
  bytes.set(key, behind + 3);
  return { class: CTRL_MQ, command: CTRL_MQ_RSS_CONFIG, args: [bytes] };
}

/** Hashes for reports only, without RSS (5.1.6.5.6.4): struct virtio_net_hash_config. */
export function hashConfigCommand({ hashTypes, key }: HashParameters): ControlCommand {
  const bytes = new Uint8Array(13 + key.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, hashTypes, true);
  view.setUint8(12, key.length); // after four reserved fields
  bytes.set(key, 13);
  return { class: CTRL_MQ, command: CTRL_MQ_HASH_CONFIG, args: [bytes] };
}

/** struct virtio_net_ctrl_mac: how many, then six bytes each. */
function macList(macs: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(4 + 6 * macs.length);
  new DataView(bytes.buffer).setUint32(0, macs.length, true);
  macs.forEach((mac, i) => bytes.set(macBytes(mac), 4 + 6 * i));
  return bytes;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}
