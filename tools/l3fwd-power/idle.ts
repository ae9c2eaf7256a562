/** What an lcore does in a turn without packets: it polls, delays, pauses, or sleeps until an interrupt. */
import type { RxInterrupts } from '../../driver/eal/rx-interrupt.js';
import { openRxMonitor } from '../../paths/guest/monitor.js';
import { isVirtqueue, type PortQueueSpec, type RxQueue } from '../../driver/port/queue.js';
import { VirtioPmdError } from '../../native/errors.js';
import { allEmptyFor, lcoreHint, SUSPEND_THRESHOLD } from './heuristics.js';
import { MISSED, SLEEPS, SPURIOUS, WAKEUPS } from './lcore-counters.js';
import type { Router } from './router.js';

export type Idle = () => void;

/** Events of a sleeping lcore. */
export interface SleepEvents {
  asleep(): void;
  /** After its first turn, so that reporting it delays no packet. */
  awake(queues: readonly RxQueue[]): void;
}

export const pollOn: Idle = () => {};

/**
 * Interrupt-only mode. A sleep that ends without packets, because the lcore was woken, continues without a message. A sleep
 * that never began, because the last check found packets, counts like the others.
 */
export function sleepUntilInterrupt(
  router: Router,
  rx: readonly RxQueue[],
  interrupts: RxInterrupts,
  counters: Float64Array,
  events: SleepEvents,
): Idle {
  let told = false;

  function sleep(): void {
    if (!told) {
      told = true;
      counters[SLEEPS]!++;
      events.asleep();
    }
    const ready = interrupts.wait(rx);
    counters[SPURIOUS] = interrupts.spurious;
    counters[MISSED] = interrupts.missed;
    if (ready.length === 0) return;
    told = false;
    counters[WAKEUPS]!++;
    router.turn();
    events.awake(ready);
  }

  return () => {
    const hint = lcoreHint(router.emptyPolls);
    if (hint >= SUSPEND_THRESHOLD) sleep();
    else if (hint > 0) delay(hint);
  };
}

/** --pmd-mgmt=pause. Other threads can use the CPU meanwhile; the kernel's timers add 50 to 100 us to each pause. */
export function pause(router: Router, maxEmptyPolls: number, durationUs: number): Idle {
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  return () => {
    if (allEmptyFor(router.emptyPolls, maxEmptyPolls)) Atomics.wait(nobody, 0, 0, durationUs / 1000);
  };
}

/** --pmd-mgmt=monitor, for one queue. */
export function monitor(router: Router, rx: RxQueue, maxEmptyPolls: number): Idle {
  if (!isVirtqueue(rx.spec)) throw noMonitor(rx.spec);
  const sleep = openRxMonitor(rx.spec);
  return () => {
    if (allEmptyFor(router.emptyPolls, maxEmptyPolls)) sleep();
  };
}

function noMonitor({ portId, queueId }: PortQueueSpec): VirtioPmdError {
  return new VirtioPmdError(
    'ECONFIG',
    `port ${portId} rx queue ${queueId} has no word of memory to monitor: use --pmd-mgmt=pause or baseline`,
  );
}

/** A busy wait, for times too short for the kernel (rte_delay_us). */
function delay(us: number): void {
  const end = performance.now() + us / 1000;
  while (performance.now() < end);
}
