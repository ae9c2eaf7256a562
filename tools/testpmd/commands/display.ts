import type { Args, Row } from './grammar.js';
import type { Forwarding } from '../forwarding.js';
import { forwardingText, rxTxText } from '../forwarding.js';
import type { Direction } from '../names/offloads.js';
import type { PortEntry, Session } from '../session.js';
import { formatCores, formatTxPackets } from '../show/config.js';
import * as info from '../show/info.js';
import { formatPath } from '../show/path.js';
import { formatPortStats, formatXstats, noRates, ratesBetween } from '../show/stats.js';
import type { Testpmd } from '../testpmd.js';

/** A port's statistics, with the rates since the last display. */
export function portStatsText(entry: PortEntry): string {
  const { port } = entry;
  const stats = port.stats();
  const at = performance.now();
  const rates = entry.shown ? ratesBetween(entry.shown.stats, stats, (at - entry.shown.at) / 1000) : noRates;
  entry.shown = { stats, at };
  return formatPortStats(port.id, stats, rates);
}

function showPort(session: Session, what: string, entry: PortEntry): void {
  const { port } = entry;
  if (what === 'info') session.print(info.formatPortInfo(port.info(), port.link));
  else if (what === 'stats') session.print(portStatsText(entry));
  else session.print(formatXstats(port.id, port.xstats()));
}

function summaryOf({ port }: PortEntry): info.PortSummary {
  const { driver } = port.info();
  return { portId: port.id, mac: port.mac, name: port.name, driver, link: port.link };
}

function select(session: Session, args: Args): PortEntry[] {
  const entries = session.select(args.port());
  if (entries.length === 0 && args.port() !== 'all') {
    session.print(`The valid ports array is [ ${session.portIds.map((id) => `${id} `).join('')}]`);
  }
  return entries;
}

function clearPort(
  { session, forwarding }: { session: Session; forwarding: Forwarding },
  what: string,
  entry: PortEntry,
) {
  const { port } = entry;
  if (what === 'stats') port.resetStats();
  else port.resetXstats();
  entry.shown = undefined;
  forwarding.rebase(port.id);
  if (what === 'stats') session.print(`\n  NIC statistics for port ${port.id} cleared`);
}

function showQueue(session: Session, direction: Direction, entry: PortEntry, queue: number): void {
  const { port } = entry;
  session.attempt(() => {
    const text =
      direction === 'rx'
        ? info.formatRxQueue(port.id, port.rxQueueInfo(queue), session.mempool.dataRoom)
        : info.formatTxQueue(port.id, port.txQueueInfo(queue));
    session.print(text);
  });
}

function showConfig({ session }: Testpmd, what: string): void {
  if (what === 'fwd') session.print(forwardingText(session, session.plan()));
  else if (what === 'rxtx') session.print(rxTxText(session));
  else if (what === 'cores') session.print(formatCores(session.forwardingCores));
  else session.print(formatTxPackets(session.settings.packets.segments));
}

export const displayCommands: readonly Row<Testpmd>[] = [
  {
    syntax: 'show port what:(info|stats|xstats) <port:port>',
    help: 'Show a port, its statistics, or its extended statistics.',
    run: ({ session }, args) => {
      for (const entry of select(session, args)) showPort(session, args.text('what'), entry);
    },
  },
  {
    syntax: 'show port summary <port:port>',
    help: 'Show ports in one line each.',
    run: ({ session }, args) => {
      const entries = select(session, args);
      if (entries.length > 0 || args.port() === 'all') {
        session.print(info.formatSummary(session.ports.size, entries.map(summaryOf)));
      }
    },
  },
  {
    syntax: 'show port <port:u16> path',
    help: 'Show which Rx and Tx path the port uses, why, and which features were negotiated.',
    run: ({ session }, args) => {
      for (const { port } of select(session, args)) {
        session.attempt(() => session.print(formatPath(port.id, port.path())));
      }
    },
  },
  {
    syntax: 'show port <port:u16> side:(rx_offload|tx_offload) what:(capabilities|configuration)',
    help: 'Show the offloads that a port can do, or does.',
    run: ({ session }, args) => {
      const direction = args.text('side') === 'rx_offload' ? 'rx' : 'tx';
      for (const { port, rxOffloads, txOffloads } of select(session, args)) {
        const text =
          args.text('what') === 'capabilities'
            ? info.formatOffloadCapabilities(direction, port.info())
            : info.formatOffloadConfiguration(direction, port.info(), direction === 'rx' ? rxOffloads : txOffloads);
        session.print(text);
      }
    },
  },
  {
    syntax: 'show side:(rxq|txq) info <port:u16> <queue:u16>',
    help: 'Show a queue.',
    run: ({ session }, args) => {
      const direction = args.text('side') === 'rxq' ? 'rx' : 'tx';
      for (const entry of session.select(args.number('port')))
        showQueue(session, direction, entry, args.number('queue'));
    },
  },
  {
    syntax: 'show config what:(rxtx|cores|fwd|txpkts)',
    help: 'Show the configuration.',
    run: (testpmd, args) => showConfig(testpmd, args.text('what')),
  },
  {
    syntax: 'show fwd stats all',
    help: 'Show what was forwarded since the last start.',
    run: ({ forwarding }) => forwarding.show(),
  },
  {
    syntax: 'show device info <device>',
    help: 'Show a device by its name, or all devices.',
    run: ({ session }, args) => {
      const name = args.text('device');
      for (const { port } of session.select('all')) {
        if (name === 'all' || name === port.name) session.print(info.formatDevice(port.info()));
      }
    },
  },
  {
    syntax: 'clear port what:(stats|xstats) <port:port>',
    help: 'Clear the statistics of a port.',
    run: (testpmd, args) => {
      for (const entry of select(testpmd.session, args)) clearPort(testpmd, args.text('what'), entry);
    },
  },
  {
    syntax: 'clear fwd stats all',
    help: 'Forget what was forwarded so far.',
    run: ({ forwarding }) => forwarding.clear(),
  },
];
