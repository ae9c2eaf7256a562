/** Information on a port: rte_eth_dev_info. */
import { MAX_QUEUE_SIZE } from '../../paths/layout.js';
import { splitDevargs } from '../devargs/devargs.js';
import { maxMtuOf, MIN_DESC, MIN_MTU, restOf, type PortLimits, type ResolvedConfig } from './config.js';
import { Absent, type PortDevice } from './device.js';
import { RX_OFFLOAD_VLAN_FILTER, type PortInfo } from './types.js';

const NO_RSS: PortInfo['rss'] = { keySize: 0, retaSize: 0, flowTypes: 0n };

export interface InfoInput {
  readonly port: {
    readonly id: number;
    readonly name: string;
    readonly devargs: string;
    readonly mac: string;
    readonly started: boolean;
    /** With the current MTU. */
    readonly config: ResolvedConfig | undefined;
  };
  readonly device: PortDevice;
  readonly limits: PortLimits;
  readonly mtu: number;
}

export function portInfo({ port, device, limits, mtu }: InfoInput): PortInfo {
  const { config } = port;
  const filters = device.filters instanceof Absent ? undefined : device.filters;
  // the current state; the configuration has the initial one
  const vlanFilter = config !== undefined && filters?.vlanFilterEnabled === true;
  return {
    portId: port.id,
    name: port.name,
    driver: device.driverName,
    devargs: splitDevargs(port.devargs).args,
    mac: port.mac,
    mtu,
    minMtu: MIN_MTU,
    maxMtu: maxMtuOf(limits),
    promiscuous: filters?.promiscuous ?? false,
    allmulticast: filters?.allmulticast ?? false,
    rss: device.rss instanceof Absent ? NO_RSS : device.rss.rssInfo,
    ...restOf(limits),
    maxRxQueues: limits.maxRxQueues,
    maxTxQueues: limits.maxTxQueues,
    rxQueues: config?.rxQueues ?? 0,
    txQueues: config?.txQueues ?? 0,
    minDesc: MIN_DESC,
    maxDesc: MAX_QUEUE_SIZE,
    queueSize: Math.max(limits.queueSize, limits.txQueueSize ?? 0),
    rxOffloadCapa: limits.rxOffloadCapa,
    txOffloadCapa: limits.txOffloadCapa,
    rxOffloads: ((config?.rxOffloads ?? 0) & ~RX_OFFLOAD_VLAN_FILTER) | (vlanFilter ? RX_OFFLOAD_VLAN_FILTER : 0),
    txOffloads: config?.txOffloads ?? 0,
    started: port.started,
    privateInfo: device.privateInfo(mtu),
  };
}
