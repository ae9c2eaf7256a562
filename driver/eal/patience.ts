/**
 * How long to wait for a thread: a time in which it could run. A job that hangs and one that waits for a CPU look alike from
 * outside, but the kernel counts the time that a runnable thread waits (run_delay, /proc/PID/task/TID/schedstat: proc(5), the
 * kernel's Documentation/scheduler/sched-stats.rst), and that time does not count here.
 */
import { readFileSync } from 'node:fs';

/** A machine so busy is one that does not work. */
const MAX_EXTRA_MS = 60_000;
/** Between two looks at a thread that is runnable and may not have run. */
const LOOK_MS = 100;

export interface ThreadTimes {
  /** Milliseconds on a CPU. */
  readonly ran: number;
  /** Milliseconds that it was ready to run, and waited for a CPU; those of a wait that goes on are not in it yet. */
  readonly waited: number;
  readonly runnable: boolean;
}

/** Undefined when there is no such thread, or no such file. */
function timesOf(threadId: number): ThreadTimes | undefined {
  try {
    const task = `/proc/self/task/${threadId}`;
    const [ran, waited] = readFileSync(`${task}/schedstat`, 'utf8').split(' ').map(Number);
    const stat = readFileSync(`${task}/stat`, 'utf8');
    const runnable = stat.slice(stat.lastIndexOf(')') + 2).startsWith('R');
    return { ran: ran! / 1e6, waited: waited! / 1e6, runnable };
  } catch {
    return undefined;
  }
}

export class Patience {
  private readonly begin: number;
  private readonly atBegin: ThreadTimes | undefined;
  private last: ThreadTimes | undefined;

  /**
   * @param threadId of the thread that is waited for; 0 or less while it has none yet
   * @param times tests give mock ones
   */
  constructor(
    private readonly threadId: () => number,
    private readonly timeoutMs: number,
    private readonly times: (threadId: number) => ThreadTimes | undefined = timesOf,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.begin = now();
    if (timeoutMs !== Infinity) this.atBegin = times(threadId());
  }

  /** Milliseconds to go on waiting, before one asks again. 0 or less: the thread has had its time, or has died. */
  left(): number {
    const passed = this.now() - this.begin;
    const left = this.timeoutMs - passed;
    if (left > 0 || passed >= this.timeoutMs + MAX_EXTRA_MS) return left;
    const times = this.times(this.threadId());
    if (times === undefined) return left;
    const before = this.last;
    this.last = times;
    const leftOfItsOwn = left + times.waited - (this.atBegin?.waited ?? 0);
    // what it waits at this moment is counted when that is over
    const mayWait = times.runnable && (before === undefined || before.ran === times.ran);
    return leftOfItsOwn > 0 ? leftOfItsOwn : mayWait ? LOOK_MS : leftOfItsOwn;
  }

  /** Whether it was waited for longer than `timeoutMs`, in vain: a busy machine, and not a job that hangs. */
  get starved(): boolean {
    return this.now() - this.begin >= this.timeoutMs + MAX_EXTRA_MS;
  }

  /** For a sentence: what the thread had, when it was not enough. */
  get account(): string {
    const times = this.times(this.threadId());
    const passed = Math.round(this.now() - this.begin);
    const ran = Math.round((times?.ran ?? 0) - (this.atBegin?.ran ?? 0));
    return `its thread had a CPU for ${ran} ms of ${passed}, the machine is too busy: give it a CPU that nobody else uses (-l, --lcores)`;
  }
}
