/** `show port info|summary|macs|...`, `show rxq|txq info`, `show device info`, in dpdk-testpmd's format. */
import type { Link, PortInfo, QueueInfo } from '../../../driver/port/types.js';
import { formatSpeed } from '../../common/link.js';
import { offloadNames, type Direction } from '../names/offloads.js';
import { formatTypeNames, namesOfRssTypes } from '../names/rss-types.js';

const stars = '*'.repeat(21);
const onOff = (value: boolean) => (value ? 'on' : 'off');
const enabled = (value: boolean) => (value ? 'enabled' : 'disabled');

export function formatPortInfo(info: PortInfo, link: Link): string {
  const { rxOffloads } = info;
  const lines = [
    '',
    `${stars} Infos for port ${String(info.portId).padEnd(2)} ${stars}`,
    `MAC address: ${info.mac.toUpperCase()}`,
    `Device name: ${info.name}`,
    `Driver name: ${info.driver}`,
    'Firmware-version: not available',
    `Devargs: ${info.devargs}`,
    'Connect to socket: 0',
    'memory allocation on the socket: 0',
    `Link status: ${link.up ? 'up' : 'down'}`,
    `Link speed: ${formatSpeed(link)}`,
    'Link duplex: full-duplex',
    `Autoneg status: ${link.speed === undefined ? 'On' : 'Off'}`,
    `MTU: ${info.mtu}`,
    `Promiscuous mode: ${enabled(info.promiscuous)}`,
    `Allmulticast mode: ${enabled(info.allmulticast)}`,
    `Maximum number of MAC addresses: ${info.maxMacAddrs}`,
    'Maximum number of MAC addresses of hash filtering: 0',
    'VLAN offload: ',
    `  strip ${onOff((rxOffloads & 0x1) !== 0)}, filter ${onOff((rxOffloads & 0x200) !== 0)}, extend off, qinq strip off`,
    ...rssLines(info),
    `Minimum size of RX buffer: ${info.minRxBufSize}`,
    `Maximum configurable length of RX packet: ${info.maxRxPktLen}`,
    'Maximum configurable size of LRO aggregated packet: 0',
    `Current number of RX queues: ${info.rxQueues}`,
    `Max possible RX queues: ${info.maxRxQueues}`,
    ...descriptorLines('RX', info),
    `Current number of TX queues: ${info.txQueues}`,
    `Max possible TX queues: ${info.maxTxQueues}`,
    ...descriptorLines('TX', info),
    'Max segment number per packet: 65535',
    'Max segment number per MTU/TSO: 65535',
    'Device capabilities: 0x0( )',
    'Device error handling mode: none',
  ];
  if (info.privateInfo.length > 0) {
    lines.push('Device private info:', ...info.privateInfo.map(([name, value]) => `  ${name}: ${value}`));
  }
  return lines.join('\n');
}

function rssLines({ rss }: PortInfo): string[] {
  const lines: string[] = [];
  if (rss.keySize > 0) lines.push(`Hash key size in bytes: ${rss.keySize}`);
  if (rss.retaSize > 0) lines.push(`Redirection table size: ${rss.retaSize}`);
  if (rss.flowTypes === 0n) return [...lines, 'No RSS offload flow type is supported.'];
  return [...lines, 'Supported RSS offload flow types:', formatTypeNames(namesOfRssTypes(rss.flowTypes))];
}

function descriptorLines(side: 'RX' | 'TX', info: PortInfo): string[] {
  return [
    `Max possible number of ${side}Ds per queue: ${info.maxDesc}`,
    `Min possible number of ${side}Ds per queue: ${info.minDesc}`,
    `${side}Ds number alignment: 1`,
  ];
}

export interface PortSummary {
  readonly portId: number;
  readonly mac: string;
  readonly name: string;
  readonly driver: string;
  readonly link: Link;
}

export function formatSummary(available: number, ports: readonly PortSummary[]): string {
  return [
    `Number of available ports: ${available}`,
    'Port MAC Address       Name         Driver         Status   Link',
    ...ports.map(
      ({ portId, mac, name, driver, link }) =>
        `${String(portId).padEnd(4)} ${mac.toUpperCase().padEnd(17)} ${name.padEnd(12)} ${driver.padEnd(14)} ${(link.up ? 'up' : 'down').padEnd(8)} ${formatSpeed(link)}`,
    ),
  ].join('\n');
}

const state = ({ started }: QueueInfo) => (started ? 'started' : 'stopped');

export function formatRxQueue(portId: number, info: QueueInfo, bufferSize: number): string {
  return `
${stars} Infos for port ${String(portId).padEnd(2)}, RX queue ${String(info.queueId).padEnd(2)} ${stars}
Mempool: ${info.mempool}
RX prefetch threshold: 0
RX host threshold: 0
RX writeback threshold: 0
RX free threshold: ${info.freeThresh}
RX drop packets: on
RX deferred start: off
RX scattered packets: ${onOff(info.scattered)}
Rx queue state: ${state(info)}
RX buffer size: ${bufferSize}
Number of RXDs: ${info.nbDesc}
Burst mode: ${info.burstMode}${broken(info)}`;
}

export function formatTxQueue(portId: number, info: QueueInfo): string {
  return `
${stars} Infos for port ${String(portId).padEnd(2)}, TX queue ${String(info.queueId).padEnd(2)} ${stars}
TX prefetch threshold: 0
TX host threshold: 0
TX writeback threshold: 0
TX RS threshold: 0
TX free threshold: ${info.freeThresh}
TX deferred start: off
Tx queue state: ${state(info)}
Number of TXDs: ${info.nbDesc}
Burst mode: ${info.burstMode}${broken(info)}`;
}

const broken = ({ broken: why }: QueueInfo) => (why === undefined ? '' : `\nBroken: ${why}`);

export function formatOffloadCapabilities(direction: Direction, info: PortInfo): string {
  const side = direction === 'rx' ? 'Rx' : 'Tx';
  const bits = direction === 'rx' ? info.rxOffloadCapa : info.txOffloadCapa;
  return `${side} Offloading Capabilities of port ${info.portId} :
  Per Queue :
  Per Port  :${offloadNames(direction, bits)}
`;
}

/** @param wanted offloads from the port's next start on; shown for queues, as in DPDK */
export function formatOffloadConfiguration(direction: Direction, info: PortInfo, wanted: number): string {
  const side = direction === 'rx' ? 'Rx' : 'Tx';
  const bits = direction === 'rx' ? info.rxOffloads : info.txOffloads;
  const queues = direction === 'rx' ? info.rxQueues : info.txQueues;
  const names = offloadNames(direction, wanted);
  const lines = Array.from({ length: queues }, (_, q) => `  Queue[${String(q).padStart(2)}] :${names}`);
  return [
    `${side} Offloading Configuration of port ${info.portId} :`,
    `  Port :${offloadNames(direction, bits)}`,
    ...lines,
    '',
  ].join('\n');
}

export function formatDevice(info: PortInfo): string {
  return `
${stars} Infos for device ${info.name} ${stars}
Bus name: vdev
Bus information: 
Driver name: ${info.driver}
Devargs: ${info.devargs}
Connect to socket: -1

\tPort id: ${info.portId} 
\tMAC address: ${info.mac.toUpperCase()}
\tDevice name: ${info.name}
\tDevice speed capability: Autonegotiate (all speeds)`;
}
