/** CPU time of threads, as the kernel counts it. */
import { readdirSync, readFileSync } from 'node:fs';
import { sleep } from './peers.js';

/** Milliseconds of one tick of /proc (USER_HZ is 100). */
const TICK_MS = 10;

/** Milliseconds of CPU that a thread has used. @param path of its or a process's /proc folder */
function cpuMs(path: string): number {
  const stat = readFileSync(`${path}/stat`, 'utf8');
  const [utime, stime] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11, 13);
  return (Number(utime) + Number(stime)) * TICK_MS;
}

/** The /proc folder of the thread of process `pid` that is called `name`. */
function threadNamed(pid: number, name: string): string {
  const folder = `/proc/${pid}/task`;
  const found = readdirSync(folder).find((id) => readFileSync(`${folder}/${id}/comm`, 'utf8').trim() === name);
  if (found === undefined) throw new Error(`process ${pid} has no thread ${name}`);
  return `${folder}/${found}`;
}

export interface CpuShares {
  /** CPU time of each thread in relation to the time that went by, 0 to 1. */
  readonly threads: readonly number[];
  /** The same of the whole process. */
  readonly process: number;
}

/** What threads and their process use during the next `ms` milliseconds. */
export async function cpuShares(pid: number, threads: readonly string[], ms: number): Promise<CpuShares> {
  const paths = [`/proc/${pid}`, ...threads.map((name) => threadNamed(pid, name))];
  const before = paths.map(cpuMs);
  const begin = performance.now();
  await sleep(ms);
  const wall = performance.now() - begin;
  const [ofProcess, ...ofThreads] = paths.map((path, i) => (cpuMs(path) - before[i]!) / wall);
  return { threads: ofThreads, process: ofProcess! };
}
