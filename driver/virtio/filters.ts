/**
 * Receive filters that a port sets in its device through the control queue. The settings are kept here, because a device
 * forgets them at every reset: `restore` sends them again. A request that the device refuses changes nothing.
 */
import { aBoolean, aNumber, aString, checkArgument, checkArguments, strings } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import type { PortFilters } from '../port/parts.js';
import { RX_OFFLOAD_VLAN_FILTER } from '../port/types.js';
import { formatMac, macBytes } from '../wire/mac.js';
import * as F from '../wire/virtio-features.js';
import { need, run, tellAgain, type CommandedPort, type Memory } from './commanded.js';
import * as ctrlq from './control/commands.js';
import { has } from './features.js';
import * as macs from './mac-table.js';
import { CONFIG_MAC } from './transport.js';

const MAX_VLAN_ID = 4095;

type RxMode = typeof ctrlq.CTRL_RX_PROMISC | typeof ctrlq.CTRL_RX_ALLMULTI;

export class VirtioFilters implements PortFilters {
  private table: macs.MacTable;
  private readonly vlans = new Set<number>();
  /** Undefined: as in the port's configuration. */
  private vlanFiltering: boolean | undefined;
  /** Undefined: neither state was requested. */
  private readonly rxModes: Record<RxMode, boolean | undefined> = {
    [ctrlq.CTRL_RX_PROMISC]: undefined,
    [ctrlq.CTRL_RX_ALLMULTI]: undefined,
  };

  /** @param mac the port's own address */
  constructor(
    private readonly port: CommandedPort,
    mac: string,
  ) {
    this.table = { own: macs.normalizeMac(mac), added: [], multicast: [] };
  }

  // ---- modes ---------------------------------------------------------------------------------------------------------

  get promiscuous(): boolean {
    return this.rxModes[ctrlq.CTRL_RX_PROMISC] ?? false;
  }

  get allmulticast(): boolean {
    return this.rxModes[ctrlq.CTRL_RX_ALLMULTI] ?? false;
  }

  /** @throws VirtioPmdError ECONFIG when the device has no CTRL_RX; EPEER when it refuses */
  setPromiscuous(on: boolean): void {
    checkArgument('setPromiscuous', 'on', on, aBoolean);
    this.setRxMode(ctrlq.CTRL_RX_PROMISC, on, 'promisc');
  }

  /** @throws VirtioPmdError ECONFIG when the device has no CTRL_RX; EPEER when it refuses */
  setAllmulticast(on: boolean): void {
    checkArgument('setAllmulticast', 'on', on, aBoolean);
    this.setRxMode(ctrlq.CTRL_RX_ALLMULTI, on, 'allmulticast');
  }

  private setRxMode(mode: RxMode, on: boolean, what: string): void {
    this.need(F.VIRTIO_NET_F_CTRL_RX, 'host does not support rx control');
    this.run(ctrlq.rxModeCommand(mode, on), `Failed to ${on ? 'enable' : 'disable'} ${what} on port ${this.portId}`);
    this.rxModes[mode] = on;
  }

  // ---- addresses -----------------------------------------------------------------------------------------------------

  /** The port's own address, as AA:BB:CC:DD:EE:FF. */
  get mac(): string {
    return this.table.own;
  }

  /** Addresses for which the port receives, its own first; without the multicast list. */
  get macAddresses(): readonly string[] {
    return macs.addressesOf(this.table);
  }

  get multicastList(): readonly string[] {
    return this.table.multicast;
  }

  /** rte_eth_dev_mac_addr_add. @throws VirtioPmdError ECONFIG, EPEER */
  addMacAddress(mac: string): void {
    checkArgument('addMacAddress', 'mac', mac, aString);
    this.setTable(macs.addAddress(this.table, mac, this.portId));
  }

  /** rte_eth_dev_mac_addr_remove; an address that was not added is no error. @throws VirtioPmdError ECONFIG, EPEER */
  removeMacAddress(mac: string): void {
    checkArgument('removeMacAddress', 'mac', mac, aString);
    this.setTable(macs.removeAddress(this.table, mac, this.portId));
  }

  /** rte_eth_dev_set_mc_addr_list: replaces the previous list. @throws VirtioPmdError ECONFIG, EPEER */
  setMulticastList(list: readonly string[]): void {
    checkArgument('setMulticastList', 'list', list, strings);
    this.setTable(macs.setMulticast(this.table, list, this.portId));
  }

  private setTable(table: macs.MacTable): void {
    if (table === this.table) return;
    const why = 'host does not support mac table';
    this.need(F.VIRTIO_NET_F_CTRL_MAC_ADDR, why);
    this.need(F.VIRTIO_NET_F_CTRL_RX, why);
    this.run(macs.tableCommand(table), `mac table set failed on port ${this.portId}`);
    this.table = table;
  }

  /** rte_eth_dev_default_mac_addr_set. @throws VirtioPmdError ECONFIG, EPEER */
  setDefaultMac(mac: string): void {
    checkArgument('setDefaultMac', 'mac', mac, aString);
    const table = macs.setOwnAddress(this.table, mac, this.portId);
    if (table.own === this.table.own) return;
    this.writeOwnAddress(table.own);
    this.table = table;
  }

  private writeOwnAddress(mac: string): void {
    if (has(this.acknowledged, F.VIRTIO_NET_F_CTRL_MAC_ADDR)) {
      this.run(ctrlq.macAddressCommand(mac), `Failed to set the MAC address of port ${this.portId}`);
    } else if (this.macIsWritable) {
      this.port.writeConfig(CONFIG_MAC, macBytes(mac));
    } else {
      this.need(F.VIRTIO_NET_F_CTRL_MAC_ADDR, 'host does not let its MAC address be set');
    }
  }

  /** Without a command for it: only legacy devices let the driver write the address (virtio 1.2 section 5.1.4.2). */
  private get macIsWritable(): boolean {
    const { acknowledged } = this;
    const byCommand = has(acknowledged, F.VIRTIO_NET_F_CTRL_MAC_ADDR);
    return !byCommand && has(acknowledged, F.VIRTIO_NET_F_MAC) && !has(acknowledged, F.VIRTIO_F_VERSION_1);
  }

  // ---- VLANs ---------------------------------------------------------------------------------------------------------

  /** VLANs that are received, in the order in which they were added. */
  get vlanIds(): readonly number[] {
    return [...this.vlans];
  }

  /** Whether VLANs may be added and removed (the offload VLAN_FILTER). */
  get vlanFilterEnabled(): boolean {
    return this.vlanFiltering ?? (this.port.rxOffloads & RX_OFFLOAD_VLAN_FILTER) !== 0;
  }

  /** The VLAN_FILTER bit of rte_eth_dev_set_vlan_offload. @throws VirtioPmdError ECONFIG when the device has no CTRL_VLAN */
  setVlanFiltering(on: boolean): void {
    checkArgument('setVlanFiltering', 'on', on, aBoolean);
    if (on) this.need(F.VIRTIO_NET_F_CTRL_VLAN, 'vlan filtering not available on this host');
    this.vlanFiltering = on;
  }

  /** rte_eth_dev_vlan_filter. @throws VirtioPmdError ECONFIG, EPEER */
  setVlanFilter(id: number, on: boolean): void {
    checkArguments('setVlanFilter', { id: [id, aNumber], on: [on, aBoolean] });
    if (!Number.isInteger(id) || id < 0 || id > MAX_VLAN_ID) {
      throw new VirtioPmdError('ECONFIG', `Port_id=${this.portId} invalid vlan_id=${id} > ${MAX_VLAN_ID}`);
    }
    this.need(F.VIRTIO_NET_F_CTRL_VLAN, 'vlan filtering not available on this host');
    if (!this.vlanFilterEnabled) {
      throw new VirtioPmdError('ECONFIG', `Port ${this.portId}: VLAN-filtering disabled: switch it on first`);
    }
    this.run(ctrlq.vlanCommand(id, on), `Failed to ${on ? 'add' : 'remove'} VLAN ${id} on port ${this.portId}`);
    if (on) this.vlans.add(id);
    else this.vlans.delete(id);
  }

  // ---- after a reset -------------------------------------------------------------------------------------------------

  /**
   * Sends all settings to a device that has just reached DRIVER_OK. A refusal is logged, and the port starts nevertheless.
   * @throws VirtioPmdError EPEER, ETIMEOUT when the device does not answer
   */
  restore(): void {
    if (this.macIsWritable && this.mac !== this.deviceMac()) this.writeOwnAddress(this.mac);
    tellAgain(this.port, this.memories());
  }

  private memories(): Memory[] {
    const { acknowledged } = this;
    const memories: Memory[] = [];
    if (has(acknowledged, F.VIRTIO_NET_F_CTRL_RX)) {
      const tell = (mode: RxMode, what: string) => {
        const on = this.rxModes[mode];
        if (on !== undefined || !this.port.openUntilTold) memories.push([ctrlq.rxModeCommand(mode, on ?? false), what]);
      };
      // on or off: after a reset a device may be in either mode
      tell(ctrlq.CTRL_RX_PROMISC, 'promiscuous mode');
      tell(ctrlq.CTRL_RX_ALLMULTI, 'allmulticast mode');
    }
    if (has(acknowledged, F.VIRTIO_NET_F_CTRL_MAC_ADDR)) {
      if (this.mac !== this.deviceMac()) memories.push([ctrlq.macAddressCommand(this.mac), `address ${this.mac}`]);
      if (!macs.isTrivial(this.table)) memories.push([macs.tableCommand(this.table), 'the MAC table']);
    }
    if (has(acknowledged, F.VIRTIO_NET_F_CTRL_VLAN)) {
      for (const id of this.vlans) memories.push([ctrlq.vlanCommand(id, true), `VLAN ${id}`]);
    }
    return memories;
  }

  /** The address in the device's configuration. */
  private deviceMac(): string | undefined {
    if (!has(this.acknowledged, F.VIRTIO_NET_F_MAC)) return undefined;
    return formatMac(this.port.readConfig(CONFIG_MAC, 6));
  }

  // ---- common to all -------------------------------------------------------------------------------------------------

  private get portId(): number {
    return this.port.portId;
  }

  private get acknowledged(): bigint {
    return this.port.acknowledged;
  }

  private need(feature: bigint, words: string): void {
    need(this.port, feature, words);
  }

  private run(command: ctrlq.ControlCommand, failure: string): void {
    run(this.port, command, failure);
  }
}
