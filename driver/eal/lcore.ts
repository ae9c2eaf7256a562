/**
 * Lcores: threads pinned to CPUs that run one job at a time (rte_lcore, rte_eal_remote_launch). The main lcore is the
 * thread that made the Eal; every other one is a worker thread, started at its first job and kept for the next.
 *
 * All of this works without the main thread's event loop: `launch(); wait();` in straight-line code is fine.
 */
import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { MessageChannel, receiveMessageOnPort, Worker, type MessagePort } from 'node:worker_threads';
import { aNumber, anInstance, aString, checkArguments } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { createEventFd, signalFd } from '../../native/event.js';
import { closeFd } from '../../native/region.js';
import {
  CLOSING,
  createControl,
  FAILED,
  failureOf,
  IDLE,
  RUNNING,
  setFailed,
  setState,
  STARTING,
  STATE,
  STOP,
  THREAD_ID,
  TICK,
  type LcoreControl,
} from './lcore-control.js';
import type { LaunchMessage, LcoreWorkerData, Posted } from './lcore-worker.js';
import { Patience } from './patience.js';

/** idle: no job; failed: its job has thrown, and `wait` or `launch` will throw the error. */
export type LcoreState = 'idle' | 'running' | 'failed';

/** How often a waiting main thread checks that the thread it waits for is alive. */
const ALIVE_CHECK_MS = 100;
const CLOSE_TIMEOUT_MS = 2000;

function isBusy(lcore: Lcore): boolean {
  const state = Atomics.load(lcore.control.words, STATE);
  return state === STARTING || state === RUNNING;
}

/** Ends the lcore's sleep, now or the next one. Without a thread the descriptor may be closed, and its number used again. */
function rouse({ thread, wakeFd }: Lcore): void {
  if (thread !== undefined) signalFd(wakeFd);
}

const patienceWith = ({ control }: Lcore, timeoutMs: number) =>
  new Patience(() => control.words[THREAD_ID]!, timeoutMs);

interface Lcore {
  readonly id: number;
  readonly cpus: readonly number[];
  readonly control: LcoreControl;
  /** Ends its sleep, if it waits for packets (RxInterrupts.wait). */
  readonly wakeFd: number;
  /** Undefined before the first job and after the thread's death. */
  thread: { readonly worker: Worker; readonly port: MessagePort } | undefined;
  /** The failure has been reported. */
  told: boolean;
}

const aModule = {
  accepts: 'a URL, or the absolute path of a module',
  fits: (value: unknown) => value instanceof URL || typeof value === 'string',
};

/** Several errors as one. */
function together(errors: readonly VirtioPmdError[]): VirtioPmdError {
  if (errors.length === 1) return errors[0]!;
  return new VirtioPmdError(errors[0]!.code, errors.map((error) => error.message).join('; '), { cause: errors });
}

/** The lcores of an Eal. */
export class Lcores {
  /** Lcore id of the thread that made the Eal. */
  readonly main: number;
  /** Ids of all other lcores, ascending. */
  readonly workers: readonly number[];
  /** Receives the messages that jobs post. Called from the event loop, and from `wait` and `deliver` for messages that have arrived. */
  onMessage: ((lcoreId: number, message: unknown) => void) | undefined;
  /**
   * Called when a job has failed, from where `onMessage` is called. `wait` still throws the failure, so it may be reported
   * more than once.
   *
   * Without it, a failure that neither `wait` nor `launch` has thrown is thrown from the event loop: an uncaught exception,
   * which ends the process as an unhandled rejection or a Worker's error does. `close` throws it too.
   */
  onFailure: ((lcoreId: number, error: VirtioPmdError) => void) | undefined;

  private readonly lcores = new Map<number, Lcore>();
  private closed = false;

  /** @param map lcore id -> CPUs, already validated (see lcore-list.ts). */
  constructor(
    readonly map: ReadonlyMap<number, readonly number[]>,
    main: number,
  ) {
    checkArguments('Lcores', { map: [map, anInstance('a Map', Map)], main: [main, aNumber] });
    this.main = main;
    this.workers = [...map.keys()].filter((id) => id !== main).sort((a, b) => a - b);
    for (const id of this.workers) {
      const wakeFd = createEventFd();
      this.lcores.set(id, { id, cpus: map.get(id)!, control: createControl(), wakeFd, thread: undefined, told: false });
    }
  }

  /**
   * Runs `export function exportName(context, data)` of `module` on a worker lcore and returns at once.
   * @param module URL, or absolute path, of the module; `new URL('./job.js', import.meta.url)` works in source and build.
   * @param data anything that can be posted to a worker: plain objects, SharedArrayBuffers, specs.
   * @throws VirtioPmdError ELCORE: no such worker lcore, it is busy, its data cannot be posted, or its last job failed and that
   *   was not yet thrown (then the job's own code may take the place of ELCORE); ESTATE: the lcores are closed.
   */
  launch(lcoreId: number, module: URL | string, exportName: string, data: unknown): void {
    checkArguments('lcores.launch', {
      lcoreId: [lcoreId, aNumber],
      module: [module, aModule],
      exportName: [exportName, aString],
    });
    const lcore = this.find(lcoreId);
    if (this.closed) throw new VirtioPmdError('ESTATE', 'the lcores are closed: make another Eal');
    const { control } = lcore;
    const state = Atomics.load(control.words, STATE);
    if (state === FAILED) throw this.collect(lcore);
    if (state !== IDLE) {
      throw new VirtioPmdError('ELCORE', `lcore ${lcoreId} is busy with a job: stop and wait for it first`);
    }
    const href = module instanceof URL ? module.href : module.startsWith('/') ? pathToFileURL(module).href : module;
    control.words[STOP] = 0;
    lcore.told = false;
    if (lcore.thread && !this.alive(lcore)) this.forget(lcore);
    setState(control, STARTING);
    try {
      lcore.thread ??= this.start(lcore);
      lcore.thread.worker.postMessage({ module: href, exportName, data } satisfies LaunchMessage);
    } catch (cause) {
      setState(control, IDLE);
      throw new VirtioPmdError(
        'ELCORE',
        `lcore ${lcoreId}, job ${exportName}: its data cannot be posted to a thread (${(cause as Error).message}): give plain data`,
        { cause },
      );
    }
    lcore.thread.worker.ref(); // a running job keeps the process alive, an idle lcore does not
  }

  /** Asks the job of one lcore, or of all, to return: its next `running()` is false. Does not wait. @throws VirtioPmdError ELCORE */
  stop(lcoreId?: number): void {
    for (const lcore of this.select(lcoreId)) {
      Atomics.store(lcore.control.words, STOP, 1);
      rouse(lcore);
    }
  }

  /** Ends the sleep of all lcores that wait for packets, because something has changed, such as a queue that was started. */
  wake(): void {
    for (const lcore of this.lcores.values()) rouse(lcore);
  }

  /**
   * Blocks until the job of one lcore, or all jobs, have returned; does not block for an idle lcore. Messages that the jobs
   * have posted are delivered before this returns.
   * @param timeoutMs milliseconds. Time in which an lcore's thread waits for a CPU does not count, up to a minute of it.
   *   Default: no limit.
   * @throws VirtioPmdError with the code of the job's own error; ELCORE when it threw anything else or its thread died; ETIMEOUT.
   */
  wait(lcoreId?: number, timeoutMs = Infinity): void {
    checkArguments('lcores.wait', { timeoutMs: [timeoutMs, aNumber] });
    const errors: VirtioPmdError[] = [];
    const waits = this.select(lcoreId).map((lcore) => ({ lcore, patience: patienceWith(lcore, timeoutMs) }));
    for (const { lcore, patience } of waits) {
      this.waitFor(lcore, patience, timeoutMs);
      lcore.thread?.worker.unref();
      if (Atomics.load(lcore.control.words, STATE) === FAILED) errors.push(this.collect(lcore));
    }
    this.deliver();
    if (errors.length > 0) throw together(errors);
  }

  /** The main lcore is always 'running': it runs the caller. */
  state(lcoreId: number): LcoreState {
    if (lcoreId === this.main) return 'running';
    switch (Atomics.load(this.find(lcoreId).control.words, STATE)) {
      case IDLE:
        return 'idle';
      case FAILED:
        return 'failed';
      default:
        return 'running';
    }
  }

  /**
   * Returns once every running job has ended its turn and begun another after this call. Then all of them see what the caller
   * has published before (such as "this queue is stopped"), and hold nothing of earlier turns. This is quiescent state based
   * reclamation (rte_rcu_qsbr), for a few nanoseconds per turn.
   *
   * A tick is a plain store, so the first change that we see may have been stored before the caller published, with loads of
   * the next turn already done. The turn that ends with the second change began after the first. The milliseconds that we
   * sleep before each look are a thousand times the time that a store takes to become visible.
   * @param timeoutMs milliseconds, as in `wait`.
   * @throws VirtioPmdError ELCORE, naming the lcore, after `timeoutMs`; ETIMEOUT when its thread got hardly any CPU time.
   */
  quiesce(timeoutMs = CLOSE_TIMEOUT_MS): void {
    checkArguments('lcores.quiesce', { timeoutMs: [timeoutMs, aNumber] });
    const running = [...this.lcores.values()].filter(
      (l) => l.thread !== undefined && Atomics.load(l.control.words, STATE) === RUNNING,
    );
    const before = running.map((lcore) => Atomics.load(lcore.control.words, TICK));
    const patiences = running.map((lcore) => patienceWith(lcore, timeoutMs));
    running.forEach((lcore, i) => {
      const { words } = lcore.control;
      const patience = patiences[i]!;
      do {
        rouse(lcore); // each time: it may have gone back to sleep after one turn
        Atomics.wait(words, STATE, RUNNING, 1); // wakes early when the job ends
        if (Atomics.load(words, STATE) !== RUNNING) return;
        if (((Atomics.load(words, TICK) - before[i]!) | 0) >= 2) return;
      } while (patience.left() > 0);
      if (patience.starved) throw new VirtioPmdError('ETIMEOUT', `lcore ${lcore.id}: ${patience.account}`);
      throw new VirtioPmdError(
        'ELCORE',
        `lcore ${lcore.id} has not ended a turn of its loop for ${timeoutMs} ms: its job must call context.running() on every turn`,
      );
    });
  }

  /** Passes the messages that jobs have posted so far to `onMessage`, for programs that do not return to the event loop. */
  deliver(): void {
    for (const lcore of this.lcores.values()) {
      const port = lcore.thread?.port;
      if (!port) continue;
      for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
        this.received(lcore, (got as { message: Posted }).message);
      }
    }
  }

  /**
   * Stops every job, waits for them and ends the threads.
   * @param timeoutMs milliseconds, as in `wait`.
   * @throws VirtioPmdError ELCORE naming lcores whose job did not return in time; their threads are terminated. The error of a
   *   job that has failed, when it has not been reported.
   */
  close(timeoutMs = CLOSE_TIMEOUT_MS): void {
    checkArguments('lcores.close', { timeoutMs: [timeoutMs, aNumber] });
    if (this.closed) return;
    this.closed = true;
    for (const lcore of this.lcores.values()) {
      Atomics.store(lcore.control.words, STOP, CLOSING);
      rouse(lcore);
    }
    const stuck: number[] = [];
    let starved = '';
    const waits = [...this.lcores.values()].map((lcore) => ({ lcore, patience: patienceWith(lcore, timeoutMs) }));
    for (const { lcore, patience } of waits) {
      // its thread sets RUNNING and then looks at STOP, we do the reverse: a job not running by now never will
      if (Atomics.load(lcore.control.words, STATE) === STARTING) continue;
      try {
        this.waitFor(lcore, patience, timeoutMs);
      } catch {
        stuck.push(lcore.id);
        if (patience.starved) starved ||= patience.account;
        void lcore.thread?.worker.terminate();
        lcore.thread = undefined;
      }
    }
    this.deliver();
    for (const lcore of this.lcores.values()) {
      lcore.thread?.worker.postMessage(undefined);
      lcore.thread?.worker.unref();
      lcore.thread?.port.close();
      lcore.thread = undefined;
      if (!stuck.includes(lcore.id)) closeFd(lcore.wakeFd); // else its thread may use the number, which could be another file's
    }
    const failures: VirtioPmdError[] = [];
    for (const lcore of this.lcores.values()) {
      const error = this.untold(lcore);
      if (error === undefined) continue;
      if (this.onFailure === undefined) failures.push(error);
      else this.onFailure(lcore.id, error);
    }
    if (stuck.length > 0) {
      throw new VirtioPmdError(
        'ELCORE',
        `lcore ${stuck.join(', ')}: ${starved || `the job did not return within ${timeoutMs} ms of being stopped: it must call context.running() on every turn`}`,
      );
    }
    if (failures.length > 0) throw together(failures);
  }

  private find(lcoreId: number): Lcore {
    const lcore = this.lcores.get(lcoreId);
    if (lcore) return lcore;
    checkArguments('lcores', { lcoreId: [lcoreId, aNumber] });
    const workers =
      this.workers.length > 0 ? `worker lcores are ${this.workers.join(', ')}` : 'there is no worker lcore';
    const why =
      lcoreId === this.main ? `lcore ${lcoreId} is the main lcore, which runs the caller` : `no lcore ${lcoreId}`;
    throw new VirtioPmdError('ELCORE', `${why}; ${workers} (-l, --lcores)`);
  }

  private select(lcoreId: number | undefined): Lcore[] {
    return lcoreId === undefined ? [...this.lcores.values()] : [this.find(lcoreId)];
  }

  private start(lcore: Lcore): { worker: Worker; port: MessagePort } {
    const { control, id } = lcore;
    const { port1, port2 } = new MessageChannel();
    control.words[THREAD_ID] = 0;
    const { cpus, wakeFd } = lcore;
    const data: LcoreWorkerData = { lcoreId: id, cpus, shared: control.shared, wakeFd, port: port2 };
    const worker = new Worker(new URL('./lcore-worker.js', import.meta.url), {
      workerData: data,
      transferList: [port2],
      name: `lcore ${id}`,
    });
    worker.unref();
    const isCurrent = () => lcore.thread?.worker === worker; // else it was closed, or has been replaced
    worker.on('error', (error) => isCurrent() && this.died(lcore, error));
    worker.on('exit', (code) => isCurrent() && this.died(lcore, `its thread ended with code ${code}`));
    port1.on('message', (posted: Posted) => this.received(lcore, posted));
    port1.unref();
    return { worker, port: port1 };
  }

  private received(lcore: Lcore, posted: Posted): void {
    if (posted) {
      this.onMessage?.(lcore.id, posted.message);
      return;
    }
    if (!isBusy(lcore)) lcore.thread?.worker.unref(); // busy: with the job after the one that ended
    this.tell(lcore);
  }

  private tell(lcore: Lcore): void {
    if (Atomics.load(lcore.control.words, STATE) !== FAILED) return;
    if (this.onFailure === undefined) {
      setImmediate(() => this.raise(lcore)); // first, code that is about to wait for the job may do so
      return;
    }
    lcore.told = true;
    this.onFailure(lcore.id, failureOf(lcore.control));
  }

  /** The failure has not been reported: as an exception from here it ends the process. */
  private raise(lcore: Lcore): void {
    const error = this.untold(lcore);
    if (error === undefined) return;
    if (this.onFailure === undefined) throw error;
    this.onFailure(lcore.id, error);
  }

  /** The failure, if it has not been reported; from now on it counts as reported. */
  private untold(lcore: Lcore): VirtioPmdError | undefined {
    if (lcore.told || Atomics.load(lcore.control.words, STATE) !== FAILED) return undefined;
    lcore.told = true;
    return failureOf(lcore.control);
  }

  private died(lcore: Lcore, error: unknown): void {
    this.forget(lcore);
    if (isBusy(lcore)) setFailed(lcore.control, error, `lcore ${lcore.id} died`);
    this.tell(lcore);
  }

  private forget(lcore: Lcore): void {
    this.deliver();
    lcore.thread?.port.close();
    lcore.thread = undefined;
  }

  /** Takes the error of a failed lcore, and makes the lcore idle. */
  private collect(lcore: Lcore): VirtioPmdError {
    const error = failureOf(lcore.control);
    if (!this.alive(lcore)) this.forget(lcore);
    setState(lcore.control, IDLE);
    return error;
  }

  private alive(lcore: Lcore): boolean {
    const threadId = lcore.control.words[THREAD_ID]!;
    return threadId === 0 || existsSync(`/proc/self/task/${threadId}`);
  }

  private waitFor(lcore: Lcore, patience: Patience, timeoutMs: number): void {
    const { words } = lcore.control;
    for (;;) {
      const state = Atomics.load(words, STATE);
      if (state !== STARTING && state !== RUNNING) return;
      const left = patience.left();
      if (left <= 0) {
        const why = patience.starved ? `: ${patience.account}` : '';
        throw new VirtioPmdError(
          'ETIMEOUT',
          `lcore ${lcore.id} is still busy with its job after ${timeoutMs} ms${why}`,
        );
      }
      // that a thread died (out of memory) is told to the event loop only, which does not run now
      if (Atomics.wait(words, STATE, state, Math.min(left, ALIVE_CHECK_MS)) === 'timed-out' && !this.alive(lcore)) {
        this.died(lcore, 'its thread ended without a word, perhaps out of memory');
      }
    }
  }
}
