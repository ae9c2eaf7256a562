/** A stream as its lcore sees it: two queues, a burst array, counters. */
import type { RxPath, TxPath } from '../../../paths/guest/queue.js';
import type { Mempool } from '../../../paths/mempool.js';
import { RX_PACKETS, TX_DROPPED, TX_PACKETS } from '../counters.js';
import type { BurstDump } from '../verbose.js';

/** A forwarding mode: one burst of one stream per call. Allocates nothing. */
export interface Engine {
  run(stream: ForwardStream): void;
}

export interface StreamSettings {
  readonly burst: number;
  /** How often what the Tx queue did not take is offered again, and how long to wait before each time. */
  readonly retries: number;
  readonly retryDelayUs: number;
  /** MAC addresses of the Tx port and of whom it talks to, six bytes each. */
  readonly ownMac: readonly number[];
  readonly peerMac: readonly number[];
}

function waitMicroseconds(us: number): void {
  const end = performance.now() + us / 1000;
  while (performance.now() < end);
}

export class ForwardStream {
  /** The burst: `receive` fills it, `send` sends its first packets. */
  readonly pkts: Uint32Array;
  readonly burst: number;

  constructor(
    readonly rx: RxPath,
    readonly tx: TxPath,
    readonly pool: Mempool,
    readonly settings: StreamSettings,
    private readonly counters: Float64Array,
    private readonly dump: BurstDump,
  ) {
    this.burst = settings.burst;
    this.pkts = new Uint32Array(settings.burst);
  }

  /** @returns how many packets are in `pkts` now. */
  receive(): number {
    const n = this.rx.recv(this.pkts, this.burst);
    if (n === 0) return 0;
    this.counters[RX_PACKETS]! += n;
    if (this.dump.receiving()) this.dump.received(this, n);
    return n;
  }

  /** Sends the first `n` of `pkts`; what the queue does not take, after the retries, is freed and counted. */
  send(n: number): void {
    if (this.dump.sending()) this.dump.sent(this, n);
    const { pkts, counters } = this;
    let sent = this.tx.xmit(pkts, n);
    if (sent < n && this.settings.retries > 0) sent = this.retry(sent, n);
    counters[TX_PACKETS]! += sent;
    if (sent === n) return;
    counters[TX_DROPPED]! += n - sent;
    this.pool.freeBulk(pkts, sent, n - sent);
  }

  /** @returns how many of `n` are sent in the end; the unsent are `pkts[sent .. n - 1]`. */
  private retry(sent: number, n: number): number {
    const { pkts, settings, tx } = this;
    for (let i = 0; i < settings.retries && sent < n; i++) {
      waitMicroseconds(settings.retryDelayUs);
      // a path sends from index 0 on; what was sent is not ours any more and may be overwritten
      pkts.copyWithin(0, sent, n);
      const more = tx.xmit(pkts, n - sent);
      pkts.copyWithin(sent, 0, n - sent);
      sent += more;
      // after the copy the unsent begin `more` further on, which is where `sent` points now
    }
    return sent;
  }

  /** Frees the first `n` of `pkts`. */
  free(n: number): void {
    this.pool.freeBulk(this.pkts, 0, n);
  }
}
