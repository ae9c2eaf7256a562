/**
 * How long to wait for a thread: only time in which it could run counts. A job that hangs and one that waits for a CPU look
 * alike from outside. But the kernel records how long a runnable thread has waited for a CPU (run_delay in
 * /proc/PID/task/TID/schedstat: proc(5), the kernel's Documentation/scheduler/sched-stats.rst), and that time is subtracted.
 */
import { readFileSync } from 'node:fs';

/** Waiting for a CPU is allowed for this long; a machine that is busier counts as one that does not work. */
const MAX_EXTRA_MS = 60_000;
/** Milliseconds between two looks at a thread that is runnable and may not have run. */
const LOOK_MS = 100;

/** CPU time of a thread. */
export interface ThreadTimes {
  /** Milliseconds on a CPU. */
  readonly ran: number;
  /** Milliseconds that it was runnable and waited for a CPU; the current wait is not counted yet. */
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

/** One wait for a thread, from its construction on. */
export class Patience {
  private readonly begin: number;
  private readonly atBegin: ThreadTimes | undefined;
  private last: ThreadTimes | undefined;

  /**
   * @param threadId Linux thread id of the thread that is waited for; 0 or less while it has none yet
   * @param timeoutMs milliseconds in which the thread could run; Infinity: no limit
   * @param times tests pass mock times
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

  /** Milliseconds to wait before the next call. 0 or less: the thread has had its time, or has died. */
  left(): number {
    const passed = this.now() - this.begin;
    const left = this.timeoutMs - passed;
    if (left > 0 || passed >= this.timeoutMs + MAX_EXTRA_MS) return left;
    const times = this.times(this.threadId());
    if (times === undefined) return left;
    const before = this.last;
    this.last = times;
    const leftOfItsOwn = left + times.waited - (this.atBegin?.waited ?? 0);
    // the kernel counts the current wait only when it is over
    const mayWait = times.runnable && (before === undefined || before.ran === times.ran);
    return leftOfItsOwn > 0 ? leftOfItsOwn : mayWait ? LOOK_MS : leftOfItsOwn;
  }

  /** Whether the extra time is used up too: the machine is busy, and the job does not hang. */
  get starved(): boolean {
    return this.now() - this.begin >= this.timeoutMs + MAX_EXTRA_MS;
  }

  /** For an error message: how much CPU time the thread got. */
  get account(): string {
    const times = this.times(this.threadId());
    const passed = Math.round(this.now() - this.begin);
    const ran = Math.round((times?.ran ?? 0) - (this.atBegin?.ran ?? 0));
    return `its thread had a CPU for ${ran} ms of ${passed}, the machine is too busy: give it a CPU that nobody else uses (-l, --lcores)`;
  }
}
