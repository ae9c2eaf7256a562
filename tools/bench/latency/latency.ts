/**
 * `npm run bench -- latency`: the time of packets from our generator through a front-end and back, at a steady rate: our
 * virtio_user and DPDK's in turn.
 */
import { join } from 'node:path';
import { VirtioPmdError } from '../../../native/errors.js';
import { recipeNamed } from '../../common/recipes.js';
import { formatTable } from '../../common/table.js';
import { frontCommand, pathsFromLog, type Paths } from '../common/front.js';
import { RESULT_LINE, startGenerator } from '../common/jobs.js';
import { microseconds, mpps } from '../common/figures.js';
import { measure, SIDES, type Context, type Result, type Side } from '../common/measurement.js';
import type { GeneratorJob, GeneratorResult } from './generator-main.js';
import { START, withScope } from '../common/scope.js';
import { median } from '../common/statistics.js';

export interface LatencyOptions {
  readonly recipes: readonly string[];
  /** Bytes of a packet. */
  readonly size: number;
  readonly pairs: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** Packets per second; undefined: half of the highest rate of a recipe's slower side. */
  readonly pps: number | undefined;
}

export interface LatencyRun extends GeneratorResult, Paths {
  readonly recipe: string;
  readonly pair: number;
  readonly side: Side;
  /** Target rate in packets per second; 0: as many as possible. */
  readonly rate: number;
}

export interface LatencyResult extends Result<'latency', LatencyOptions> {
  /** Runs of the search for the highest rate. */
  readonly probes: readonly LatencyRun[];
  readonly runs: readonly LatencyRun[];
}

const PROBE_SECONDS = 2;

export function runLatency(options: LatencyOptions, context: Context): Promise<LatencyResult> {
  const { print } = context;
  const probes: LatencyRun[] = [];
  const runs: LatencyRun[] = [];
  return measure('latency', options, context, { probes, runs }, async (keep) => {
    const add = async (list: LatencyRun[], recipe: string, pair: number, side: Side, rate: number) => {
      const seconds = rate === 0 ? PROBE_SECONDS : options.seconds;
      const run = await measureOne({ ...options, seconds }, context, recipe, side, rate);
      list.push({ recipe, pair, side, rate, ...run });
      keep();
      return list.at(-1)!;
    };
    for (const recipe of options.recipes) {
      let rate = options.pps;
      if (rate === undefined) {
        const most: number[] = [];
        for (const side of SIDES) most.push((await add(probes, recipe, 0, side, 0)).pps);
        rate = Math.round(Math.min(...most) / 2);
        print(`${recipe}: at most ours ${mpps(most[0]!)}, DPDK ${mpps(most[1]!)} Mpps; measuring at ${mpps(rate)}`);
      }
      for (let pair = 0; pair < options.pairs; pair++) {
        for (const side of SIDES) {
          const { latency } = await add(runs, recipe, pair, side, rate);
          const [p50, p999] = [microseconds(latency.p50), microseconds(latency.p999)];
          print(`${recipe}: ${side} p50 ${p50}, p99.9 ${p999}, max ${microseconds(latency.max)} µs`);
        }
      }
    }
  });
}

function measureOne(
  options: LatencyOptions,
  context: Context,
  recipe: string,
  side: Side,
  pps: number,
): Promise<GeneratorResult & Paths> {
  const { program, machine, signal } = context;
  const { size, seconds, warmUpSeconds } = options;
  return withScope(signal, async (scope) => {
    const socket = join(scope.directory, 's');
    const job: GeneratorJob = { socket, size, pps, seconds, warmUpSeconds };
    const generator = await startGenerator(scope, 'latency/generator-main.ts', job);
    const vdevs = [`net_virtio_user0,path=${socket},queues=1,${recipeNamed(recipe).devargs}`];
    const avx512 = machine.flags.includes('avx512f');
    const front = await scope.testpmd(side, frontCommand(side, { vdevs, program, avx512 }));
    await front.ask('start', START);
    const status = await generator.end();
    const line = RESULT_LINE.exec(generator.output)?.[0];
    if (line === undefined) {
      const why = generator.output.replace('listening\n', '').trim();
      throw new VirtioPmdError('EPEER', `${recipe}, ${side}: the generator ended with ${status}: ${why}`);
    }
    return { ...(JSON.parse(line) as GeneratorResult), ...pathsFromLog(front.output) };
  });
}

const head = [
  ...['Recipe', 'Side', 'Mpps', 'p50 µs', 'p99 µs', 'p99.9 µs', 'max µs', 'p99.9/p50'],
  ...['lost ppm', 'set apart ppm', 'their max µs'],
];

/** One line per recipe and side: the medians of its runs, and the largest maximum. */
export function latencyTable(result: LatencyResult): string {
  const rows = result.options.recipes.flatMap((recipe) =>
    SIDES.flatMap((side) => {
      const runs = result.runs.filter((run) => run.recipe === recipe && run.side === side);
      if (runs.length === 0) return [];
      const of = (pick: (run: LatencyRun) => number) => median(runs.map(pick));
      const max = (pick: (run: LatencyRun) => number) => Math.max(...runs.map(pick));
      const lost = of((run) => ((run.sent - run.received) / run.sent) * 1e6);
      const tainted = of((run) => (run.tainted.count / run.received) * 1e6);
      return [
        [
          ...[recipe, side === 'ours' ? 'ours' : 'DPDK', mpps(of((run) => run.pps))],
          ...[of((run) => run.latency.p50), of((run) => run.latency.p99), of((run) => run.latency.p999)].map(
            microseconds,
          ),
          microseconds(max((run) => run.latency.max)),
          of((run) => run.latency.p999 / run.latency.p50).toFixed(1),
          ...[lost.toFixed(1), tainted.toFixed(1), microseconds(max((run) => run.tainted.max))],
        ],
      ];
    }),
  );
  return formatTable(head, rows);
}
