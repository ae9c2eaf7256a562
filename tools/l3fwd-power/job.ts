/** The lcore job: opens its queues and forwards until it is stopped. Its input is plain data. */
import { loadQueues, openRx, openTx, type PortQueueSpec, type RxQueue } from '../../driver/port/queue.js';
import type { LcoreContext } from '../../driver/eal/types.js';
import { openForwarder } from './forward-packet.js';
import { monitor, pause, pollOn, sleepUntilInterrupt, type Idle } from './idle.js';
import { STARTED_AT, wallMs } from './lcore-counters.js';
import { Lpm4 } from './lpm4.js';
import { Lpm6 } from './lpm6.js';
import type { Mode, PmdMgmt } from './options.js';
import { Router } from './router.js';

/** An enabled port, for sending. */
export interface TxPort {
  readonly tx: PortQueueSpec;
  /** Source and destination MAC address of sent packets. */
  readonly mac: Uint8Array;
  readonly destination: Uint8Array;
}

export interface L3fwdJob {
  readonly mode: Mode;
  readonly pmdMgmt: PmdMgmt;
  readonly maxEmptyPolls: number;
  readonly pauseDurationUs: number;
  readonly rx: readonly PortQueueSpec[];
  /** Every enabled port. */
  readonly ports: readonly TxPort[];
  /** Lpm4.build and Lpm6.build */
  readonly lpm4: SharedArrayBuffer;
  readonly lpm6: SharedArrayBuffer;
  /** createForwardCounters and createLcoreCounters, for `ports` in their order. */
  readonly forwardCounters: SharedArrayBuffer;
  readonly lcoreCounters: SharedArrayBuffer;
  /** Post messages when the lcore falls asleep and wakes up. */
  readonly tellSleeps: boolean;
}

/** Messages of the job: it runs; it sleeps; packets of a queue have ended its sleep. */
export type L3fwdNews =
  | { readonly kind: 'entered' }
  | { readonly kind: 'asleep' }
  | { readonly kind: 'awake'; readonly queues: readonly { readonly portId: number; readonly queueId: number }[] };

export async function l3fwdJob(context: LcoreContext, job: L3fwdJob): Promise<void> {
  await loadQueues([...job.rx, ...job.ports.map(({ tx }) => tx)]);
  const pool = context.mempool(job.ports[0]!.tx.mempool);
  const counters = new Float64Array(job.lcoreCounters);
  const rx = job.rx.map((spec) => openRx(spec, pool));
  const forward = openForwarder(
    pool,
    { lpm4: new Lpm4(job.lpm4), lpm6: new Lpm6(job.lpm6) },
    new Map(job.ports.map((port) => [port.tx.portId, port])),
    new Float64Array(job.forwardCounters),
  );
  const tx = job.ports.map((port) => openTx(port.tx, pool));
  const router = new Router(rx, tx, pool, forward, counters);
  const idle = idleOf(context, job, rx, router, counters);
  counters[STARTED_AT] = wallMs();
  context.post({ kind: 'entered' } satisfies L3fwdNews);
  while (context.running()) if (router.turn() === 0) idle();
}

function idleOf(
  context: LcoreContext,
  job: L3fwdJob,
  rx: readonly RxQueue[],
  router: Router,
  counters: Float64Array,
): Idle {
  const { mode, pmdMgmt, maxEmptyPolls, pauseDurationUs, tellSleeps } = job;
  const post = (news: L3fwdNews) => tellSleeps && context.post(news);
  if (mode === 'interrupt-only') {
    return sleepUntilInterrupt(router, rx, context.rxInterrupt, counters, {
      asleep: () => post({ kind: 'asleep' }),
      awake: (ready) => post({ kind: 'awake', queues: ready.map(({ spec }) => spec).map(queueOf) }),
    });
  }
  if (mode === 'pmd mgmt' && pmdMgmt === 'pause') return pause(router, maxEmptyPolls, pauseDurationUs);
  if (mode === 'pmd mgmt' && pmdMgmt === 'monitor') return monitor(router, rx[0]!, maxEmptyPolls);
  return pollOn;
}

const queueOf = ({ portId, queueId }: PortQueueSpec) => ({ portId, queueId });
