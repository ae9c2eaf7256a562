/** CPU time of a process and of its forwarding lcore, as the kernel's scheduler counts it. */
import { readdirSync, readFileSync } from 'node:fs';
import { VirtioPmdError } from '../../../native/errors.js';
import { sum } from '../common/statistics.js';

/** CPU time of a process so far. */
export interface CpuTime {
  /** Time of the reading in milliseconds, from an arbitrary start. */
  readonly at: number;
  /** Nanoseconds of the lcore, and of all threads together. */
  readonly lcoreNs: number;
  readonly processNs: number;
  /** How often the lcore has gone to sleep. */
  readonly sleeps: number;
}

/** Difference of two readings of the same process. */
export interface CpuShare {
  /** Fraction of a CPU: 1 for a thread that never slept. */
  readonly lcore: number;
  readonly process: number;
  readonly sleepsPerSecond: number;
}

/** Matches the thread name of lcore 1: ours, and those of DPDK before and since 23.11. */
const LCORE = /^(lcore|rte|dpdk)-worker-?1$/;

/** `text` is /proc/PID/task/TID/schedstat: time on a CPU, time waiting for one, time slices. */
export function parseSchedstat(text: string): number {
  return Number(/^(\d+) \d+ \d+$/m.exec(text)?.[1] ?? NaN);
}

/** `text` is /proc/PID/task/TID/status. */
export function parseSleeps(text: string): number {
  return Number(/^voluntary_ctxt_switches:\s*(\d+)$/m.exec(text)?.[1] ?? NaN);
}

/** @throws VirtioPmdError EPEER when the process has no lcore 1, ESYSTEM when the kernel does not count its time */
export function cpuTime(pid: number): CpuTime {
  const directory = `/proc/${pid}/task`;
  const read = (thread: string, file: string) => readFileSync(`${directory}/${thread}/${file}`, 'utf8');
  const threads = readdirSync(directory);
  const lcore = threads.find((thread) => LCORE.test(read(thread, 'comm').trim()));
  if (lcore === undefined) throw new VirtioPmdError('EPEER', `process ${pid} has no thread for lcore 1`);
  const time = (thread: string) => parseSchedstat(read(thread, 'schedstat'));
  const cpu = {
    at: performance.now(),
    lcoreNs: time(lcore),
    processNs: sum(threads.map(time)),
    sleeps: parseSleeps(read(lcore, 'status')),
  };
  if (!Object.values(cpu).some(Number.isNaN)) return cpu;
  throw new VirtioPmdError(
    'ESYSTEM',
    `${directory}/${lcore}/schedstat has no CPU time: a kernel with CONFIG_SCHED_INFO is expected`,
  );
}

/** Pure. */
export function cpuShare(before: CpuTime, after: CpuTime): CpuShare {
  const ms = after.at - before.at;
  return {
    lcore: (after.lcoreNs - before.lcoreNs) / (ms * 1e6),
    process: (after.processNs - before.processNs) / (ms * 1e6),
    sleepsPerSecond: ((after.sleeps - before.sleeps) / ms) * 1000,
  };
}
