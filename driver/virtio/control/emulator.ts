/**
 * A control queue that is emulated in this process, for virtio_user, because its back-ends have none. It enables queue pairs,
 * keeps the receive filter, and applies it where the back-end has one: a tap does, a vhost-user back-end does not (there a
 * filter is accepted and has no effect). Commands are checked for completeness.
 */
import * as net from '../../wire/linux/virtio-net.js';
import { isUnicast } from '../../wire/mac.js';
import { CTRL_ERR, CTRL_OK, type ControlCommand } from './commands.js';

/** Which packets the device receives. */
export interface ReceiveFilter {
  /** All packets, whatever the lists contain. */
  readonly promiscuous: boolean;
  readonly allmulticast: boolean;
  /** The device's own address first. */
  readonly unicast: readonly Uint8Array[];
  readonly multicast: readonly Uint8Array[];
}

/** The device that commands change. */
export interface EmulatedDevice {
  /** Its own address until a command changes it; undefined: it has none yet, and receives everything. */
  readonly mac: Uint8Array | undefined;
  readonly maxQueuePairs: number;
  /** Enables pairs 0 to n - 1 and disables the others. */
  enablePairs(n: number): void;
  /** Applies a filter. When it throws, the command is refused. */
  setReceiveFilter?(filter: ReceiveFilter): void;
  /** Logs why a command was refused. */
  refused(why: string): void;
}

/** State set by commands since the last reset. */
interface Told extends Omit<ReceiveFilter, 'unicast'> {
  readonly mac: Uint8Array | undefined;
  /** The table, without the device's own address. */
  readonly unicast: readonly Uint8Array[];
}

/** Promiscuous, as QEMU's device starts: a driver without control queue must receive packets too. */
const AFTER_RESET: Told = { promiscuous: true, allmulticast: false, mac: undefined, unicast: [], multicast: [] };

const MAX_VLAN_ID = 4095;

export class ControlEmulator {
  private told = AFTER_RESET;

  constructor(private readonly device: EmulatedDevice) {}

  /** Runs a command. @returns CTRL_OK; CTRL_ERR for one that is refused, which changes nothing */
  run({ class: commandClass, command, args }: ControlCommand): number {
    const data = joined(args);
    const why = this.perform(commandClass, command, data);
    if (why === undefined) return CTRL_OK;
    this.device.refused(why);
    return CTRL_ERR;
  }

  /** Discards all state, after a reset of the device. */
  reset(): void {
    const why = this.tell(AFTER_RESET);
    this.told = AFTER_RESET;
    if (why !== undefined) this.device.refused(why);
  }

  /** Runs a command. @returns why it was refused; undefined when it was not */
  private perform(commandClass: number, command: number, data: Uint8Array): string | undefined {
    switch ((commandClass << 8) | command) {
      case of(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_PROMISC):
        return lengthOf(data, 1, 'promiscuous mode') ?? this.tell({ promiscuous: data[0] !== 0 });
      case of(net.VIRTIO_NET_CTRL_RX, net.VIRTIO_NET_CTRL_RX_ALLMULTI):
        return lengthOf(data, 1, 'allmulticast mode') ?? this.tell({ allmulticast: data[0] !== 0 });
      case of(net.VIRTIO_NET_CTRL_MAC, net.VIRTIO_NET_CTRL_MAC_TABLE_SET):
        return this.setTable(data);
      case of(net.VIRTIO_NET_CTRL_MAC, net.VIRTIO_NET_CTRL_MAC_ADDR_SET):
        return lengthOf(data, 6, 'MAC address') ?? this.setAddress(data);
      case of(net.VIRTIO_NET_CTRL_VLAN, net.VIRTIO_NET_CTRL_VLAN_ADD):
      case of(net.VIRTIO_NET_CTRL_VLAN, net.VIRTIO_NET_CTRL_VLAN_DEL):
        return lengthOf(data, 2, 'VLAN') ?? refusedVlan(u16(data, 0));
      case of(net.VIRTIO_NET_CTRL_MQ, net.VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET):
        return lengthOf(data, 2, 'multi-q config') ?? this.setPairs(u16(data, 0));
      case of(net.VIRTIO_NET_CTRL_MQ, net.VIRTIO_NET_CTRL_MQ_RSS_CONFIG):
        return this.configureRss(data);
      default:
        return `control command ${commandClass}/${command} is not emulated`;
    }
  }

  private setPairs(pairs: number): string | undefined {
    const { maxQueuePairs } = this.device;
    if (pairs === 0 || pairs > maxQueuePairs) return `multi-q config ${pairs}, but only ${maxQueuePairs} supported`;
    this.device.enablePairs(pairs);
    return undefined;
  }

  /** Enables as many pairs as the configuration has Tx queues; there is no hashing here (docs/decisions/0009). */
  private configureRss(data: Uint8Array): string | undefined {
    const config = net.virtio_net_rss_config; // with a table of one entry
    if (data.length < config.hash_key_data.offset) return `RSS config of ${data.length} bytes is cut short`;
    const entries = u16(data, config.indirection_table_mask.offset) + 1;
    if ((entries & (entries - 1)) !== 0) return `RSS config with a table of ${entries} entries: not a power of two`;
    const moved = (entries - 1) * config.indirection_table.stride; // how far the fields after the table move
    const key = data[config.hash_key_length.offset + moved] ?? 0;
    return (
      lengthOf(data, config.hash_key_data.at(key, moved), `RSS config with ${entries} entries`) ??
      this.setPairs(u16(data, config.max_tx_vq.offset + moved))
    );
  }

  private setAddress(mac: Uint8Array): string | undefined {
    if (!isUnicast(mac)) {
      return `${Buffer.from(mac).toString('hex')} cannot be the MAC address of a device`;
    }
    return this.tell({ mac });
  }

  /** Two lists, each after its length; they must fill the command exactly. */
  private setTable(data: Uint8Array): string | undefined {
    const unicast = macsAt(data, 0);
    const multicast = unicast && macsAt(data, unicast.end);
    if (multicast?.end !== data.length)
      return `mac table of ${data.length} bytes does not hold the addresses it announces`;
    return this.tell({ unicast: unicast!.macs, multicast: multicast.macs });
  }

  /** Applies a change. @returns why that failed, with nothing changed; undefined after success */
  private tell(change: Partial<Told>): string | undefined {
    const told = { ...this.told, ...change };
    const [before, after] = [this.filterOf(this.told), this.filterOf(told)];
    if (!(before.promiscuous && after.promiscuous)) {
      try {
        this.device.setReceiveFilter?.(after);
      } catch (error) {
        return (error as Error).message;
      }
    }
    this.told = told;
    return undefined;
  }

  private filterOf({ mac = this.device.mac, promiscuous, allmulticast, unicast, multicast }: Told): ReceiveFilter {
    if (mac === undefined) return { promiscuous: true, allmulticast, unicast, multicast };
    return { promiscuous, allmulticast, unicast: [mac, ...unicast], multicast };
  }
}

function of(commandClass: number, command: number): number {
  return (commandClass << 8) | command;
}

/** The arguments in one piece: a device must accept any split into descriptors (virtio 1.2 section 2.7.4). */
function joined(args: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(args.reduce((sum, arg) => sum + arg.length, 0));
  let at = 0;
  for (const arg of args) {
    all.set(arg, at);
    at += arg.length;
  }
  return all;
}

function lengthOf(data: Uint8Array, expected: number, what: string): string | undefined {
  return data.length === expected ? undefined : `${what} of ${data.length} bytes instead of ${expected}`;
}

function refusedVlan(id: number): string | undefined {
  return id <= MAX_VLAN_ID ? undefined : `VLAN ${id}, but the last one is ${MAX_VLAN_ID}`;
}

function u16(data: Uint8Array, at: number): number {
  return data[at]! | (data[at + 1]! << 8);
}

/** The list at offset `at` and where it ends; undefined when it is longer than the data. */
function macsAt(data: Uint8Array, at: number): { macs: Uint8Array[]; end: number } | undefined {
  const { entries, macs } = net.virtio_net_ctrl_mac;
  if (data.length - at < entries.width) return undefined;
  const count = entries.get(new DataView(data.buffer), at);
  if (count > Math.floor((data.length - macs.at(0, at)) / macs.stride)) return undefined;
  return {
    macs: Array.from({ length: count }, (_, i) => data.slice(macs.at(i, at), macs.at(i + 1, at))),
    end: macs.at(count, at),
  };
}
