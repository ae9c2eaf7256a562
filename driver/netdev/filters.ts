/** Modes and addresses of a port that is an interface of the kernel: the flags and the address of that interface. */
import { aBoolean, aString, checkArgument, strings } from '../../native/arguments.js';
import { attempt, VirtioPmdError } from '../../native/errors.js';
import type { PortFilters } from '../port/parts.js';
import { IFF_ALLMULTI, IFF_PROMISC } from '../wire/linux/if.js';
import { formatMac, macBytes, parseMac } from '../wire/mac.js';
import type { Interface } from './interface.js';

/** What of it the interface cannot do. */
export interface FilterLimits {
  /** Why it takes no multicast list; undefined: it receives everything, and the list changes nothing. */
  readonly noMulticastList?: string;
}

export class InterfaceFilters implements PortFilters {
  readonly vlanIds: readonly number[] = [];
  readonly vlanFilterEnabled = false;
  mac: string;
  multicastList: readonly string[] = [];
  /** Flags as they were before the port changed them. */
  private readonly before = new Map<number, boolean>();
  private flags: number;

  constructor(
    private readonly device: Interface,
    private readonly limits: FilterLimits = {},
  ) {
    this.mac = formatMac(device.mac);
    this.flags = device.state()?.flags ?? 0;
  }

  /** The interface's flags have been read anew. */
  refresh(flags: number): void {
    this.flags = flags;
  }

  get promiscuous(): boolean {
    return (this.flags & IFF_PROMISC) !== 0;
  }

  get allmulticast(): boolean {
    return (this.flags & IFF_ALLMULTI) !== 0;
  }

  setPromiscuous(on: boolean): void {
    checkArgument('setPromiscuous', 'on', on, aBoolean);
    this.setFlag(IFF_PROMISC, on);
  }

  setAllmulticast(on: boolean): void {
    checkArgument('setAllmulticast', 'on', on, aBoolean);
    this.setFlag(IFF_ALLMULTI, on);
  }

  private setFlag(bit: number, on: boolean): void {
    this.device.setFlags(bit, on);
    if (!this.before.has(bit)) this.before.set(bit, (this.flags & bit) !== 0);
    this.flags = on ? this.flags | bit : this.flags & ~bit;
  }

  /** Gives the interface the flags that it had. Never throws. */
  restore(): void {
    attempt(
      ...[...this.before].map(
        ([bit, on]) =>
          () =>
            this.device.setFlags(bit, on),
      ),
    );
    this.before.clear();
  }

  get macAddresses(): readonly string[] {
    return [this.mac];
  }

  setDefaultMac(text: string): void {
    checkArgument('setDefaultMac', 'mac', text, aString);
    const mac = parseMac(text);
    if (mac === undefined) throw refuse(`${text} is no MAC address: expected one such as 02:00:00:00:00:01`);
    this.device.setMac(macBytes(mac));
    this.mac = mac;
  }

  addMacAddress(): void {
    throw refuse('an interface of the kernel has one address: change that one, or set promiscuous mode');
  }

  removeMacAddress(): void {
    // none was added
  }

  setMulticastList(list: readonly string[]): void {
    checkArgument('setMulticastList', 'list', list, strings);
    const { noMulticastList } = this.limits;
    if (list.length > 0 && noMulticastList !== undefined) throw refuse(noMulticastList);
    this.multicastList = [...list];
  }

  setVlanFiltering(on: boolean): void {
    if (on) throw noVlanFilter();
  }

  setVlanFilter(): void {
    throw noVlanFilter();
  }
}

function refuse(message: string): VirtioPmdError {
  return new VirtioPmdError('ECONFIG', message);
}

function noVlanFilter(): VirtioPmdError {
  return refuse('this port cannot filter VLANs: it receives the packets of all, so leave the filter off');
}
