/** An lcore that sends exactly the packets it is told, when it is told, and counts what comes back. */
import { openRx, openTx } from '../../../driver/port/queue.js';
import { packetFrom, readPacket } from '../../../paths/mbuf.js';
import { NIL, type Mempool, type MempoolSpec } from '../../../paths/mempool.js';
import type { RxQueue, TxQueue } from '../../../driver/port/queue.js';
import type { LcoreContext } from '../../../driver/eal/types.js';
import type { PortSpec } from '../../../driver/port/types.js';
import { isRight, udpPacket } from '../../support/udp.js';

const BURST = 32;
const TTL_BYTE = 22;
const PAYLOAD = 42;
/** The peer polls on this CPU, and gets it while we pause. */
const PAUSE_MS = 0.05;
/** A pause of none takes about this long. */
const SLACK_MS = 0.1;
/** Packets under way at most: fewer than any ring on the way has room for, or a peer that was not scheduled would drop some. */
const WINDOW = 64;
const nothing = new Int32Array(new SharedArrayBuffer(4));

export interface SenderData {
  readonly port: PortSpec;
  readonly queue: number;
  readonly mempool: MempoolSpec;
  /** Microseconds before each burst, from when the one before was sent, or with `oneByOne` from when it was back. */
  readonly gapsUs: readonly number[];
  /** Packets per burst. */
  readonly burst: number;
  readonly oneByOne: boolean;
  /** The IPv4 address that packets are for. */
  readonly destination: number;
  /** The TTL of packets that come back. They leave with 64. */
  readonly ttl: number;
  /** How long all of it may take. */
  readonly patienceMs: number;
}

/** What the job posts. */
export interface SenderReport {
  readonly sent: number;
  /** Packets that came back whole, each counted once. */
  readonly back: number;
  /** Packets that came twice, were changed, or that nobody sent. */
  readonly strange: number;
}

export function sendAndCount(context: LcoreContext, data: SenderData): void {
  const { port, queue, gapsUs, burst, oneByOne, patienceMs } = data;
  const pool = context.mempool(data.mempool);
  const sender = new Sender(pool, openRx(port.rx[queue]!, pool), openTx(port.tx[queue]!, pool), data);
  const deadline = performance.now() + patienceMs;
  for (const gapUs of gapsUs) {
    delay(gapUs / 1000);
    sender.send(burst);
    if (!sender.await(context, oneByOne ? 0 : WINDOW, deadline)) break;
  }
  sender.await(context, 0, deadline);
  pool.flushCache();
  const { sent, back, strange } = sender;
  context.post({ sent, back, strange } satisfies SenderReport);
}

/** Waits exactly: as long as possible asleep, the rest awake. */
function delay(ms: number): void {
  const end = performance.now() + ms;
  if (ms > SLACK_MS) Atomics.wait(nothing, 0, 0, ms - SLACK_MS);
  while (performance.now() < end);
}

class Sender {
  sent = 0;
  back = 0;
  strange = 0;
  private readonly seen: Uint8Array;
  private readonly pkts = new Uint32Array(BURST);
  private readonly ttl: number;
  private readonly destination: number;

  constructor(
    private readonly pool: Mempool,
    private readonly rx: RxQueue,
    private readonly tx: TxQueue,
    { gapsUs, burst, ttl, destination }: SenderData,
  ) {
    this.seen = new Uint8Array(gapsUs.length * burst);
    this.ttl = ttl;
    this.destination = destination;
  }

  send(count: number): void {
    const { pool, tx, pkts } = this;
    for (let i = 0; i < count; i++) pkts[i] = this.packet(this.sent + i);
    const taken = tx.xmit(pkts, count);
    pool.freeBulk(pkts, taken, count - taken);
    this.sent += taken;
  }

  private packet(sequence: number): number {
    const payload = new Uint8Array(18);
    new DataView(payload.buffer).setUint32(0, sequence);
    const m = packetFrom(
      this.pool,
      udpPacket({
        source: { mac: 1, ip: 0xc6120001, port: 9 },
        destination: { mac: 2, ip: this.destination, port: 9 },
        payload,
      }),
    );
    if (m === NIL) throw new Error('the mempool is too small for the packets under way');
    return m;
  }

  receive(): void {
    const { rx, pool, pkts } = this;
    const n = rx.recv(pkts, BURST);
    for (let i = 0; i < n; i++) this.check(readPacket(pool, pkts[i]!));
    pool.freeBulk(pkts, 0, n);
  }

  private check(packet: Uint8Array): void {
    const sequence =
      packet.length === PAYLOAD + 18 ? new DataView(packet.buffer, packet.byteOffset).getUint32(PAYLOAD) : -1;
    if (this.seen[sequence] === 0 && packet[TTL_BYTE] === this.ttl && isRight(packet)) {
      this.seen[sequence] = 1;
      this.back++;
    } else this.strange++;
  }

  /** Receives. @returns whether, in the end, at most `underWay` packets are not back */
  await(context: LcoreContext, underWay: number, deadline: number): boolean {
    for (;;) {
      this.receive();
      if (this.sent - this.back <= underWay) return true;
      if (!context.running() || performance.now() > deadline) return false;
      Atomics.wait(nothing, 0, 0, PAUSE_MS);
    }
  }
}
