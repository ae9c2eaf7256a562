/** Waiting for descriptors without blocking the event loop: the owner's half of rx-wait-thread.ts. */
import { Worker } from 'node:worker_threads';
import { VirtioPmdError } from '../../native/errors.js';
import { createEventFd, signalFd } from '../../native/event.js';
import { closeFd } from '../../native/region.js';
import type { RxWaitAnswer, RxWaitData, RxWaitRequest } from './rx-wait-thread.js';

interface Thread {
  readonly worker: Worker;
  readonly wakeFd: number;
  /** Resolves once the thread has ended and its descriptor is closed. */
  readonly ended: Promise<void>;
}

interface Pending {
  resolve(answer: RxWaitAnswer): void;
  reject(error: VirtioPmdError): void;
}

/** Runs one wait at a time. Its thread starts with the first wait, and keeps the process alive during waits. */
export class RxWaiter {
  private thread: Thread | undefined;
  private pending: Pending | undefined;

  /**
   * Waits until one of `fds` is readable, for a quarter of a second at most. Reads none of them.
   * @returns true when only the time-out ended the wait.
   * @throws VirtioPmdError ELCORE when the thread dies
   */
  wait(fds: readonly number[]): Promise<RxWaitAnswer> {
    const { worker } = (this.thread ??= this.start());
    worker.ref();
    worker.postMessage(fds satisfies RxWaitRequest);
    return new Promise((resolve, reject) => (this.pending = { resolve, reject }));
  }

  /** Ends the wait, if there is one. */
  wake(): void {
    if (this.pending !== undefined && this.thread !== undefined) signalFd(this.thread.wakeFd);
  }

  /** Ends the thread, and resolves when it is gone. Do not call it during a wait. */
  async end(): Promise<void> {
    const { thread } = this;
    if (thread === undefined) return;
    thread.worker.ref();
    thread.worker.postMessage(undefined satisfies RxWaitRequest);
    await thread.ended;
  }

  private start(): Thread {
    const wakeFd = createEventFd();
    const worker = new Worker(new URL('./rx-wait-thread.js', import.meta.url), {
      workerData: { wakeFd } satisfies RxWaitData,
      name: 'rx-wait',
    });
    let cause: unknown;
    worker.on('message', (answer: RxWaitAnswer) => {
      worker.unref();
      this.take()?.resolve(answer);
    });
    worker.on('error', (error) => (cause = error));
    const ended = new Promise<void>((resolve) => {
      worker.on('exit', () => {
        closeFd(wakeFd);
        this.thread = undefined;
        this.take()?.reject(died(cause));
        resolve();
      });
    });
    return { worker, wakeFd, ended };
  }

  private take(): Pending | undefined {
    const { pending } = this;
    this.pending = undefined;
    return pending;
  }
}

function died(cause: unknown): VirtioPmdError {
  const why = cause instanceof Error ? cause.message : 'it ended without a word';
  return new VirtioPmdError('ELCORE', `the thread that waits for packets died: ${why}`, { cause });
}
