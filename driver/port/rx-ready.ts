/**
 * Waiting for packets on a thread with an event loop, for event-driven programs: between packets the loop is free and the
 * process sleeps. Lcores sleep with eal/rx-interrupt.ts.
 */
import { setImmediate } from 'node:timers/promises';
import {
  anInstance,
  checkArguments,
  checkOptions,
  madeBy,
  numbers,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import { interruptOf } from '../eal/queue-interrupt.js';
import { RxInterrupts } from '../eal/rx-interrupt.js';
import type { QueueInterrupt, RxQueue } from './queue.js';
import { RxWaiter } from './rx-ready-waiter.js';
import type { PortEvents, PortSpec } from './types.js';

export interface RxReadyOptions {
  /** Ends the iteration, as `break` does from within. */
  readonly signal?: AbortSignal | undefined;
  /** The object whose counters (`sleeps`, `wakeups`, `spurious`, `missed`) this iteration increments. */
  readonly interrupts?: RxInterrupts | undefined;
}

const rxReadyOptions: OptionKinds<RxReadyOptions> = {
  signal: optional(anInstance('an AbortSignal', AbortSignal)),
  interrupts: optional(anInstance('an RxInterrupts', RxInterrupts)),
};

/** What ended a sleep: an interrupt, the time-out, or an event of the port. */
type End = 'interrupt' | 'time' | 'news';

/** The part of a port that rxReady uses. */
interface ReadyPort {
  on<E extends keyof PortEvents>(event: E, listener: PortEvents[E]): this;
  off<E extends keyof PortEvents>(event: E, listener: PortEvents[E]): this;
  readonly rx: (queue: number) => RxQueue;
  readonly spec: () => PortSpec;
}

/**
 * Yields the numbers of the Rx queues that have packets. Receive with `port.rx(queue)`, and call that each time, because
 * configure() makes new queues. A queue with packets left is yielded again.
 * The iteration continues across stop(), start() and reconnects, and ends when the port is closed.
 * @param queues default: all. Only one iteration at a time may use a queue.
 * @throws VirtioPmdError ECONFIG when the port has no such queue, or is configured without `rxInterrupts`; ESTATE when it
 * is not configured; ELCORE when the thread that waits dies
 */
export async function* rxReady(
  port: ReadyPort,
  queues?: readonly number[],
  options: RxReadyOptions = {},
): AsyncGenerator<readonly number[], void, void> {
  checkArguments('rxReady', { port: [port, madeBy('attach', 'rx', 'spec')], queues: [queues, optional(numbers)] });
  checkOptions('rxReady', options, rxReadyOptions);
  const { signal, interrupts = new RxInterrupts() } = options;
  const waiter = new RxWaiter();
  const armed: QueueInterrupt[] = [];
  let closed = false;
  let news = false;

  /** Enables interrupts. @returns the queues that have packets already */
  function arm(): number[] {
    armed.length = 0;
    return (queues ?? port.spec().rx.map((spec) => spec.queueId)).filter((queue) => {
      const interrupt = interruptOf(port.rx(queue));
      const hasPackets = interrupt.enable();
      armed.push(interrupt);
      return hasPackets;
    });
  }

  const disarm = () => armed.forEach((interrupt) => interrupt.disable());

  /** Consumes pending interrupts. @returns whether there were any */
  const drain = () => armed.filter((interrupt) => interrupt.drain()).length > 0;

  async function sleep(): Promise<End> {
    // read at each sleep: a queue's descriptor may change, or be absent for a while
    const fds = armed.map(({ fd }) => fd).filter((fd) => fd !== undefined);
    news = false;
    const timedOut = await waiter.wait(fds);
    if (timedOut && !news) return 'time';
    return drain() ? 'interrupt' : 'news';
  }

  function count(end: End, found: boolean): void {
    if (end === 'interrupt' && !found) interrupts.spurious++;
    else if (end === 'interrupt') interrupts.wakeups++;
    // the interrupt may have come directly after the time-out
    else if (end === 'time' && found) interrupts[drain() ? 'wakeups' : 'missed']++;
  }

  // a start, reconnect or reset discards enabled interrupts, and queues get other descriptors: enable them again
  const wake = () => {
    news = true;
    waiter.wake();
  };
  const onClosed = () => {
    closed = true;
    wake();
  };
  port.on('link', wake).on('queueState', wake).on('closed', onClosed);
  signal?.addEventListener('abort', wake);
  try {
    let end: End | undefined;
    while (!closed && !signal?.aborted) {
      const ready = arm();
      if (end !== undefined) count(end, ready.length > 0);
      if (ready.length === 0) {
        if (end === undefined) interrupts.sleeps++;
        end = await sleep();
        continue;
      }
      disarm();
      yield ready;
      end = undefined;
      await setImmediate(); // without a sleep, timers and sockets would not run under load
    }
  } finally {
    port.off('link', wake).off('queueState', wake).off('closed', onClosed);
    signal?.removeEventListener('abort', wake);
    disarm();
    await waiter.end();
  }
}
