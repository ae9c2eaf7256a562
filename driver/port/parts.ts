/** Parts that only some devices have: what a port can do besides bursts. Types only. */

/** Modes, addresses and VLANs: which packets the device receives. A request that it refuses changes nothing. */
export interface PortFilters {
  readonly promiscuous: boolean;
  readonly allmulticast: boolean;
  /** @throws VirtioPmdError ECONFIG when the device cannot; EPEER when it refuses. The others throw the same. */
  setPromiscuous(on: boolean): void;
  setAllmulticast(on: boolean): void;
  /** The port's own address, as AA:BB:CC:DD:EE:FF. */
  readonly mac: string;
  /** Addresses for which the port receives, its own first; without the multicast list. */
  readonly macAddresses: readonly string[];
  readonly multicastList: readonly string[];
  /** rte_eth_dev_mac_addr_add */
  addMacAddress(mac: string): void;
  /** rte_eth_dev_mac_addr_remove; an address that was not added is no error. */
  removeMacAddress(mac: string): void;
  /** rte_eth_dev_set_mc_addr_list: replaces the previous list. */
  setMulticastList(list: readonly string[]): void;
  /** rte_eth_dev_default_mac_addr_set */
  setDefaultMac(mac: string): void;
  /** VLANs that are received, in the order in which they were added. */
  readonly vlanIds: readonly number[];
  /** Whether VLANs may be added and removed (the offload VLAN_FILTER). */
  readonly vlanFilterEnabled: boolean;
  /** The VLAN_FILTER bit of rte_eth_dev_set_vlan_offload. */
  setVlanFiltering(on: boolean): void;
  /** rte_eth_dev_vlan_filter */
  setVlanFilter(id: number, on: boolean): void;
}

/** RSS in rte_eth_dev_info; zeros where the device does not offer it. */
export interface RssInfo {
  readonly keySize: number;
  readonly retaSize: number;
  /** RTE_ETH_RSS_* */
  readonly flowTypes: bigint;
}

export interface RssUpdate {
  /** Default: the current one. */
  readonly key?: Uint8Array | undefined;
  /** RTE_ETH_RSS_*. Default: the current ones. */
  readonly hf?: bigint | undefined;
}

/** New entries of the redirection table: index and Rx queue. */
export type RetaEntries = Iterable<readonly [index: number, queue: number]>;

/** Receive-side scaling. */
export interface PortRss {
  /** RSS is in use. */
  readonly usesRss: boolean;
  readonly rssInfo: RssInfo;
  /** rte_eth_dev_rss_hash_conf_get: `hf` are RTE_ETH_RSS_* bits. @throws VirtioPmdError ECONFIG without RSS, as all others */
  rssConf(): { key: Uint8Array; hf: bigint };
  /** rte_eth_dev_rss_hash_update: key, packet types, or both. @throws VirtioPmdError EPEER, too */
  rssUpdate(update: RssUpdate): void;
  /** The redirection table: Rx queue by the low bits of the hash. */
  retaQuery(): readonly number[];
  /** rte_eth_dev_rss_reta_update: other entries stay unchanged. @throws VirtioPmdError EPEER, too */
  retaUpdate(entries: RetaEntries): void;
}

/** Interrupts of Rx queues, so that threads can sleep until packets arrive. */
export interface PortInterrupts {
  /** The descriptor that becomes readable when Rx queue `queue` has packets; undefined while it has none. */
  rxFd(queue: number): number | undefined;
}
