/**
 * A forwarding stream as its lcore sees it: an Rx queue, a Tx queue, a burst of packets between them, counters. Forwarding
 * modes are written against it, testpmd's own and those of users. docs/programmable-forwarding.md shows it at work.
 */
import {
  aNumber,
  anInstance,
  aSharedBuffer,
  aSize,
  aWhole,
  checkArgument,
  checkArguments,
  checkOptions,
  madeBy,
  numbers,
  optional,
  withOptions,
  type OptionKinds,
} from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import type { Mempool } from '../../paths/mempool.js';
import { RX_PACKETS, streamCounters, streamCountersBytes, TX_DROPPED, TX_PACKETS } from './stream-counters.js';
import type { LcoreContext } from '../eal/types.js';
import { openRx, openTx, type PortQueueSpec, type RxQueue, type TxQueue } from './queue.js';

/**
 * A forwarding mode. It is called once for each stream, on the stream's lcore, and returns what runs one turn: receive a
 * burst, do something with it, send it. A turn neither waits nor allocates.
 */
export type ForwardingMode = (stream: ForwardStream) => () => void;

export interface StreamSettings {
  /** Packets per burst. */
  readonly burst: number;
  /** How often what the Tx queue did not take is offered again, and how long to wait before each time. */
  readonly retries: number;
  readonly retryDelayUs: number;
  /** MAC addresses of the Tx port and of whom it talks to, six bytes each. */
  readonly ownMac: readonly number[];
  readonly peerMac: readonly number[];
}

const aMac = {
  accepts: 'six bytes',
  fits: (value: unknown) => numbers.fits(value) && (value as number[]).length === 6,
};

const streamSettings: OptionKinds<StreamSettings> = {
  burst: optional(aSize),
  retries: optional(aWhole),
  retryDelayUs: optional(aNumber),
  ownMac: optional(aMac),
  peerMac: optional(aMac),
};

const aQueue = madeBy('port.spec()', 'path', 'mempool');

const noMac = [0, 0, 0, 0, 0, 0];
const defaults: StreamSettings = { burst: 32, retries: 0, retryDelayUs: 1, ownMac: noMac, peerMac: noMac };

/** Sees the bursts of a stream go by. */
export interface BurstWatch {
  receiving(): boolean;
  received(stream: ForwardStream, n: number): void;
  sending(): boolean;
  sent(stream: ForwardStream, n: number): void;
}

function waitMicroseconds(us: number): void {
  const end = performance.now() + us / 1000;
  while (performance.now() < end);
}

export class ForwardStream {
  /** The burst: `receive` fills it, `send` sends its first packets. Packets are indices of mbufs in `pool`. */
  readonly pkts: Uint32Array;
  /** Length of `pkts`. */
  readonly burst: number;
  readonly ownMac: readonly number[];
  readonly peerMac: readonly number[];

  constructor(
    readonly rx: RxQueue,
    readonly tx: TxQueue,
    readonly pool: Mempool,
    readonly settings: StreamSettings,
    private readonly counters: Float64Array,
    /** Shows a line: at the prompt of testpmd, elsewhere `eal.lcores.onMessage` gets it. */
    readonly log: (text: string) => void,
    private readonly watch?: BurstWatch,
  ) {
    checkArguments('ForwardStream', {
      rx: [rx, madeBy('openRx', 'recv')],
      tx: [tx, madeBy('openTx', 'xmit')],
      pool: [pool, madeBy('context.mempool', 'putBulk')],
      settings: [settings, withOptions(streamSettings)],
      counters: [counters, anInstance('a Float64Array', Float64Array)],
    });
    this.burst = settings.burst;
    this.ownMac = settings.ownMac;
    this.peerMac = settings.peerMac;
    this.pkts = new Uint32Array(settings.burst);
  }

  /** Receives a burst. @returns how many packets are in `pkts` now; they are the caller's to send, drop, free or keep. */
  receive(): number {
    const n = this.rx.recv(this.pkts, this.burst);
    if (n === 0) return 0;
    this.counters[RX_PACKETS]! += n;
    if (this.watch?.receiving()) this.watch.received(this, n);
    return n;
  }

  /**
   * Sends the first `n` of `pkts`; what the queue does not take, after the retries, is freed and counted as dropped.
   * @throws VirtioPmdError ECONFIG, and sends nothing, when `pkts` holds no `n` packets.
   */
  send(n: number): void {
    if (n === 0) return;
    this.check(n);
    this.transmit(n);
  }

  /** `send` for modes that put nothing of their own making into `pkts`, with `n` above 0. */
  transmit(n: number): void {
    if (this.watch?.sending()) this.watch.sent(this, n);
    const { pkts, counters } = this;
    let sent = this.tx.xmit(pkts, n);
    if (sent < n && this.settings.retries > 0) sent = this.retry(sent, n);
    counters[TX_PACKETS]! += sent;
    if (sent === n) return;
    counters[TX_DROPPED]! += n - sent;
    this.pool.freeBulk(pkts, sent, n - sent);
  }

  /**
   * `transmit` for packets with RTE_MBUF_F_TX_* flags: prepares them first. What cannot be prepared is dropped, and counted
   * so.
   */
  prepareAndTransmit(n: number): void {
    const { pkts, tx } = this;
    for (let ready = tx.prepare(pkts, n); ready < n; ready += tx.prepare(pkts.subarray(ready), n - ready)) {
      this.drop(pkts[ready]!);
      pkts.copyWithin(ready, ready + 1, n--);
    }
    if (n > 0) this.transmit(n);
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

  /** Frees one packet and counts it as dropped. */
  drop(m: number): void {
    this.counters[TX_DROPPED]! += 1;
    this.pool.free(m);
  }

  /** Frees the first `n` of `pkts` and counts nothing: for modes that only receive. */
  free(n: number): void {
    this.pool.freeBulk(this.pkts, 0, n);
  }

  /** A queue would take whatever number it finds: one that is no mbuf must not get as far as the ring. */
  private check(n: number): void {
    const { burst, pkts } = this;
    const { count } = this.pool;
    if (n >>> 0 !== n || n > burst) {
      throw new VirtioPmdError('ECONFIG', `send(${n}): a burst has 0 to ${burst} packets`);
    }
    for (let i = 0; i < n; i++) {
      if (pkts[i]! < count) continue;
      throw new VirtioPmdError(
        'ECONFIG',
        `send(${n}): pkts[${i}] is ${pkts[i]! | 0}, and mbufs have numbers from 0 to ${count - 1}`,
      );
    }
  }
}

/** A stream as plain data, to post to an lcore. */
export interface StreamSpec {
  readonly rx: PortQueueSpec;
  readonly tx: PortQueueSpec;
  /** Default: bursts of 32, no retries, addresses of zeros. */
  readonly settings?: Partial<StreamSettings>;
  /** streamCountersBytes() bytes, for readStreamCounts. Default: nobody reads them. */
  readonly counters?: SharedArrayBuffer;
}

const streamSpec: OptionKinds<StreamSpec> = {
  rx: aQueue,
  tx: aQueue,
  settings: optional(withOptions(streamSettings)),
  counters: optional(aSharedBuffer),
};

/** Opens a stream for the calling lcore. */
export function openStream(context: LcoreContext, spec: StreamSpec): ForwardStream {
  checkArgument('openStream', 'context', context, madeBy('the lcore', 'mempool', 'post'));
  checkOptions('openStream', spec, streamSpec);
  const { rx, tx, settings, counters = new SharedArrayBuffer(streamCountersBytes()) } = spec;
  const pool = context.mempool(rx.mempool);
  const log = (text: string) => context.post(text);
  return new ForwardStream(
    openRx(rx, pool),
    openTx(tx, pool),
    pool,
    { ...defaults, ...settings },
    streamCounters(counters),
    log,
  );
}
