/**
 * The thread of one lcore: it pins itself, then runs one job after the other until it is told to end. Between jobs it sleeps
 * in its event loop.
 */
import { readlinkSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parentPort, workerData, type MessagePort } from 'node:worker_threads';
import { pinThread } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { openMempool } from '../../paths/checked-mempool.js';
import type { Mempool, MempoolSpec } from '../../paths/mempool.js';
import {
  CLOSING,
  createControl,
  GONE,
  IDLE,
  RUNNING,
  setFailed,
  setState,
  STARTING,
  STATE,
  STOP,
  THREAD_ID,
  TICK,
} from './lcore-control.js';
import { RxInterrupts } from './rx-interrupt.js';
import type { LcoreContext, LcoreJob } from './types.js';

/** What lcore.ts gives the thread. */
export interface LcoreWorkerData {
  readonly lcoreId: number;
  readonly cpus: readonly number[];
  readonly shared: SharedArrayBuffer;
  /** An eventfd that ends the thread's sleep in RxInterrupts.wait. */
  readonly wakeFd: number;
  /** Carries `Posted` to the main thread. */
  readonly port: MessagePort;
}

/** What the main thread asks for; undefined: end the thread. */
export interface LaunchMessage {
  readonly module: string;
  readonly exportName: string;
  readonly data: unknown;
}

/** From the thread to the main thread: a job's own message, or (undefined) "the job has ended". */
export type Posted = { readonly message: unknown } | undefined;

const { lcoreId, cpus, shared, wakeFd, port } = workerData as LcoreWorkerData;
const control = createControl(shared);
const pools = new Map<string, Mempool>();

class Context implements LcoreContext {
  readonly lcoreId = lcoreId;
  readonly rxInterrupt = new RxInterrupts(wakeFd);
  private readonly words = control.words;
  private tick = this.words[TICK]!;

  // Plain accesses: the turn's ring accesses are Atomics, which keep the compiler from moving these out of the loop, and
  // a processor makes stores visible by itself within a microsecond. Lcores.quiesce uses the tick.
  running(): boolean {
    const words = this.words;
    if (words[STOP] !== 0) return false;
    this.tick = (this.tick + 1) | 0;
    words[TICK] = this.tick;
    return true;
  }

  mempool(spec: MempoolSpec): Mempool {
    const key = `${spec.mapping.address}+${spec.base}`;
    let pool = pools.get(key);
    if (!pool) pools.set(key, (pool = openMempool(spec, lcoreId)));
    return pool;
  }

  post(message: unknown): void {
    port.postMessage({ message } satisfies Posted);
  }
}

async function run({ module, exportName, data }: LaunchMessage): Promise<void> {
  const where = `lcore ${lcoreId}, job ${exportName}`;
  try {
    const job = ((await import(module)) as Record<string, unknown>)[exportName];
    if (typeof job !== 'function') {
      throw new VirtioPmdError('ELCORE', `${module} exports no function of that name: export it to launch it`);
    }
    setState(control, RUNNING);
    if (Atomics.load(control.words, STOP) !== CLOSING) await (job as LcoreJob<unknown>)(new Context(), data);
    releasePools();
    setState(control, IDLE);
  } catch (error) {
    releasePools();
    setFailed(control, error, where);
  }
  port.postMessage(undefined satisfies Posted); // after the state, which the main thread reads on it
}

/** A name for `top -H`, and the id by which the main thread checks that this thread lives. Forwarding needs neither. */
function nameThread(): void {
  try {
    control.words[THREAD_ID] = Number(basename(readlinkSync('/proc/thread-self')));
    writeFileSync('/proc/thread-self/comm', `lcore-worker-${lcoreId}`);
  } catch {
    // no /proc, or a read-only one
  }
}

/** Returns the mbufs in this lcore's caches to their pools: an idle lcore would keep them from the others. */
function releasePools(): void {
  for (const pool of pools.values()) pool.flushCache();
  pools.clear();
}

// also for unhandled rejections: an error outside the job's own call stack. It is not known whether the job still runs, so
// the thread ends, and the lcore gets another one with its next job.
let failed = false;
process.on('uncaughtException', (error) => {
  failed = true;
  control.words[THREAD_ID] = GONE;
  setFailed(control, error, `lcore ${lcoreId}, uncaught exception`);
  process.exit(1);
});
process.on('exit', (code) => {
  if (failed) return; // the words may be those of the lcore's next thread by now
  control.words[THREAD_ID] = GONE;
  const state = Atomics.load(control.words, STATE);
  if (state === STARTING || state === RUNNING) {
    setFailed(control, `the job ended its thread (process.exit(${code}))`, `lcore ${lcoreId}`);
  }
});

try {
  nameThread();
  pinThread(cpus);
  parentPort!.on('message', (message: LaunchMessage | undefined) => {
    if (message) {
      void run(message);
      return;
    }
    parentPort!.close();
    port.close();
  });
} catch (error) {
  setFailed(control, error, `lcore ${lcoreId} cannot start`);
}
