/** The final tables of `npm run bench -- interrupt`. */
import { formatTable } from '../../common/table.js';
import type { InterruptResult, LoadRun } from './interrupt.js';
import type { InterruptSide, Ring } from './front.js';
import { microseconds } from '../common/figures.js';
import { best, median, pairRatios } from '../common/statistics.js';

const titles: Readonly<Record<InterruptSide, string>> = {
  interrupt: 'l3fwd-power --interrupt-only',
  polling: 'l3fwd-power --pmd-mgmt=baseline',
  dpdk: 'dpdk-testpmd (io)',
};

const percent = (share: number) => (share * 100).toFixed(2);
const largest = (values: readonly number[]) => Math.max(...values);

/** Three tables: an idle lcore, waking up, under load. */
export function interruptTable(result: InterruptResult): string {
  const { rings, sides } = result.options;
  const rows = rings.flatMap((ring) => sides.map((side) => ({ ring, side })));
  const parts = [
    ['An idle lcore', idleTable(result, rows)],
    ['One packet there and back', wakeUpTable(result, rows)],
    ['Under load', loadTable(result)],
  ];
  return parts.map(([title, table]) => `${title}\n\n${table}`).join('\n\n');
}

type Row = { readonly ring: Ring; readonly side: InterruptSide };

/** The idle table, with the largest share of all pairs: the limit is 1 %. */
function idleTable({ loads }: InterruptResult, rows: readonly Row[]): string {
  const head = ['Ring', 'Program', 'Lcore % of a CPU', 'Process %', 'Sleeps/s'];
  const lines = rows.flatMap(({ ring, side }) => {
    const idle = loads.filter((run) => run.ring === ring && run.side === side).map((run) => run.idle);
    if (idle.length === 0) return [];
    const [lcore, all] = [largest(idle.map((share) => share.lcore)), largest(idle.map((share) => share.process))];
    const sleeps = median(idle.map((share) => share.sleepsPerSecond));
    return [[ring, titles[side], percent(lcore), percent(all), sleeps.toFixed(1)]];
  });
  return formatTable(head, lines);
}

function wakeUpTable({ wakeUps }: InterruptResult, rows: readonly Row[]): string {
  const head = ['Ring', 'Program', 'Packets', 'p50 µs', 'p99 µs', 'p99.9 µs', 'max µs'];
  const more = ['Sleeps/packet', 'Set apart', 'Lost', 'Missed'];
  const lines = rows.flatMap(({ ring, side }) => {
    const run = wakeUps.find((one) => one.ring === ring && one.side === side);
    if (run === undefined) return [];
    const { count, p50, p99, p999, max } = run.latency;
    const counts = [run.tainted.count, run.sent - run.received, run.missed ?? '-'];
    const times = [p50, p99, p999, max].map(microseconds);
    return [[ring, titles[side], String(count), ...times, run.sleepsPerPacket.toFixed(2), ...counts.map(String)]];
  });
  return formatTable([...head, ...more], lines);
}

function loadTable({ loads, options }: InterruptResult): string {
  const head = ['Ring', 'Interrupt Mpps', 'Polling Mpps', 'Ratio', 'Best/best', 'Median/median'];
  const more = ['Sleeps/s', 'Pairs', 'DPDK io Mpps'];
  const lines = options.rings.flatMap((ring) => {
    const of = (side: InterruptSide) => loads.filter((run) => run.ring === ring && run.side === side);
    const [asleep, polling, dpdk] = [of('interrupt'), of('polling'), of('dpdk')];
    if (asleep.length + polling.length + dpdk.length === 0) return [];
    const pairs = pairRatios(asleep, polling);
    const windows = (runs: readonly LoadRun[]) => runs.flatMap((run) => run.windows);
    const [a, b] = [windows(asleep), windows(polling)];
    const ratios = [median(pairs), best(a) / best(b), median(a) / median(b)].map((ratio) => shown(ratio, 2));
    const sleeps = median(asleep.map((run) => run.busy.sleepsPerSecond));
    const rates = [a, b, windows(dpdk)].map((list) => shown(best(list) / 1e6, 3));
    return [[ring, rates[0]!, rates[1]!, ...ratios, shown(sleeps, 1), String(pairs.length), rates[2]!]];
  });
  return formatTable([...head, ...more], lines);
}

/** `-` for a value that was not measured. */
function shown(value: number, digits: number): string {
  return Number.isNaN(value) ? '-' : value.toFixed(digits);
}
