/**
 * System calls that could wait for ever because a peer holds the same open file. A timer of this thread interrupts them
 * (EINTR) a moment later. For kernels and containers without a better way: it costs three more system calls.
 */
import { SystemError } from './errors.js';
import { c, check, functionAddress, systemCalls } from './libc.js';

/** Delay of the first interruption, and the interval of the next ones: the first may come before the call waits. */
const INTERVAL_NS = 200_000n;

const SIG_UNBLOCK = 1;
const CLOCK_MONOTONIC = 1;
const SIGEV_THREAD_ID = 4;
/** Real-time signals that neither Node nor glibc uses, highest first. The first one without a handler is taken. */
const SIGNALS = [64, 63, 62, 61, 60];

// struct sigaction of glibc on x64 and arm64: handler 0, mask 8, flags 136, restorer 144
const SIGACTION_SIZE = 152;
const SIGSET_SIZE = 128;

// struct itimerspec: interval and first, each seconds and nanoseconds
const on = new BigUint64Array([0n, INTERVAL_NS, 0n, INTERVAL_NS]);
const off = new BigUint64Array(4);

/** The timer of this thread, or why there is none. */
let timer: number | SystemError | undefined;

/**
 * Installs a handler that does nothing, without SA_RESTART, so that a call that waits returns. The handler is getppid: it is
 * async-signal-safe, changes nothing, and ignores the argument. @returns the signal's number. @throws SystemError
 */
function claimSignal(): number {
  const nothing = functionAddress('getppid');
  const action = new DataView(new ArrayBuffer(SIGACTION_SIZE));
  const bytes = new Uint8Array(action.buffer);
  for (const signal of SIGNALS) {
    check(c.sigaction(signal, null, bytes), 'sigaction');
    const handler = action.getBigUint64(0, true);
    if (handler !== 0n && handler !== nothing) continue; // the program uses it
    bytes.fill(0);
    action.setBigUint64(0, nothing, true);
    check(c.sigaction(signal, bytes, null), 'sigaction');
    const set = new Uint8Array(SIGSET_SIZE);
    set[(signal - 1) >> 3] = 1 << ((signal - 1) & 7);
    check(-c.pthreadSigmask(SIG_UNBLOCK, set, null), 'pthread_sigmask');
    return signal;
  }
  throw new SystemError('sigaction', 'EBUSY', `every signal from ${SIGNALS.at(-1)} to ${SIGNALS[0]} has a handler`);
}

function createTimer(): number | SystemError {
  const { timerCreate, timerDelete } = systemCalls;
  try {
    if (timerCreate < 0) throw new SystemError('timer_create', 'ENOSYS', `on ${process.arch}`);
    // struct sigevent: value 0, signo 8, notify 12, tid 16
    const event = new DataView(new ArrayBuffer(64));
    event.setInt32(8, claimSignal(), true);
    event.setInt32(12, SIGEV_THREAD_ID, true);
    event.setInt32(16, c.gettid(), true);
    const id = new Int32Array(2);
    check(c.timerCreate(timerCreate, CLOCK_MONOTONIC, new Uint8Array(event.buffer), id), 'timer_create');
    const made = id[0]!;
    process.once('exit', () => void c.syscall(timerDelete, made, 0, 0, 0, 0));
    return made;
  } catch (error) {
    if (error instanceof SystemError) return error;
    throw error;
  }
}

/** Why `interrupted` cannot work here; undefined when it can. */
export function interruptionProblem(): SystemError | undefined {
  timer ??= createTimer();
  return typeof timer === 'number' ? undefined : timer;
}

/**
 * Makes one system call, which fails with EINTR instead of waiting for more than about 200 us.
 * @returns its result; -1, without a call, where there is no such timer
 */
export function interrupted(call: () => number): number {
  timer ??= createTimer();
  if (typeof timer !== 'number') return -1;
  const { timerSettime } = systemCalls;
  c.timerSettime(timerSettime, timer, 0, on, null);
  const result = call();
  // when this returns, the last interruption has been delivered: it cannot hit a later call
  c.timerSettime(timerSettime, timer, 0, off, null);
  return result;
}
