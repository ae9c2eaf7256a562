/**
 * A forwarding stream as its lcore sees it: an Rx queue, a Tx queue, a burst of packets between them, counters. It is the
 * interface of forwarding modes, testpmd's own and those of users. docs/programmable-forwarding.md has examples.
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
 * A forwarding mode. It is called once for each stream, on the stream's lcore, and returns a function that runs one turn:
 * receive a burst, process it, send it. A turn must neither wait nor allocate.
 */
export type ForwardingMode = (stream: ForwardStream) => () => void;

export interface StreamSettings {
  /** Packets per burst. */
  readonly burst: number;
  /** How often packets that the Tx queue did not take are sent again, and the delay before each retry. */
  readonly retries: number;
  readonly retryDelayUs: number;
  /** MAC addresses of the Tx port and of its peer, six bytes each. */
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

/** Observes the bursts of a stream. */
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
  /** The burst: `receive` fills it, `send` sends its first packets. Packets are mbuf indices in `pool`. */
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
    /** Shows a line: in testpmd at the prompt, elsewhere through `eal.lcores.onMessage`. */
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

  /** Receives a burst into `pkts`. @returns how many packets; the caller must send, drop, free or keep them. */
  receive(): number {
    const n = this.rx.recv(this.pkts, this.burst);
    if (n === 0) return 0;
    this.counters[RX_PACKETS]! += n;
    if (this.watch?.receiving()) this.watch.received(this, n);
    return n;
  }

  /**
   * Sends the first `n` of `pkts`. Packets that the queue does not take after the retries are freed and counted as dropped.
   * @throws VirtioPmdError ECONFIG, and sends nothing, when `pkts` has fewer than `n` valid packets.
   */
  send(n: number): void {
    if (n === 0) return;
    this.check(n);
    this.transmit(n);
  }

  /** `send` without checks, for modes that only put valid mbufs into `pkts`. `n` must be above 0. */
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
   * `transmit` for packets with RTE_MBUF_F_TX_* flags: prepares them first. Packets that cannot be prepared are dropped and
   * counted as such.
   */
  prepareAndTransmit(n: number): void {
    const { pkts, tx } = this;
    for (let ready = tx.prepare(pkts, n); ready < n; ready += tx.prepare(pkts.subarray(ready), n - ready)) {
      this.drop(pkts[ready]!);
      pkts.copyWithin(ready, ready + 1, n--);
    }
    if (n > 0) this.transmit(n);
  }

  /** Retries. @returns how many of `n` were sent in all; the unsent ones are `pkts[sent .. n - 1]`. */
  private retry(sent: number, n: number): number {
    const { pkts, settings, tx } = this;
    for (let i = 0; i < settings.retries && sent < n; i++) {
      waitMicroseconds(settings.retryDelayUs);
      // a path sends from index 0 on; the entries of sent packets may be overwritten
      pkts.copyWithin(0, sent, n);
      const more = tx.xmit(pkts, n - sent);
      pkts.copyWithin(sent, 0, n - sent);
      sent += more;
      // the unsent packets now begin at `sent`
    }
    return sent;
  }

  /** Frees one packet and counts it as dropped. */
  drop(m: number): void {
    this.counters[TX_DROPPED]! += 1;
    this.pool.free(m);
  }

  /** Frees the first `n` of `pkts` without counting them: for modes that only receive. */
  free(n: number): void {
    this.pool.freeBulk(this.pkts, 0, n);
  }

  /** Checks the first `n` of `pkts`: a queue accepts any number, and an invalid mbuf must not reach the ring. */
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
  /** streamCountersBytes() bytes, for readStreamCounts. Default: private memory. */
  readonly counters?: SharedArrayBuffer;
}

const streamSpec: OptionKinds<StreamSpec> = {
  rx: aQueue,
  tx: aQueue,
  settings: optional(withOptions(streamSettings)),
  counters: optional(aSharedBuffer),
};

/** Opens a stream for the calling lcore. Before it, `loadQueues([spec.rx, spec.tx])`, unless both are virtqueues. */
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
