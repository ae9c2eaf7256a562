/**
 * The words that the main thread and one lcore's worker thread share. State changes and errors are here and not in
 * messages, so that the main thread can launch a job and wait for it in straight-line code, without its event loop.
 */
import type { VirtioPmdError } from '../../native/errors.js';
import { decodeFailure, encodeFailure } from './lcore-error.js';

// word numbers; the tick is alone on its cache line, because its lcore writes it on every turn
/** One of the states below. */
export const STATE = 0;
/** 0; 1: the job should return; CLOSING: the same, and a job that is STARTING is not called at all. */
export const STOP = 1;
export const CLOSING = 2;
/** Linux thread id of the worker, 0 before it runs, GONE when it ends. */
export const THREAD_ID = 2;
export const GONE = -1;
/** Length of the error in bytes, as lcore-error.ts encodes it. */
const ERROR_LENGTH = 3;
/** Turns of the job's loop, wrapping at 32 bits. */
export const TICK = 16;
const ERROR_TEXT = 32 * 4;
const ERROR_MAX = 16384;

export const IDLE = 0;
/** Launched, and not yet in the job's function: it holds no queues and no mbufs. */
export const STARTING = 1;
export const RUNNING = 2;
/** The job threw, or its thread died; the error is kept until `wait` reports it. */
export const FAILED = 3;

/** The shared words of one lcore, as Int32 at the word numbers above. */
export interface LcoreControl {
  readonly shared: SharedArrayBuffer;
  readonly words: Int32Array;
}

/** The control of one lcore. @param shared that of another thread, on which it is opened; default: a new one. */
export function createControl(shared = new SharedArrayBuffer(ERROR_TEXT + ERROR_MAX)): LcoreControl {
  return { shared, words: new Int32Array(shared, 0, 32) };
}

/** Publishes a state, and wakes a thread that waits for it. */
export function setState(control: LcoreControl, state: number): void {
  Atomics.store(control.words, STATE, state);
  Atomics.notify(control.words, STATE);
}

/** Records why the job failed, then the state FAILED. @param where the lcore and the job, for the message. */
export function setFailed(control: LcoreControl, error: unknown, where: string): void {
  const bytes = encodeFailure(error, where, ERROR_MAX);
  new Uint8Array(control.shared, ERROR_TEXT, ERROR_MAX).set(bytes);
  control.words[ERROR_LENGTH] = bytes.length;
  setState(control, FAILED);
}

/**
 * The error of a control in state FAILED: a VirtioPmdError keeps its code, any other becomes ELCORE. The job's own error is the
 * `cause`.
 */
export function failureOf(control: LcoreControl): VirtioPmdError {
  // a TextDecoder refuses shared memory, hence the copy
  return decodeFailure(new Uint8Array(control.shared, ERROR_TEXT, ERROR_MAX).slice(0, control.words[ERROR_LENGTH]));
}
