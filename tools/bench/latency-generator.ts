/**
 * `node latency-generator.ts '{...}'`: a vhost-user back-end with a Generator behind it, for one front-end. Prints
 * `listening`, then, when it has measured, its result as one line of JSON.
 */
import { pinThread } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { createEal } from '../../driver/eal.js';
import { VhostDriver } from '../../driver/vhost/index.js';
import { Generator } from './generator.js';
import type { Histogram } from './histogram.js';
import { peerCpu } from './testpmd.js';

export interface GeneratorJob {
  readonly socket: string;
  readonly size: number;
  /** 0: as many as the guest takes. */
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
  /** Packets that were on their way while the generator stood still. */
  readonly tainted: Percentiles;
  readonly stalls: number;
  readonly longestStallNs: number;
}

const GUEST_TIMEOUT_MS = 60_000;
/** Patience with packets on their way; those that are still missing then are lost. */
const DRAIN_MS = 1000;
const POLL_MS = 100;

const percentiles = (histogram: Histogram): Percentiles => ({
  count: histogram.count,
  mean: Math.round(histogram.mean),
  p50: histogram.quantile(0.5),
  p99: histogram.quantile(0.99),
  p999: histogram.quantile(0.999),
  max: histogram.max,
});

/** @throws VirtioPmdError ETIMEOUT when no packet comes back, EPEER when the front-end goes away. */
function generate(job: GeneratorJob): GeneratorResult {
  using eal = createEal({ noHuge: true, log: () => {} });
  pinThread([peerCpu]);
  const pool = eal.mempool(eal.createMempool({ name: 'generator', count: 2048 }));
  using driver = new VhostDriver(job.socket, {}, {});
  driver.start();
  process.stdout.write('listening\n');
  const clock = () => performance.now();
  const deadline = clock() + GUEST_TIMEOUT_MS;
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const device = () => driver.devices.find((candidate) => candidate.isRunning(0) && candidate.isRunning(1));
  while (device() === undefined) {
    driver.poll();
    Atomics.wait(sleeper, 0, 0, 1);
    checkTime(clock() < deadline);
  }
  const guest = device()!;
  const perMs = job.pps === 0 ? Infinity : job.pps / 1000;
  const generator = new Generator(guest, pool, { size: job.size, perMs, clock });

  let polledAt = 0;
  /** Turns until `end`, or until `enough`. */
  const run = (end: number, making: boolean, enough = () => false) => {
    for (;;) {
      const now = generator.turn(making);
      if (now >= end || enough()) return now;
      if (now - polledAt < POLL_MS) continue;
      polledAt = now;
      driver.poll();
      if (!guest.isRunning(0)) throw new VirtioPmdError('EPEER', 'the front-end has gone away');
    }
  };
  const drain = () => run(clock() + DRAIN_MS, false, () => generator.outstanding === 0);
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

function checkTime(inTime: boolean): void {
  if (inTime) return;
  throw new VirtioPmdError('ETIMEOUT', `no packet came back within ${GUEST_TIMEOUT_MS / 1000} s`);
}

try {
  process.stdout.write(`${JSON.stringify(generate(JSON.parse(process.argv[2]!) as GeneratorJob))}\n`);
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
