/**
 * Measures the distance of the two CPUs: the time that a cache line takes to the other one and back. The host of a virtual
 * machine may move its CPUs; on ours the result is some 150 ns or some 550, and throughput depends on it. So pairs of
 * measurements are compared only when both had the same distance.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';

/** Indices of words in the shared memory, on a cache line each. */
export const BALL = 0;
export const RESULT = 16;
/** How many measurements have been requested; negative: end the threads. */
export const TURN = 32;
/** How many threads have finished the last measurement. */
export const DONE = 48;
const WORDS = 64;

export interface HandOverData {
  readonly shared: SharedArrayBuffer;
  readonly cpu: number;
  /** 0 serves, 1 returns. */
  readonly player: 0 | 1;
}

/** Two threads, which sleep between measurements. */
export class HandOver {
  private readonly words = new Int32Array(new SharedArrayBuffer(WORDS * 4));
  private readonly players: readonly Worker[];

  constructor(cpus: readonly [number, number]) {
    const url = new URL('./hand-over-thread.js', import.meta.url);
    const shared = this.words.buffer as SharedArrayBuffer;
    const start = (cpu: number, player: 0 | 1) =>
      new Worker(url, { workerData: { shared, cpu, player } satisfies HandOverData });
    this.players = cpus[0] === cpus[1] ? [] : [start(cpus[0], 0), start(cpus[1], 1)];
  }

  /** Median of the nanoseconds for a line to the other CPU and back. The CPUs must be idle. 0 with only one CPU. */
  async measure(): Promise<number> {
    const { words, players } = this;
    if (players.length === 0) return 0;
    words[DONE] = 0;
    Atomics.add(words, TURN, 1);
    Atomics.notify(words, TURN);
    while (Atomics.load(words, DONE) < players.length) await sleep(10);
    return words[RESULT]!;
  }

  async close(): Promise<void> {
    Atomics.store(this.words, TURN, -1);
    Atomics.notify(this.words, TURN);
    await Promise.all(this.players.map((player) => player.terminate()));
  }
}

/** Above this a round trip leaves the cores that share a cache. It lies between the two groups of values that occur. */
const FAR_NS = 280;

/** `mixed`: the CPUs moved while the runs were measured. */
export type Distance = 'near' | 'far' | 'mixed';

export function distanceOf(runs: readonly { readonly handOver: readonly number[] }[]): Distance {
  const all = runs.flatMap(({ handOver }) => handOver);
  if (all.every((ns) => ns <= FAR_NS)) return 'near';
  return all.every((ns) => ns > FAR_NS) ? 'far' : 'mixed';
}
