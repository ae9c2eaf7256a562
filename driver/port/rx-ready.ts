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
import { drainFd } from '../../native/event.js';
import { BROKEN, queueState, STARTED } from '../../paths/guest/queue.js';
import { RxInterrupts } from '../eal/rx-interrupt.js';
import { isVirtqueue, type PortQueueSpec, type RxQueue } from './queue.js';
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
  const armed: RxQueue[] = [];
  let closed = false;
  let news = false;

  /** Enables interrupts. @returns the queues that have packets already */
  function arm(): number[] {
    armed.length = 0;
    return (queues ?? port.spec().rx.map((spec) => spec.queueId)).filter((queue) => {
      const rx = port.rx(queue);
      const hasPackets = interrupts.enable(rx);
      armed.push(rx);
      return hasPackets;
    });
  }

  const disarm = () => armed.forEach((rx) => interrupts.disable(rx));

  /** Consumes pending interrupts. @returns whether there were any */
  const drain = () => armed.filter(({ spec }) => mayInterrupt(spec) && drainFd(spec.interruptFd)).length > 0;

  async function sleep(): Promise<End> {
    const specs = armed.map((rx) => rx.spec).filter(mayInterrupt);
    news = false;
    const timedOut = await waiter.wait(specs.map((spec) => spec.interruptFd));
    if (timedOut && !news) return 'time';
    return drain() ? 'interrupt' : 'news';
  }

  function count(end: End, found: boolean): void {
    if (end === 'interrupt' && !found) interrupts.spurious++;
    else if (end === 'interrupt') interrupts.wakeups++;
    // the interrupt may have come directly after the time-out
    else if (end === 'time' && found) interrupts[drain() ? 'wakeups' : 'missed']++;
  }

  // a start, reconnect or reset discards enabled interrupts: enable them again
  const wake = () => {
    news = true;
    waiter.wake();
  };
  const onClosed = () => {
    closed = true;
    wake();
  };
  port.on('link', wake).on('closed', onClosed);
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
    port.off('link', wake).off('closed', onClosed);
    signal?.removeEventListener('abort', wake);
    disarm();
    await waiter.end();
  }
}

/**
 * Whether a queue's interrupt descriptor may be used. Only that of a started queue is valid: closing a port closes them, and
 * other files may then get their numbers. A broken queue receives nothing before it is reset.
 */
function mayInterrupt(spec: PortQueueSpec): spec is PortQueueSpec & { readonly interruptFd: number } {
  if (!isVirtqueue(spec)) return false;
  const { words } = queueState(spec);
  return words[STARTED] !== 0 && words[BROKEN] === 0;
}
