/** Statistics of l3fwd-power: tables, and the line of --telemetry. Pure. */
import { formatTable } from '../common/table.js';
import { droppedOf, FORWARD_COUNTERS, type ForwardCounts } from './forward-counters.js';
import type { LcoreCounts } from './lcore-counters.js';

/** An lcore's counters for a port: packets received from it, and sent on it. */
export interface PortWork {
  readonly portId: number;
  readonly forward: ForwardCounts;
  readonly sent: number;
  /** Packets that the Tx ring had no room for. */
  readonly noRoom: number;
}

export interface LcoreWork {
  readonly lcoreId: number;
  readonly counts: LcoreCounts;
  readonly ports: readonly PortWork[];
}

const NO_COUNTS: LcoreCounts = {
  polls: 0,
  emptyPolls: 0,
  fullPolls: 0,
  sleeps: 0,
  wakeups: 0,
  spurious: 0,
  missed: 0,
  busyMs: 0,
  elapsedMs: 0,
};

/** Percentage of the time between two readings that was spent in turns with packets: 0 to 100. */
export function busyPercent(now: LcoreCounts, before: LcoreCounts = NO_COUNTS): number {
  const elapsed = now.elapsedMs - before.elapsedMs;
  if (elapsed <= 0) return 0;
  return Math.min(100, Math.max(0, (100 * (now.busyMs - before.busyMs)) / elapsed));
}

const lcoreHead = ['lcore', 'polls', 'empty', 'full', 'sleeps', 'wake-ups', 'spurious', 'missed', 'busy %'];
const portHead = ['lcore', 'port', 'received', ...FORWARD_COUNTERS.map(([, title]) => title), 'sent', 'no room'];

export function statisticsText(lcores: readonly LcoreWork[]): string {
  const lcoreRows = lcores.map(({ lcoreId, counts }) => {
    const { polls, emptyPolls, fullPolls, sleeps, wakeups, spurious, missed } = counts;
    const numbers = [lcoreId, polls, emptyPolls, fullPolls, sleeps, wakeups, spurious, missed];
    return [...numbers.map(String), busyPercent(counts).toFixed(1)];
  });
  const portRows = lcores.flatMap(({ lcoreId, ports }) =>
    ports.map(({ portId, forward, sent, noRoom }) => {
      const received = forward.ipv4 + forward.ipv6 + droppedOf(forward);
      return [lcoreId, portId, received, ...FORWARD_COUNTERS.map(([name]) => forward[name]), sent, noRoom].map(String);
    }),
  );
  return ['', formatTable(lcoreHead, lcoreRows), '', formatTable(portHead, portRows), ''].join('\n');
}

/** The sample's telemetry values over all lcores, and ours by lcore. `busy` is since `before`, the rest since the start. */
export function telemetryLine(now: readonly LcoreWork[], before: readonly LcoreWork[]): string {
  const lcores = now.map(({ lcoreId, counts }) => {
    const { polls, emptyPolls, fullPolls, sleeps, wakeups, spurious, missed } = counts;
    const old = before.find((lcore) => lcore.lcoreId === lcoreId)?.counts;
    const busy = Number(busyPercent(counts, old).toFixed(1));
    return { lcore: lcoreId, polls, emptyPolls, fullPolls, sleeps, wakeups, spurious, missed, busy };
  });
  const sum = (pick: (lcore: (typeof lcores)[number]) => number) => lcores.reduce((total, l) => total + pick(l), 0);
  const stats = {
    empty_poll: sum((lcore) => lcore.emptyPolls),
    full_poll: sum((lcore) => lcore.fullPolls),
    busy_percent: Math.round(sum((lcore) => lcore.busy) / Math.max(1, lcores.length)),
  };
  return JSON.stringify({ '/l3fwd_power/stats': stats, lcores });
}
