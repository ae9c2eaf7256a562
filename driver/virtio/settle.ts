/**
 * The next step of a port after its device has answered all commands: within the call for a quick device, from the port's
 * timer for a slow one (a vhost-user back-end on a busy machine, or one that hangs).
 */
import { giveUp } from './init.js';
import type { Transport } from './transport.js';

/** How long a call waits for answers: most come within milliseconds, and a second is not yet a freeze. */
const PATIENCE_MS = 1000;

export class Settling {
  private next: (() => void) | undefined;
  private until = 0;

  constructor(private readonly transport: Transport) {}

  /** True when a step waits for answers. */
  get pending(): boolean {
    return this.next !== undefined;
  }

  /** Call it when a call of the user begins, which may wait. The timer may not. */
  bePatient(): void {
    this.until = performance.now() + PATIENCE_MS;
  }

  /** Waits as long as the call may. @returns true when everything is answered @throws VirtioPmdError EPEER, ETIMEOUT */
  wait(): boolean {
    return this.transport.settle?.(Math.max(0, this.until - performance.now())) ?? true;
  }

  /**
   * Runs `step` after the device has answered: now if it is quick, else in `resume`.
   * @throws VirtioPmdError the device's error, after writing FAILED to it
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

  /** Runs the step, when the device has answered. @throws VirtioPmdError from the step */
  resume(): void {
    const { next } = this;
    this.next = undefined;
    next?.();
  }

  /** Discards the step: the device is lost, or has to do something else. */
  drop(): void {
    this.next = undefined;
  }
}
