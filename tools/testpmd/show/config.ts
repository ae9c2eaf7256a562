/** `show config fwd|rxtx|cores|txpkts`, and the output of `start`, in dpdk-testpmd's format. */
import { nameOf, type Mode } from '../engines/modes.js';
import type { ForwardingPlan } from '../topology.js';

export interface ForwardingText {
  readonly mode: Mode;
  readonly retry: boolean;
  readonly retries: number;
  readonly retryDelayUs: number;
  readonly plan: ForwardingPlan;
  /** Destination MAC address of a port. */
  readonly peerOf: (portId: number) => string;
}

const modeText = (mode: Mode, retry: boolean) => `${nameOf(mode)} packet forwarding${retry ? ' with retry' : ''}`;

export function formatForwarding({ mode, retry, retries, retryDelayUs, plan, peerOf }: ForwardingText): string {
  const { ports, lcores, streams } = plan;
  const lines = [
    `${modeText(mode, retry)} - ports=${ports.length} - cores=${lcores.length} - streams=${streams.length} - NUMA support enabled, MP allocation mode: native`,
  ];
  if (retry) lines.push(`TX retry num: ${retries}, delay between TX retries: ${retryDelayUs}us`);
  for (const lcore of lcores) {
    lines.push(`Logical Core ${lcore.lcoreId} (socket 0) forwards packets on ${lcore.streams.length} streams:`);
    for (const { rxPort, rxQueue, txPort, txQueue } of lcore.streams) {
      lines.push(
        `  RX P=${rxPort}/Q=${rxQueue} (socket 0) -> TX P=${txPort}/Q=${txQueue} (socket 0) peer=${peerOf(txPort)}`,
      );
    }
  }
  return [...lines, ''].join('\n');
}

export interface PortRxTx {
  readonly portId: number;
  readonly rxQueues: number;
  readonly txQueues: number;
  readonly rxDesc: number;
  readonly txDesc: number;
  readonly rxFreeThresh: number;
  readonly txFreeThresh: number;
  readonly rxOffloads: number;
  readonly txOffloads: number;
}

export interface RxTxText {
  readonly mode: Mode;
  readonly retry: boolean;
  readonly burst: number;
  /** Bytes of each segment of generated packets. */
  readonly txSegments: readonly number[];
  readonly cores: number;
  readonly forwardingPorts: number;
  readonly ports: readonly PortRxTx[];
}

function formatPort(port: PortRxTx): string {
  return `  port ${port.portId}: RX queue number: ${port.rxQueues} Tx queue number: ${port.txQueues}
    Rx offloads=0x${port.rxOffloads.toString(16)} Tx offloads=0x${port.txOffloads.toString(16)}
    RX queue: 0
      RX desc=${port.rxDesc} - RX free threshold=${port.rxFreeThresh}
      RX threshold registers: pthresh=0 hthresh=0  wthresh=0
      RX Offloads=0x${port.rxOffloads.toString(16)}
    TX queue: 0
      TX desc=${port.txDesc} - TX free threshold=${port.txFreeThresh}
      TX threshold registers: pthresh=0 hthresh=0  wthresh=0
      TX offloads=0x${port.txOffloads.toString(16)} - TX RS bit threshold=0`;
}

export function formatRxTx(config: RxTxText): string {
  const { mode, txSegments } = config;
  const lines = [`  ${modeText(mode, config.retry)} packets/burst=${config.burst}`];
  if (mode === 'txonly' || mode === 'flowgen') {
    const length = txSegments.reduce((sum, bytes) => sum + bytes, 0);
    lines.push(`  packet len=${length} - nb packet segments=${txSegments.length}`);
  }
  lines.push(`  nb forwarding cores=${config.cores} - nb forwarding ports=${config.forwardingPorts}`);
  return [...lines, ...config.ports.map(formatPort)].join('\n');
}

export function formatFlows(ports: readonly number[], flows: number): string {
  return ports.map((port) => `  number of flows for port ${port}: ${flows}`).join('\n');
}

export function formatCores(lcores: readonly number[]): string {
  return `List of forwarding lcores: ${lcores.map((id) => ` ${id}`).join('')}`;
}

export function formatTxPackets(segments: readonly number[]): string {
  return `Number of segments: ${segments.length}\nSegment sizes: ${segments.join(',')}\nSplit packet: off`;
}
