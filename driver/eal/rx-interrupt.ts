/**
 * Sleeping until packets arrive: for lcores (`context.rxInterrupt`), or for any thread that polls queues. The queues are
 * those of ports configured with `rxInterrupts`.
 */
import { VirtioPmdError } from '../../native/errors.js';
import { drainFd, PollSet } from '../../native/event.js';
import { openRxInterrupt, type RxInterrupt } from '../../paths/guest/interrupt.js';
import { BROKEN, FREE_COUNT, queueState, STARTED } from '../../paths/guest/queue.js';
import { isVirtqueue, type PortQueueSpec, type RxQueue } from '../port/queue.js';

/**
 * Milliseconds. Node cannot end a thread in a system call, so a sleeping thread may delay the end of a process that does not
 * stop its lcores by this much. It is also how long packets wait at most when a device did not send their interrupt.
 */
const SLICE_MS = 250;

type Queue = Pick<RxQueue, 'spec' | 'fill'>;

/** What ended a sleep: the time-out, an interrupt, or a signal to this thread (wakeFd). */
type End = 'time' | 'interrupt' | 'wanted';

interface Sleeper {
  readonly interrupt: RxInterrupt;
  readonly words: Int32Array;
  readonly nbDesc: number;
  readonly fd: number;
  /** Its position in the poll set of the last sleep; -1: it was not in it. */
  position: number;
}

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
  private readonly sleepers = new WeakMap<PortQueueSpec, Sleeper>();
  private readonly ready: Queue[] = [];
  private set = new PollSet(8);

  /** @param wakeFd an eventfd that ends a wait: the lcore's own, which Lcores signals; undefined on other threads. */
  constructor(private readonly wakeFd?: number) {}

  /**
   * Asks the device to interrupt at the next packet (rte_eth_dev_rx_intr_enable). A queue without buffers is filled first, if
   * there are mbufs now: otherwise no packet would ever arrive.
   * @returns true when there are packets already: receive them instead of waiting
   * @throws VirtioPmdError ECONFIG when the queue has no interrupt
   */
  enable(queue: Queue): boolean {
    const { words, interrupt, nbDesc } = this.sleeper(queue);
    const working = words[STARTED] !== 0 && words[BROKEN] === 0;
    if (working && words[FREE_COUNT] === nbDesc) queue.fill();
    return interrupt.enable();
  }

  /** Withdraws the request (rte_eth_dev_rx_intr_disable). @throws VirtioPmdError ECONFIG when the queue has no interrupt */
  disable(queue: Queue): void {
    this.sleeper(queue).interrupt.disable();
  }

  /**
   * Sleeps until one of `queues` has packets. Enables their interrupts, looks once more before it sleeps, and disables them
   * afterwards. The queues must be this thread's own, as for bursts.
   * @param timeoutMs milliseconds; -1: no limit.
   * @returns those that have packets; none after the time-out, or when the control plane needs the lcore: continue the loop and
   *   call `context.running()`. The next wait uses the same array again.
   * @throws VirtioPmdError ECONFIG when a queue has no interrupt
   */
  wait<Q extends Queue>(queues: readonly Q[], timeoutMs = -1): readonly Q[] {
    if (!this.look(queues) && timeoutMs !== 0) this.sleepOn(queues, timeoutMs);
    for (let i = 0; i < queues.length; i++) this.disable(queues[i]!);
    return this.ready as Q[];
  }

  private sleepOn(queues: readonly Queue[], timeoutMs: number): void {
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
  private look(queues: readonly Queue[]): boolean {
    this.ready.length = 0;
    for (let i = 0; i < queues.length; i++) if (this.enable(queues[i]!)) this.ready.push(queues[i]!);
    return this.ready.length > 0;
  }

  private sleep(queues: readonly Queue[], timeoutMs: number): End {
    if (queues.length >= this.set.capacity) this.set = new PollSet(queues.length + 1);
    const { set, wakeFd } = this;
    set.clear();
    const wake = wakeFd === undefined ? -1 : set.add(wakeFd);
    for (let i = 0; i < queues.length; i++) {
      const sleeper = this.sleeper(queues[i]!);
      // a queue that is stopped may be one of a closed port, whose descriptor numbers may be used again by now
      sleeper.position = sleeper.words[STARTED] === 0 ? -1 : set.add(sleeper.fd);
    }
    if (set.wait(timeoutMs) === 0) return 'time';
    let end: End = 'time';
    for (let i = 0; i < queues.length; i++) {
      const { position, fd } = this.sleeper(queues[i]!);
      if (position >= 0 && set.isReady(position) && drainFd(fd)) end = 'interrupt';
    }
    if (wakeFd !== undefined && set.isReady(wake) && drainFd(wakeFd)) end = 'wanted';
    return end;
  }

  /** Reads the interrupts of the queues that have packets. @returns whether there were any */
  private drainReady(): boolean {
    let any = false;
    for (const queue of this.ready) if (drainFd(this.sleeper(queue).fd)) any = true;
    return any;
  }

  private sleeper({ spec }: Queue): Sleeper {
    const known = this.sleepers.get(spec);
    if (known !== undefined) return known;
    if (!isVirtqueue(spec) || spec.interruptFd === undefined) {
      throw new VirtioPmdError(
        'ECONFIG',
        `port ${spec.portId} rx queue ${spec.queueId} has no interrupt: configure the port with rxInterrupts: true`,
      );
    }
    const sleeper = {
      interrupt: openRxInterrupt(spec),
      words: queueState(spec).words,
      nbDesc: spec.nbDesc,
      fd: spec.interruptFd,
      position: -1,
    };
    this.sleepers.set(spec, sleeper);
    return sleeper;
  }
}
