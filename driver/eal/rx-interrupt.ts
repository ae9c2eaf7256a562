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
 * A thread in a system call cannot be ended, so this is how long one that sleeps may hold up the end of a process that does
 * not stop its lcores. It is also how long packets wait whose interrupt a device forgot.
 */
const SLICE_MS = 250;

type Queue = Pick<RxQueue, 'spec' | 'fill'>;

/** What ended a sleep: the time-out, an interrupt, or somebody who wants this thread. */
type End = 'time' | 'interrupt' | 'wanted';

interface Sleeper {
  readonly interrupt: RxInterrupt;
  readonly words: Int32Array;
  readonly nbDesc: number;
  readonly fd: number;
  /** Its position in the set of the last sleep; -1: it was left out. */
  position: number;
}

export class RxInterrupts {
  /** Times that `wait` found no packets and slept. */
  sleeps = 0;
  /** Sleeps that ended with an interrupt and packets. */
  wakeups = 0;
  /** Interrupts without packets: the sleep went on. */
  spurious = 0;
  /** Packets found without an interrupt, by looking now and then: the device forgot it. */
  missed = 0;
  private readonly sleepers = new WeakMap<PortQueueSpec, Sleeper>();
  private readonly ready: Queue[] = [];
  private set = new PollSet(8);

  /** @param wakeFd an eventfd that ends a wait; the lcore's own, which Lcores signals when it wants the lcore to look around. */
  constructor(private readonly wakeFd?: number) {}

  /**
   * Asks the device to interrupt with the next packet. A queue that ran out of buffers is given some, if there are mbufs now:
   * nothing would ever arrive.
   * @returns true when there are packets already: receive them instead of waiting
   * @throws VirtioPmdError ECONFIG when the queue has no interrupt
   */
  enable(queue: Queue): boolean {
    const { words, interrupt, nbDesc } = this.sleeper(queue);
    const working = words[STARTED] !== 0 && words[BROKEN] === 0;
    if (working && words[FREE_COUNT] === nbDesc) queue.fill();
    return interrupt.enable();
  }

  disable(queue: Queue): void {
    this.sleeper(queue).interrupt.disable();
  }

  /**
   * Sleeps until one of `queues` has packets. Enables their interrupts, looks once more before it sleeps, and disables them
   * afterwards. The queues must be this thread's own, as for bursts.
   * @param timeoutMs -1: as long as it takes.
   * @returns those that have packets; none after the time-out, or when the lcore is wanted: go on with the loop and ask
   * `context.running()`. The array is used again by the next wait.
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
        // the interrupt may have come right behind the time-out
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
      // a queue that is stopped may be one of a port that is closed, whose descriptors are somebody else's by now
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
