/**
 * `npm run bench -- interrupt`: CPU time of an idle lcore, its wake-up time, and its throughput under load, for our
 * l3fwd-power with interrupts, the same polling, and DPDK's testpmd, in turn.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { VirtioPmdError } from '../../../native/errors.js';
import { microseconds, mpps, pairOf } from '../common/figures.js';
import { MEMORY_MIB } from '../common/front.js';
import { RESULT_LINE, startGenerator } from '../common/jobs.js';
import { measure, type Context, type Result } from '../common/measurement.js';
import { cpuShare, cpuTime, type CpuShare } from './cpu.js';
import { RINGS, startFront, stopFront, type InterruptSide, type Ring } from './front.js';
import type { WakeUpJob } from './generator.js';
import type { WakeUpResult } from './wakeups.js';
import type { Peer } from '../common/peer.js';
import { PROMPT, START, STOP, withScope, type Scope } from '../common/scope.js';
import { best } from '../common/statistics.js';
import { dpdkCommand, portStats } from '../common/testpmd.js';

export interface InterruptOptions {
  readonly rings: readonly Ring[];
  readonly sides: readonly InterruptSide[];
  readonly pairs: number;
  /** One-second windows under load. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly idleSeconds: number;
  /** Number of packets, of which each finds the lcore asleep. */
  readonly wakeUps: number;
}

/** One front-end with dpdk-testpmd's net_vhost as its back-end: load, then no traffic. */
export interface LoadRun {
  readonly ring: Ring;
  readonly pair: number;
  readonly side: InterruptSide;
  /** Packets per second that came back, window by window. */
  readonly windows: readonly number[];
  /** CPU time during the windows, and afterwards without traffic. */
  readonly busy: CpuShare;
  readonly idle: CpuShare;
}

/** One front-end with our generator as its back-end: single packets. */
export interface WakeUpRun extends WakeUpResult {
  readonly ring: Ring;
  readonly side: InterruptSide;
  readonly cpu: CpuShare;
  readonly sleepsPerPacket: number;
  /** Packets that l3fwd-power found without an interrupt, through its periodic checks. */
  readonly missed?: number;
}

export interface InterruptResult extends Result<'interrupt', InterruptOptions> {
  readonly loads: readonly LoadRun[];
  readonly wakeUps: readonly WakeUpRun[];
}

/** flowgen sends each packet that it makes so many more times, so that it is not the bottleneck. */
const CLONES = '--flowgen-clones=31';
/** Milliseconds between packets: long enough for an lcore to fall asleep; one that polls needs less. */
const GAP = { asleep: [5, 20], polling: [1, 3] } as const;
/** Milliseconds from the last packet until none is in flight. */
const SETTLE_MS = 200;

export function runInterrupt(options: InterruptOptions, context: Context): Promise<InterruptResult> {
  const { print } = context;
  const loads: LoadRun[] = [];
  const wakeUps: WakeUpRun[] = [];
  return measure('interrupt', options, context, { loads, wakeUps }, async (keep) => {
    for (let pair = 0; pair < options.pairs; pair++) {
      for (const ring of options.rings) {
        await measureLoads(options, context, ring, pair, (run) => {
          loads.push(run);
          keep();
          const rate = mpps(best(run.windows));
          const idle = (run.idle.lcore * 100).toFixed(2);
          print(`${pairOf(pair, options)}  ${ring}  ${run.side}  ${rate} Mpps; idle: ${idle} % of a CPU`);
        });
      }
    }
    for (const ring of options.rings) {
      for (const side of options.sides) {
        const run = await measureWakeUps(options, context, ring, side);
        wakeUps.push(run);
        keep();
        const [p50, p99] = [run.latency.p50, run.latency.p99].map(microseconds);
        print(`${ring}  ${side}  ${run.received} packets: p50 ${p50}, p99 ${p99} µs`);
      }
    }
  });
}

/** Measures all sides in turn; DPDK's, the reference for an idle lcore, only in the first pair. */
function measureLoads(
  options: InterruptOptions,
  context: Context,
  ring: Ring,
  pair: number,
  onRun: (run: LoadRun) => void,
): Promise<void> {
  return withScope(context.signal, async (scope) => {
    const socket = join(scope.directory, 's');
    const vdevs = [`net_vhost0,iface=${socket},queues=1,client=0`];
    const vhost = await scope.testpmd('vhost', dpdkCommand({ vdevs, memoryMiB: MEMORY_MIB, args: [CLONES] }));
    for (const side of options.sides) {
      if (side === 'dpdk' && pair > 0) continue;
      const front = await startFront(scope, { side, ring, socket, ...context });
      onRun({ ring, pair, side, ...(await measureLoad(options, scope, vhost, front)) });
      await stopFront(front, side);
    }
  });
}

async function measureLoad(
  options: InterruptOptions,
  scope: Scope,
  vhost: Peer,
  front: Peer,
): Promise<Pick<LoadRun, 'windows' | 'busy' | 'idle'>> {
  const wait = (ms: number) => sleep(ms, undefined, { signal: scope.signal });
  // flowgen sends, receives and frees: the TTL of circulating packets would soon be 0
  await startMode(vhost, 'flowgen');
  await wait(options.warmUpSeconds * 1000);
  const windows: number[] = [];
  const before = cpuTime(front.pid);
  await portStats(vhost);
  for (let i = 0; i < options.seconds; i++) {
    await wait(1000);
    windows.push((await portStats(vhost)).rxPps);
  }
  const busy = cpuShare(before, cpuTime(front.pid));
  await vhost.ask('stop', STOP);

  await startMode(vhost, 'rxonly'); // polls without traffic
  await wait(SETTLE_MS);
  const quiet = cpuTime(front.pid);
  await wait(options.idleSeconds * 1000);
  const idle = cpuShare(quiet, cpuTime(front.pid));
  await vhost.ask('stop', STOP);
  return { windows, busy, idle };
}

async function startMode(vhost: Peer, mode: string): Promise<void> {
  await vhost.ask(`set fwd ${mode}`, PROMPT);
  await vhost.ask('start', START);
}

function measureWakeUps(
  options: InterruptOptions,
  context: Context,
  ring: Ring,
  side: InterruptSide,
): Promise<WakeUpRun> {
  return withScope(context.signal, async (scope) => {
    const socket = join(scope.directory, 's');
    const [minGapMs, maxGapMs] = side === 'interrupt' ? GAP.asleep : GAP.polling;
    const { wakeUps: count, warmUpSeconds } = options;
    const job: WakeUpJob = { socket, count, minGapMs, maxGapMs, warmUpSeconds };
    const generator = await startGenerator(scope, 'interrupt/generator.ts', job);
    const front = await startFront(scope, { side, ring, socket, ...context });
    await generator.waitFor(/measuring\n/, 60_000);
    const before = cpuTime(front.pid);
    const line = await generator.waitFor(RESULT_LINE, count * maxGapMs + 60_000);
    const after = cpuTime(front.pid);
    const missed = (await stopFront(front, side))?.['missed'];
    const result = JSON.parse(line[0]) as WakeUpResult;
    if (result.received === 0) throw new VirtioPmdError('EPEER', `${ring}, ${side}: no packet came back`);
    const sleepsPerPacket = (after.sleeps - before.sleeps) / result.sent;
    const run = { ring, side, ...result, cpu: cpuShare(before, after), sleepsPerPacket };
    return missed === undefined ? run : { ...run, missed };
  });
}

export const ringNames = Object.keys(RINGS) as Ring[];
