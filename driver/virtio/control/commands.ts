/**
 * The bytes of the commands of the control virtqueue (virtio 1.2 section 5.1.6.5). The transport sends them: a real device
 * has a virtqueue for it (queue.ts), virtio_user's is emulated in this process (emulator.ts).
 */
import * as net from '../../wire/linux/virtio-net.js';
import { macBytes } from '../../wire/mac.js';

export const CTRL_RX_PROMISC = net.VIRTIO_NET_CTRL_RX_PROMISC;
export const CTRL_RX_ALLMULTI = net.VIRTIO_NET_CTRL_RX_ALLMULTI;

/** The device's answer, one byte. */
export const CTRL_OK = net.VIRTIO_NET_OK;
/** The value of DPDK; every answer but CTRL_OK is a refusal. */
export const CTRL_ERR = 0xff;

/** A command before it is split into descriptors: header (class, command), then one descriptor per argument, then the answer. */
export interface ControlCommand {
  readonly class: number;
  readonly command: number;
  readonly args: readonly Uint8Array[];
}

/** Makes the device use the first `pairs` queue pairs. */
export function setPairsCommand(pairs: number): ControlCommand {
  return { class: net.VIRTIO_NET_CTRL_MQ, command: net.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, args: [u16(pairs)] };
}

/** Switches promiscuous or all-multicast mode. */
export function rxModeCommand(command: typeof CTRL_RX_PROMISC | typeof CTRL_RX_ALLMULTI, on: boolean): ControlCommand {
  return { class: net.VIRTIO_NET_CTRL_RX, command, args: [Uint8Array.of(on ? 1 : 0)] };
}

/** Replaces the device's whole MAC filter table: two arguments, as legacy devices require (5.1.6.5.2). */
export function macTableCommand(unicast: readonly string[], multicast: readonly string[]): ControlCommand {
  return {
    class: net.VIRTIO_NET_CTRL_MAC,
    command: net.VIRTIO_NET_CTRL_MAC_TABLE_SET,
    args: [macList(unicast), macList(multicast)],
  };
}

/** Changes the device's own address. */
export function macAddressCommand(mac: string): ControlCommand {
  return { class: net.VIRTIO_NET_CTRL_MAC, command: net.VIRTIO_NET_CTRL_MAC_ADDR_SET, args: [macBytes(mac)] };
}

/** Adds a VLAN to the device's filter, or removes it. */
export function vlanCommand(id: number, on: boolean): ControlCommand {
  return {
    class: net.VIRTIO_NET_CTRL_VLAN,
    command: on ? net.VIRTIO_NET_CTRL_VLAN_ADD : net.VIRTIO_NET_CTRL_VLAN_DEL,
    args: [u16(id)],
  };
}

/** Acknowledges to the device that the requested announcement has been sent. */
export function announceCommand(): ControlCommand {
  return { class: net.VIRTIO_NET_CTRL_ANNOUNCE, command: net.VIRTIO_NET_CTRL_ANNOUNCE_ACK, args: [] };
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
  /** Rx queue by the low bits of the hash; the length is a power of two. */
  readonly reta: readonly number[];
  /** Tx queues in use. */
  readonly maxTxVq: number;
}

/** Configures RSS, and makes the device use the queue pairs for it (5.1.6.5.7.1). */
export function rssConfigCommand({ hashTypes, unclassifiedQueue, reta, maxTxVq, key }: RssParameters): ControlCommand {
  const to = net.virtio_net_rss_config;
  const moved = (reta.length - 1) * to.indirection_table.stride; // how far the fields after the table move, by the entries beyond the first
  const bytes = new Uint8Array(to.hash_key_data.offset + moved + key.length);
  const view = new DataView(bytes.buffer);
  to.hash_types.set(view, hashTypes);
  to.indirection_table_mask.set(view, reta.length - 1);
  to.unclassified_queue.set(view, unclassifiedQueue);
  reta.forEach((queue, i) => to.indirection_table.set(view, i, queue));
  to.max_tx_vq.set(view, maxTxVq, moved);
  to.hash_key_length.set(view, key.length, moved);
  bytes.set(key, to.hash_key_data.at(0, moved));
  return { class: net.VIRTIO_NET_CTRL_MQ, command: net.VIRTIO_NET_CTRL_MQ_RSS_CONFIG, args: [bytes] };
}

/** Hashes for reports only, without RSS (5.1.6.5.6.4): struct virtio_net_hash_config. */
export function hashConfigCommand({ hashTypes, key }: HashParameters): ControlCommand {
  const to = net.virtio_net_hash_config;
  const bytes = new Uint8Array(to.hash_key_data.offset + key.length);
  const view = new DataView(bytes.buffer);
  to.hash_types.set(view, hashTypes);
  to.hash_key_length.set(view, key.length);
  bytes.set(key, to.hash_key_data.offset);
  return { class: net.VIRTIO_NET_CTRL_MQ, command: net.VIRTIO_NET_CTRL_MQ_HASH_CONFIG, args: [bytes] };
}

function macList(macs: readonly string[]): Uint8Array {
  const to = net.virtio_net_ctrl_mac;
  const bytes = new Uint8Array(to.macs.at(macs.length));
  to.entries.set(new DataView(bytes.buffer), macs.length);
  macs.forEach((mac, i) => bytes.set(macBytes(mac), to.macs.at(i)));
  return bytes;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}
