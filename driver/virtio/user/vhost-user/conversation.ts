/**
 * The queue of exchanges on one vhost-user connection. They are carried out one after the other, and none of them waits by
 * itself. `run` continues them as far as the back-end's answers allow, and its caller decides how long to wait: not at all on a
 * timer, a moment in a call (docs/decisions/0006).
 *
 * The whole handshake, from SET_OWNER to DRIVER_OK, has one deadline. Only time counts in which this process could have
 * received an answer: time in which it was stopped, or had no CPU, is not held against the back-end.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import { pollServing } from '../../../eal/services.js';
import { requestName } from '../../../wire/vhost-user.js';
import type { Exchange, Pause, VhostUserClient } from './client.js';

/** Seconds. A back-end on a machine with a load of 20 needs some of them; QEMU and rte_vhost wait for ever. */
export const DEFAULT_HANDSHAKE_TIMEOUT = 60;

/** Time limits, in milliseconds. */
export interface Limits {
  /** For the whole handshake. */
  readonly handshakeTimeoutMs: number;
  /** For one reply; undefined: what is left of the handshake's time. */
  readonly replyTimeoutMs: number | undefined;
}

/** How long one call of `run` may wait, in milliseconds. */
export interface Patience {
  /** For one answer. */
  readonly each: number;
  /** For all of them. */
  readonly total: number;
}

/** Of the time between two looks at the socket at most this much counts, as nobody looked in the meantime. */
const LONGEST_GAP_MS = 1000;

/** The exchanges of one connection, in order. */
export class Conversation {
  private readonly exchanges: Exchange[] = [];
  /** What the first exchange waits for, and since how many milliseconds. */
  private pause: Pause | undefined;
  private waited = 0;
  /** Milliseconds that the handshake has taken. */
  private spent = 0;
  private lastLook = 0;
  private running = false;

  constructor(
    readonly client: VhostUserClient,
    private readonly limits: Limits,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Exchanges are not complete yet. */
  get busy(): boolean {
    return this.exchanges.length > 0;
  }

  /** Appends an exchange, which begins once all before it are complete. */
  add(exchange: Exchange): void {
    if (!this.busy) this.lastLook = this.now();
    this.exchanges.push(exchange);
  }

  /** A handshake is complete: the next exchange is the first of another one. */
  restartClock(): void {
    this.spent = 0;
  }

  /**
   * Continues the exchanges. @returns true once all of them are complete
   * @throws VirtioPmdError EPEER, ETIMEOUT; the remaining exchanges are dropped then
   */
  run({ each, total }: Patience): boolean {
    if (this.running) return false; // code that gets a log line may look at the port, which calls this again
    this.running = true;
    const until = this.now() + total;
    try {
      for (;;) {
        const pause = this.advance();
        if (pause === undefined) return true;
        const allowed = this.checkClock(pause);
        const left = Math.min(each, until - this.now());
        if (left <= 0) return false;
        const ready = pollServing(this.client.fd, pause.events, Math.ceil(Math.min(left, allowed))) !== 0;
        if (!ready && left <= allowed) return false;
      }
    } catch (error) {
      this.exchanges.length = 0;
      throw error;
    } finally {
      this.running = false;
    }
  }

  /** Continues without waiting. @returns what it has to wait for; undefined: all exchanges are complete */
  private advance(): Pause | undefined {
    for (let first = this.exchanges[0]; first !== undefined; first = this.exchanges[0]) {
      const step = first.next();
      if (!step.done) return step.value;
      this.exchanges.shift();
    }
    return undefined;
  }

  /**
   * Checks the deadlines. It is called after a look that found nothing, so that an answer that has arrived always counts.
   * @returns milliseconds that the answer may still take
   * @throws VirtioPmdError ETIMEOUT
   */
  private checkClock(pause: Pause): number {
    const now = this.now();
    const gap = Math.min(now - this.lastLook, LONGEST_GAP_MS);
    this.lastLook = now;
    this.spent += gap;
    if (pause !== this.pause) this.waited = 0;
    else this.waited += gap;
    this.pause = pause;
    const { handshakeTimeoutMs, replyTimeoutMs = Infinity } = this.limits;
    if (this.spent >= handshakeTimeoutMs) throw this.late(pause, deadline(handshakeTimeoutMs));
    if (this.waited >= replyTimeoutMs) throw this.late(pause, `${replyTimeoutMs} ms`);
    return Math.min(handshakeTimeoutMs - this.spent, replyTimeoutMs - this.waited);
  }

  private late({ request }: Pause, within: string): VirtioPmdError {
    this.client.close();
    const what = `the back-end did not answer ${requestName(request)} within ${within}`;
    return new VirtioPmdError('ETIMEOUT', `${what}: it hangs, or is stopped`);
  }
}

function deadline(ms: number): string {
  return `the ${ms / 1000} s that the whole handshake may take (handshake_timeout)`;
}
