/**
 * Sleeping until packets arrive: for lcores (`context.rxInterrupt`), or for any thread that polls queues. The queues are
 * those of ports configured with `rxInterrupts`, of any kind (queue-interrupt.ts).
 */
import { drainFd, PollSet } from '../../native/event.js';
import { interruptOf, type Interruptible } from './queue-interrupt.js';

/**
 * Milliseconds. Node cannot end a thread in a system call, so a sleeping thread may delay the end of a process that does not
 * stop its lcores by this much. It is also how long packets wait at most when a device did not send their interrupt.
 */
const SLICE_MS = 250;

/** What ended a sleep: the time-out, an interrupt, or a signal to this thread (wakeFd). */
type End = 'time' | 'interrupt' | 'wanted';

/** Rx interrupts for one thread (docs/decisions/0010). */
export class RxInterrupts {
  /** Times that `wait` found no packets and slept. */
  sleeps = 0;
  /** Sleeps that ended with an interrupt and packets. */
  wakeups = 0;
  /** Interrupts without packets: the sleep continued. */
  spurious = 0;
  /** Times that packets were found without an interrupt, by looking at the rings now and then. */
  missed = 0;
  private readonly ready: Interruptible[] = [];
  /** Of each queue in the last sleep: its position in the poll set, -1 when it was not in it. */
  private readonly positions: number[] = [];
  private set = new PollSet(8);

  /** @param wakeFd an eventfd that ends a wait: the lcore's own, which Lcores signals; undefined on other threads. */
  constructor(private readonly wakeFd?: number) {}

  /**
   * Asks the device to interrupt at the next packet (rte_eth_dev_rx_intr_enable). A queue without buffers is filled first, if
   * there are mbufs now: otherwise no packet would ever arrive.
   * @returns true when there are packets already: receive them instead of waiting
   * @throws VirtioPmdError ECONFIG when the queue has no interrupt
   */
  enable(queue: Interruptible): boolean {
    return interruptOf(queue).enable();
  }

  /** Withdraws the request (rte_eth_dev_rx_intr_disable). @throws VirtioPmdError ECONFIG when the queue has no interrupt */
  disable(queue: Interruptible): void {
    interruptOf(queue).disable();
  }

  /**
   * Sleeps until one of `queues` has packets. Enables their interrupts, looks once more before it sleeps, and disables them
   * afterwards. The queues must be this thread's own, as for bursts.
   * @param timeoutMs milliseconds; -1: no limit.
   * @returns those that have packets; none after the time-out, or when the control plane needs the lcore: continue the loop and
   *   call `context.running()`. The next wait uses the same array again.
   * @throws VirtioPmdError ECONFIG when a queue has no interrupt
   */
  wait<Q extends Interruptible>(queues: readonly Q[], timeoutMs = -1): readonly Q[] {
    if (!this.look(queues) && timeoutMs !== 0) this.sleepOn(queues, timeoutMs);
    for (let i = 0; i < queues.length; i++) this.disable(queues[i]!);
    return this.ready as Q[];
  }

  private sleepOn(queues: readonly Interruptible[], timeoutMs: number): void {
    const deadline = timeoutMs < 0 ? Infinity : performance.now() + timeoutMs;
    this.sleeps++;
    for (;;) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      const end = this.sleep(queues, Math.ceil(Math.min(left, SLICE_MS)));
      const found = this.look(queues);
      if (end === 'interrupt') {
        if (found) this.wakeups++;
        else this.spurious++;
      } else if (found && end === 'time') {
        // the interrupt may have come just after the time-out
        if (this.drainReady()) this.wakeups++;
        else this.missed++;
      }
      if (found || end === 'wanted') return;
    }
  }

  /** Enables every interrupt, and finds the queues that have packets. */
  private look(queues: readonly Interruptible[]): boolean {
    this.ready.length = 0;
    for (let i = 0; i < queues.length; i++) if (this.enable(queues[i]!)) this.ready.push(queues[i]!);
    return this.ready.length > 0;
  }

  private sleep(queues: readonly Interruptible[], timeoutMs: number): End {
    if (queues.length >= this.set.capacity) this.set = new PollSet(queues.length + 1);
    const { set, wakeFd, positions } = this;
    set.clear();
    const wake = wakeFd === undefined ? -1 : set.add(wakeFd);
    for (let i = 0; i < queues.length; i++) {
      // read at each sleep: the descriptor of a queue may be another one by now, or absent for a while
      const { fd } = interruptOf(queues[i]!);
      positions[i] = fd === undefined ? -1 : set.add(fd);
    }
    if (set.wait(timeoutMs) === 0) return 'time';
    let end: End = 'time';
    for (let i = 0; i < queues.length; i++) {
      const position = positions[i]!;
      if (position >= 0 && set.isReady(position) && interruptOf(queues[i]!).drain()) end = 'interrupt';
    }
    if (wakeFd !== undefined && set.isReady(wake) && drainFd(wakeFd)) end = 'wanted';
    return end;
  }

  /** Reads the interrupts of the queues that have packets. @returns whether there were any */
  private drainReady(): boolean {
    let any = false;
    for (const queue of this.ready) if (interruptOf(queue).drain()) any = true;
    return any;
  }
}
