/** `show port stats|xstats`, `show fwd stats`, and the output of `stop`, in dpdk-testpmd's format. */
import type { StreamCounts } from '../../../driver/port/stream-counters.js';
import type { PortStats } from '../../../driver/port/types.js';
import type { Stream } from '../topology.js';

const hashes = '#'.repeat(24);
const dashes = '-'.repeat(22);
const pluses = '+'.repeat(15);

const left = (value: number, width: number) => String(value).padEnd(width);
const right = (value: number, width: number) => String(value).padStart(width);

/** Packets and bits per second since the last display. */
export interface Rates {
  readonly rxPackets: number;
  readonly rxBits: number;
  readonly txPackets: number;
  readonly txBits: number;
}

export const noRates: Rates = { rxPackets: 0, rxBits: 0, txPackets: 0, txBits: 0 };

export function ratesBetween(before: PortStats, now: PortStats, seconds: number): Rates {
  // a counter that decreased was cleared
  const rate = (from: number, to: number) => (seconds > 0 && to > from ? Math.floor((to - from) / seconds) : 0);
  return {
    rxPackets: rate(before.ipackets, now.ipackets),
    rxBits: rate(before.ibytes, now.ibytes) * 8,
    txPackets: rate(before.opackets, now.opackets),
    txBits: rate(before.obytes, now.obytes) * 8,
  };
}

export function formatPortStats(portId: number, stats: PortStats, rates: Rates): string {
  return `
  ${hashes} NIC statistics for port ${left(portId, 2)} ${hashes}
  RX-packets: ${left(stats.ipackets, 10)} RX-missed: ${left(stats.imissed, 10)} RX-bytes:  ${stats.ibytes}
  RX-errors: ${stats.ierrors}
  RX-nombuf:  ${left(stats.rxNombuf, 10)}
  TX-packets: ${left(stats.opackets, 10)} TX-errors: ${left(stats.oerrors, 10)} TX-bytes:  ${stats.obytes}

  Throughput (since last show)
  Rx-pps: ${right(rates.rxPackets, 12)}          Rx-bps: ${right(rates.rxBits, 12)}
  Tx-pps: ${right(rates.txPackets, 12)}          Tx-bps: ${right(rates.txBits, 12)}
  ${hashes}${'#'.repeat(28)}${hashes}`;
}

export function formatXstats(portId: number, xstats: readonly { name: string; value: number }[]): string {
  const lines = xstats.map(({ name, value }) => `${name}: ${value}`);
  return [`###### NIC extended statistics for port ${left(portId, 2)}`, ...lines].join('\n');
}

/** A port's statistics since `start`. */
export interface PortForwardStats {
  readonly portId: number;
  readonly stats: PortStats;
  /** Packets that its Tx queues did not take from the forwarding engine. */
  readonly txDropped: number;
  /** In the csum mode: packets whose L4 checksum the device has found wrong. */
  readonly badL4?: number | undefined;
}

export interface StreamForwardStats {
  readonly stream: Stream;
  readonly counts: StreamCounts;
  readonly badL4?: number | undefined;
}

const cell = (value: number) => left(value, 14);
const row = (side: string, packets: number, dropped: number) =>
  `  ${side}-packets: ${cell(packets)} ${side}-dropped: ${cell(dropped)}${side}-total: ${packets + dropped}`;

// virtio devices check neither IP checksums nor tunnels: there are no counters for these

function formatStream({ stream, counts, badL4 }: StreamForwardStats): string {
  const number = (value: number) => right(value, 2);
  const bad =
    badL4 === undefined
      ? ''
      : `  RX- bad IP checksum: ${cell(0)}  Rx- bad L4 checksum: ${cell(badL4)} Rx- bad outer L4 checksum: ${cell(0)}
 RX- bad outer IP checksum: ${cell(0)}`;
  return `
  ------- Forward Stats for RX Port=${number(stream.rxPort)}/Queue=${number(stream.rxQueue)} -> TX Port=${number(stream.txPort)}/Queue=${number(stream.txQueue)} -------
  RX-packets: ${cell(counts.rxPackets)} TX-packets: ${cell(counts.txPackets)} TX-dropped: ${cell(counts.txDropped)}${bad}`;
}

function formatPort({ portId, stats, txDropped, badL4 }: PortForwardStats): string {
  const bad =
    badL4 === undefined
      ? ''
      : `\n  Bad-ipcsum: ${cell(0)} Bad-l4csum: ${cell(badL4)}Bad-outer-l4csum: ${cell(0)}\n  Bad-outer-ipcsum: ${cell(0)}`;
  const errors =
    stats.ierrors + stats.rxNombuf > 0 ? `\n  RX-error: ${stats.ierrors}\n  RX-nombufs: ${cell(stats.rxNombuf)}` : '';
  return `
  ${dashes} Forward statistics for port ${left(portId, 2)} ${dashes}
${row('RX', stats.ipackets, stats.imissed)}${bad}${errors}
${row('TX', stats.opackets, txDropped)}
  ${dashes}${'-'.repeat(32)}${dashes}`;
}

/** Lists streams only when there are more of them than ports, and only active ones. */
export function formatForwardStats(ports: readonly PortForwardStats[], streams: readonly StreamForwardStats[]): string {
  const busy = streams.filter(({ counts }) => counts.rxPackets + counts.txPackets + counts.txDropped > 0);
  const sum = (pick: (port: PortForwardStats) => number) => ports.reduce((total, port) => total + pick(port), 0);
  const nombuf = sum(({ stats }) => stats.rxNombuf);
  const blocks = streams.length > ports.length ? busy.map(formatStream) : [];
  const total = `
  ${pluses} Accumulated forward statistics for all ports${pluses}
${row(
  'RX',
  sum(({ stats }) => stats.ipackets),
  sum(({ stats }) => stats.imissed),
)}
${row(
  'TX',
  sum(({ stats }) => stats.opackets),
  sum(({ txDropped }) => txDropped),
)}${nombuf > 0 ? `\n  RX-nombufs: ${cell(nombuf)}` : ''}
  ${pluses}${'+'.repeat(46)}${pluses}`;
  return [...blocks, ...ports.map(formatPort), total].join('\n');
}
