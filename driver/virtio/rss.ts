/**
 * Configures the device to spread packets over a port's Rx queues. The configuration is kept here, because a device forgets
 * it at every reset. A request that the device refuses changes nothing.
 */
import {
  aBigint,
  anInstance,
  checkArgument,
  numbers,
  optional,
  withOptions,
  type OptionKinds,
} from '../../native/arguments.js';
import type { PortRss, RetaEntries, RssInfo, RssUpdate } from '../port/parts.js';
import * as F from '../wire/virtio-features.js';
import { need, run, tellAgain, type CommandedPort } from './commanded.js';
import * as ctrlq from './control/commands.js';
import { has } from './features.js';
import * as rss from './rss-config.js';

const NO_RSS: RssInfo = { keySize: 0, retaSize: 0, flowTypes: 0n };

const iterable = {
  accepts: 'pairs of an index and a queue',
  fits: (value: unknown) => typeof value === 'object' && value !== null && Symbol.iterator in value,
};
const pairs = { ...iterable, fits: (value: unknown) => (value as unknown[]).every(numbers.fits) };
const rssUpdate = withOptions({
  key: optional(anInstance('a Uint8Array', Uint8Array)),
  hf: optional(aBigint),
} satisfies OptionKinds<RssUpdate>);

export class VirtioRss implements PortRss {
  private inForce: rss.RssConfig | undefined;

  /** @param isConnected whether there is a device to send commands to */
  constructor(
    private readonly port: CommandedPort,
    private readonly isConnected: () => boolean = () => true,
  ) {}

  /** RSS was negotiated. */
  get usesRss(): boolean {
    return has(this.port.acknowledged, F.VIRTIO_NET_F_RSS);
  }

  get rssInfo(): RssInfo {
    if (!this.isConnected()) return NO_RSS;
    if (!has(this.port.offered, F.VIRTIO_NET_F_RSS)) return NO_RSS;
    const flowTypes = rss.ethdevHashTypes(this.capability().hashTypes);
    return { keySize: rss.RSS_KEY_SIZE, retaSize: rss.RSS_RETA_SIZE, flowTypes };
  }

  /** rte_eth_dev_rss_hash_conf_get: `hf` are RTE_ETH_RSS_* bits. @throws VirtioPmdError ECONFIG without RSS */
  rssConf(): { key: Uint8Array; hf: bigint } {
    const { key, hashTypes } = this.config();
    return { key: Uint8Array.from(key), hf: rss.ethdevHashTypes(hashTypes) };
  }

  /** rte_eth_dev_rss_hash_update: key, packet types, or both. @throws VirtioPmdError ECONFIG, EPEER */
  rssUpdate(update: RssUpdate): void {
    checkArgument('rssUpdate', 'update', update, rssUpdate);
    const config = rss.updateRss(this.config(), update, this.capability(), this.port.portId);
    run(this.port, this.command(config), `Failed to apply new RSS config to the device of port ${this.port.portId}`);
    this.inForce = config;
  }

  /** The redirection table: Rx queue by the low bits of the hash. @throws VirtioPmdError ECONFIG without RSS */
  retaQuery(): readonly number[] {
    return this.config().reta;
  }

  /** rte_eth_dev_rss_reta_update: other entries stay unchanged. @throws VirtioPmdError ECONFIG, EPEER */
  retaUpdate(entries: RetaEntries): void {
    checkArgument('retaUpdate', 'entries', entries, iterable);
    const list = [...entries];
    checkArgument('retaUpdate', 'entries', list, pairs);
    const config = rss.updateReta(this.config(), list);
    run(this.port, this.command(config), `Failed to apply new RETA to the device of port ${this.port.portId}`);
    this.inForce = config;
  }

  /**
   * The command that makes the device use the port's queue pairs, for every start with more than one: an RSS configuration
   * where RSS was negotiated, else their number. @throws VirtioPmdError ECONFIG when the device's RSS is not sufficient
   */
  queuesCommand(): ctrlq.ControlCommand {
    if (!has(this.port.acknowledged, F.VIRTIO_NET_F_RSS)) return ctrlq.setPairsCommand(this.pairs);
    return this.command(this.config());
  }

  private command(config: rss.RssConfig): ctrlq.ControlCommand {
    return ctrlq.rssConfigCommand({ ...config, unclassifiedQueue: 0, maxTxVq: this.pairs });
  }

  private get pairs(): number {
    const { rxQueues, txQueues } = this.port;
    return Math.max(rxQueues, txQueues);
  }

  private capability(): rss.RssCapability {
    return rss.readRssCapability(this.port.readConfig(rss.CONFIG_RSS, rss.CONFIG_RSS_LENGTH));
  }

  /** The current configuration, adapted to the current queues. */
  private config(): rss.RssConfig {
    need(this.port, F.VIRTIO_NET_F_RSS, 'RSS support requested but not supported by the device');
    return (this.inForce = rss.initialRss(this.capability(), this.port.rxQueues, this.inForce));
  }

  /** Configures the hash report without RSS. With RSS, `queuesCommand` configures hashing at start. */
  restore(): void {
    const { acknowledged } = this.port;
    if (!has(acknowledged, F.VIRTIO_NET_F_HASH_REPORT) || has(acknowledged, F.VIRTIO_NET_F_RSS)) return;
    const hashTypes = rss.knownHashTypes(this.capability());
    tellAgain(this.port, [[ctrlq.hashConfigCommand({ hashTypes, key: rss.DEFAULT_RSS_KEY }), 'the hash report']]);
  }
}
