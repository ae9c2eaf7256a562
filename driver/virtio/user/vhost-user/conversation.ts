/**
 * What is being said on one vhost-user connection: exchanges, one after the other, none of which waits by itself. `run`
 * goes on with them as far as the back-end's answers allow, so that whoever calls it decides how long to wait: not at all
 * on a timer, a moment in a call.
 *
 * The whole handshake, from SET_OWNER to DRIVER_OK, has one deadline. Only time counts in which this process could have
 * heard an answer: a process that was stopped, or starved, does not find its back-end guilty.
 */
import { VirtioPmdError } from '../../../../native/errors.js';
import { pollFd } from '../../../../native/event.js';
import { requestName } from '../../../wire/vhost-user.js';
import type { Exchange, Pause, VhostUserClient } from './client.js';

/** Seconds. A back-end on a machine with a load of 20 takes some; QEMU and rte_vhost wait for ever. */
export const DEFAULT_HANDSHAKE_TIMEOUT = 60;

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

/** Between two looks at the socket no more than this counts: nobody looked in the meantime. */
const LONGEST_GAP_MS = 1000;

export class Conversation {
  private readonly exchanges: Exchange[] = [];
  /** What it waits for, and how long it has, in milliseconds. */
  private pause: Pause | undefined;
  private waited = 0;
  /** The same for the handshake. */
  private spent = 0;
  private lastLook = 0;
  private running = false;

  constructor(
    readonly client: VhostUserClient,
    private readonly limits: Limits,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Something has not been answered yet. */
  get busy(): boolean {
    return this.exchanges.length > 0;
  }

  /** Says this once everything before it is answered. */
  add(exchange: Exchange): void {
    if (!this.busy) this.lastLook = this.now();
    this.exchanges.push(exchange);
  }

  /** A handshake is over: the next exchange is the first of another. */
  restartClock(): void {
    this.spent = 0;
  }

  /**
   * Goes on. @returns true once everything is answered
   * @throws VirtioPmdError EPEER, ETIMEOUT; what was still to be said is dropped then
   */
  run({ each, total }: Patience): boolean {
    if (this.running) return false; // whoever gets a log line may look at the port, which ends up here
    this.running = true;
    const until = this.now() + total;
    try {
      for (;;) {
        const pause = this.advance();
        if (pause === undefined) return true;
        const allowed = this.checkClock(pause);
        const left = Math.min(each, until - this.now());
        if (left <= 0) return false;
        const ready = pollFd(this.client.fd, pause.events, Math.ceil(Math.min(left, allowed))) !== 0;
        if (!ready && left <= allowed) return false;
      }
    } catch (error) {
      this.exchanges.length = 0;
      throw error;
    } finally {
      this.running = false;
    }
  }

  /** Looks at the socket. @returns why it cannot go on now; undefined: everything is said */
  private advance(): Pause | undefined {
    for (let first = this.exchanges[0]; first !== undefined; first = this.exchanges[0]) {
      const step = first.next();
      if (!step.done) return step.value;
      this.exchanges.shift();
    }
    return undefined;
  }

  /**
   * After a look that found nothing, so that an answer which is there always counts.
   * @returns how long it may still take @throws VirtioPmdError ETIMEOUT
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
