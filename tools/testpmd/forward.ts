/**
 * The lcore job: opens the queues of its streams and forwards until it is stopped. Its input is plain data.
 */
import { loadQueues, openRx, openTx, type PortQueueSpec } from '../../driver/port/queue.js';
import { ForwardStream } from '../../driver/port/stream.js';
import { streamCounters } from '../../driver/port/stream-counters.js';
import type { LcoreContext } from '../../driver/eal/types.js';
import { createEngine } from './engines/create.js';
import type { Engine, StreamSettings } from './engines/stream.js';
import type { TxSettings } from './engines/tx-settings.js';
import { TxOnly, type PacketPlan } from './engines/txonly.js';
import { createUserEngine } from './engines/user.js';
import { isUserMode, type Mode } from './engines/modes.js';
import { BurstDump } from './engines/verbose.js';

export interface StreamPlan {
  readonly rx: PortQueueSpec;
  readonly tx: PortQueueSpec;
  /** Index among all streams, as in the counters. */
  readonly index: number;
  readonly settings: StreamSettings;
  readonly txSettings: TxSettings;
}

export interface ForwardJob {
  readonly mode: Mode;
  readonly streams: readonly StreamPlan[];
  readonly packets: PacketPlan;
  /** Drop waiting packets in the Rx queues before forwarding begins. */
  readonly flush: boolean;
  /** Bursts of txonly packets to send before forwarding begins. */
  readonly txFirst: number;
  /** Number of lcores that run this job. */
  readonly lcoreCount: number;
  /** streamCountersBytes(all streams) bytes. */
  readonly counters: SharedArrayBuffer;
  /** Float64 for each stream: packets of the csum mode with a bad L4 checksum. */
  readonly badL4: SharedArrayBuffer;
  /** CONTROL_WORDS words. */
  readonly control: SharedArrayBuffer;
}

/** Indices of words in ForwardJob.control. */
export const VERBOSE = 0;
/** How many lcores have opened and flushed their queues. */
export const FLUSHED = 1;
/** How many lcores have sent their first packets and forward now. */
export const FORWARDING = 2;
export const CONTROL_WORDS = 3;

/** Most bursts to flush: a peer that sends without a pause must not block the start. */
const FLUSH_BURSTS = 4096;
const FLUSH_ROUNDS = 2;
const FLUSH_PAUSE_MS = 10;

interface Running {
  readonly stream: ForwardStream;
  readonly engine: Engine;
}

export async function forward(context: LcoreContext, job: ForwardJob): Promise<void> {
  const control = new Int32Array(job.control);
  const running: Running[] = [];
  await loadQueues(job.streams.flatMap(({ rx, tx }) => [rx, tx]));
  for (const plan of job.streams) running.push(await open(context, job, plan, control));
  run(context, job, running, control);
}

function run(context: LcoreContext, job: ForwardJob, running: readonly Running[], control: Int32Array): void {
  if (job.flush) flush(context, running);
  waitForAll(context, control, job.lcoreCount);
  if (job.txFirst > 0) transmitFirst(context, job, running);
  count(control, FORWARDING);
  const streams = running.length;
  while (context.running()) {
    for (let i = 0; i < streams; i++) running[i]!.engine.run(running[i]!.stream);
  }
}

async function open(context: LcoreContext, job: ForwardJob, plan: StreamPlan, control: Int32Array): Promise<Running> {
  const { mode, packets } = job;
  const { rx, tx, index, settings, txSettings } = plan;
  const pool = context.mempool(rx.mempool);
  const counters = streamCounters(job.counters, index);
  const print = (text: string) => context.post(text);
  const dump = new BurstDump(control, print);
  const stream = new ForwardStream(openRx(rx, pool), openTx(tx, pool), pool, settings, counters, print, dump);
  const engine = isUserMode(mode)
    ? await createUserEngine(mode, stream)
    : createEngine(mode, {
        settings,
        tx: txSettings,
        plan: packets,
        dataRoom: pool.dataRoom,
        lcoreId: context.lcoreId,
        badL4: new Float64Array(job.badL4),
        index,
      });
  return { stream, engine };
}

/** Frees waiting packets in the Rx queues. A second pass catches packets that were in flight during the first. */
function flush(context: LcoreContext, running: readonly Running[]): void {
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (let round = 0; round < FLUSH_ROUNDS; round++) {
    for (const { stream } of running) {
      for (let i = 0; i < FLUSH_BURSTS && context.running(); i++) {
        const n = stream.rx.recv(stream.pkts, stream.burst);
        if (n === 0) break;
        stream.free(n);
      }
    }
    Atomics.wait(pause, 0, 0, FLUSH_PAUSE_MS);
  }
}

function count(control: Int32Array, word: number): void {
  Atomics.add(control, word, 1);
  Atomics.notify(control, word);
}

/** Waits until all lcores have flushed: another lcore could still drop the packets that this one sends. */
function waitForAll(context: LcoreContext, control: Int32Array, lcores: number): void {
  count(control, FLUSHED);
  for (;;) {
    const flushed = Atomics.load(control, FLUSHED);
    if (flushed >= lcores || !context.running()) return;
    Atomics.wait(control, FLUSHED, flushed, 1);
  }
}

function transmitFirst(context: LcoreContext, job: ForwardJob, running: readonly Running[]): void {
  const engines = running.map(({ stream }, i) => {
    const { burst, ownMac, peerMac } = stream.settings;
    return new TxOnly(job.packets, burst, ownMac, peerMac, context.lcoreId, job.streams[i]!.txSettings);
  });
  for (let i = 0; i < job.txFirst && context.running(); i++) {
    for (let s = 0; s < running.length; s++) engines[s]!.run(running[s]!.stream);
  }
}
