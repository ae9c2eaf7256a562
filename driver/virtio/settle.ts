/**
 * What a port goes on with once its device has answered everything it was told: within the call for a device that is
 * quick, and from the port's timer for one that is not (a vhost-user back-end on a busy machine, or one that hangs).
 */
import { giveUp } from './init.js';
import type { Transport } from './transport.js';

/** How long a call waits for answers: most come within milliseconds, and a second is no freeze yet. */
const PATIENCE_MS = 1000;

export class Settling {
  private next: (() => void) | undefined;
  private until = 0;

  constructor(private readonly transport: Transport) {}

  /** Answers are awaited, with something to do after them. */
  get pending(): boolean {
    return this.next !== undefined;
  }

  /** A call of the user begins: it may wait. What the timer does may not. */
  bePatient(): void {
    this.until = performance.now() + PATIENCE_MS;
  }

  /** Waits as long as the call may. @returns true once everything is answered @throws VirtioPmdError EPEER, ETIMEOUT */
  wait(): boolean {
    return this.transport.settle?.(Math.max(0, this.until - performance.now())) ?? true;
  }

  /**
   * Has the device do what it was told, then `step`: now if it is quick, else at `resume`.
   * @throws VirtioPmdError what the device did instead, after saying FAILED to it
   */
  after(step: () => void): void {
    let settled;
    try {
      settled = this.wait();
    } catch (error) {
      giveUp(this.transport);
      throw error;
    }
    if (settled) step();
    else this.next = step;
  }

  /** The device has answered. @throws VirtioPmdError from the step */
  resume(): void {
    const { next } = this;
    this.next = undefined;
    next?.();
  }

  /** The device is lost, or is to do something else. */
  drop(): void {
    this.next = undefined;
  }
}
