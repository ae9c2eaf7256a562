/**
 * `node generator-main.ts '{...}'`: a vhost-user back-end with a Generator, for one front-end. Prints `listening` and, after
 * the measurement, its result as one line of JSON.
 */
import { Generator } from './generator.js';
import { checkTime, runGenerator, START_MS, type FrontEnd } from '../common/generator-process.js';
import type { Histogram } from '../common/histogram.js';

export interface GeneratorJob {
  readonly socket: string;
  readonly size: number;
  /** Packets per second; 0: as many as the guest takes. */
  readonly pps: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
}

/** Nanoseconds. */
export interface Percentiles {
  readonly count: number;
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

export interface GeneratorResult {
  readonly sent: number;
  readonly received: number;
  readonly refused: number;
  readonly skipped: number;
  /** Packets per second that came back. */
  readonly pps: number;
  readonly latency: Percentiles;
  /** Packets that were in flight while the generator was stalled. */
  readonly tainted: Percentiles;
  readonly stalls: number;
  readonly longestStallNs: number;
}

/** How long to wait for packets in flight at the end; those still missing then are lost. */
const DRAIN_MS = 1000;

const percentiles = (histogram: Histogram): Percentiles => ({
  count: histogram.count,
  mean: Math.round(histogram.mean),
  p50: histogram.quantile(0.5),
  p99: histogram.quantile(0.99),
  p999: histogram.quantile(0.999),
  max: histogram.max,
});

function generate(job: GeneratorJob, { guest, pool, clock, lookAfter }: FrontEnd): GeneratorResult {
  const perMs = job.pps === 0 ? Infinity : job.pps / 1000;
  const generator = new Generator(guest, pool, { size: job.size, perMs, clock });

  /** Runs turns until `end`, or until `enough` returns true. */
  const run = (end: number, making: boolean, enough = () => false) => {
    for (;;) {
      const now = generator.turn(making);
      if (now >= end || enough()) return now;
      lookAfter(now);
    }
  };
  const drain = () => run(clock() + DRAIN_MS, false, () => generator.outstanding === 0);
  const deadline = clock() + START_MS;
  checkTime(run(deadline, true, () => generator.received > 0) < deadline);
  run(clock() + job.warmUpSeconds * 1000, true);
  drain();
  generator.restart();
  const begun = clock();
  const elapsed = run(begun + job.seconds * 1000, true) - begun;
  const { received } = generator;
  drain();
  return {
    ...{ sent: generator.sent, received: generator.received, refused: generator.refused, skipped: generator.skipped },
    pps: Math.round((received / elapsed) * 1000),
    latency: percentiles(generator.latency),
    tainted: percentiles(generator.tainted),
    stalls: generator.stalls,
    longestStallNs: Math.round(generator.longestStall * 1e6),
  };
}

runGenerator(2048, generate);
