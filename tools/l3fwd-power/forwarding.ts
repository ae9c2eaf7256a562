/** The jobs of all lcores: launches and stops them, handles their messages, reads their counters. */
import type { VirtioPmdError } from '../../native/errors.js';
import type { Eal } from '../../driver/eal/eal.js';
import type { Port } from '../../driver/port/port.js';
import { macBytes } from '../../driver/wire/mac.js';
import { defaultPeer } from '../common/values.js';
import { createForwardCounters, readForwardCounters } from './forward-counters.js';
import type { L3fwdJob, L3fwdNews, TxPort } from './job.js';
import type { LcoreQueues } from './lcore-config.js';
import { createLcoreCounters, portBlock, readLcoreCounters, TX_DROPPED, TX_PACKETS, wallMs } from './lcore-counters.js';
import { Lpm4 } from './lpm4.js';
import { Lpm6 } from './lpm6.js';
import type { L3fwdOptions, Mode } from './options.js';
import type { Routes } from './routes.js';
import { statisticsText, telemetryLine, type LcoreWork, type PortWork } from './statistics.js';

const STOP_TIMEOUT_MS = 5000;

export interface ForwardingPlan {
  readonly eal: Eal;
  /** The enabled ports, started. */
  readonly ports: readonly Port[];
  readonly options: L3fwdOptions;
  readonly mode: Mode;
  readonly lcores: readonly LcoreQueues[];
  readonly routes: Routes;
  readonly tellSleeps: boolean;
  /** Prints log lines of the sample. */
  readonly info: (text: string) => void;
}

interface Running {
  readonly lcoreId: number;
  readonly job: L3fwdJob;
}

export class Forwarding {
  private readonly running: readonly Running[];
  private before: readonly LcoreWork[] = [];

  constructor(private readonly plan: ForwardingPlan) {
    const { options, mode, routes, tellSleeps } = plan;
    const { pmdMgmt, maxEmptyPolls, pauseDurationUs } = options;
    const tables = { lpm4: Lpm4.build(routes.ipv4), lpm6: Lpm6.build(routes.ipv6) };
    this.running = plan.lcores.map((lcore, index) => ({
      lcoreId: lcore.lcoreId,
      job: {
        ...{ mode, pmdMgmt, maxEmptyPolls, pauseDurationUs, tellSleeps, ...tables },
        rx: lcore.queues.map(({ port, queue }) => this.portOf(port).spec().rx[queue]!),
        ports: plan.ports.map((port) => this.txPort(port, index)),
        forwardCounters: createForwardCounters(plan.ports.length),
        lcoreCounters: createLcoreCounters(plan.ports.length),
      },
    }));
  }

  private portOf(id: number): Port {
    return this.plan.ports.find((port) => port.id === id)!;
  }

  private txPort(port: Port, index: number): TxPort {
    const destination = this.plan.options.destinations.get(port.id) ?? defaultPeer(port.id);
    return {
      tx: port.spec().tx[index]!,
      mac: macBytes(port.mac),
      destination: macBytes(destination),
    };
  }

  /** Forwards until `signal` is aborted. @throws VirtioPmdError of an lcore that fails, after the others are stopped */
  async run(signal: AbortSignal): Promise<void> {
    const { lcores } = this.plan.eal;
    lcores.onMessage = (lcoreId, news) => this.tell(lcoreId, news as L3fwdNews);
    const failure = new Promise<VirtioPmdError>((resolve) => (lcores.onFailure = (_lcoreId, error) => resolve(error)));
    for (const { lcoreId, job } of this.running) {
      lcores.launch(lcoreId, new URL('./job.js', import.meta.url), 'l3fwdJob', job);
    }
    await Promise.race([failure, aborted(signal)]);
    lcores.stop();
    lcores.wait(undefined, STOP_TIMEOUT_MS);
  }

  private tell(lcoreId: number, news: L3fwdNews): void {
    const { info, mode } = this.plan;
    if (news.kind === 'entered') {
      // as in the sample, all polling modes have the same name
      info(`entering main ${mode === 'interrupt-only' ? 'interrupt' : 'telemetry'} loop on lcore ${lcoreId}`);
      for (const { portId, queueId } of this.running.find((lcore) => lcore.lcoreId === lcoreId)!.job.rx) {
        info(` -- lcoreid=${lcoreId} portid=${portId} rxqueueid=${queueId}`);
      }
    } else if (news.kind === 'asleep') {
      info(`lcore ${lcoreId} sleeps until interrupt triggers`);
    } else {
      for (const { portId, queueId } of news.queues) {
        info(`lcore ${lcoreId} is waked up from rx interrupt on port ${portId} queue ${queueId}`);
      }
    }
  }

  statistics(): string {
    return statisticsText(this.work());
  }

  /** The line of --telemetry, for the time since the last one. */
  telemetry(): string {
    const now = this.work();
    const line = telemetryLine(now, this.before);
    this.before = now;
    return line;
  }

  private work(): readonly LcoreWork[] {
    const now = wallMs();
    return this.running.map(({ lcoreId, job }) => {
      const counters = new Float64Array(job.lcoreCounters);
      const forwarded = new Float64Array(job.forwardCounters);
      const ports = job.ports.map(({ tx }, slot): PortWork => {
        const at = portBlock(slot);
        return {
          portId: tx.portId,
          forward: readForwardCounters(forwarded, slot),
          sent: counters[at + TX_PACKETS]!,
          noRoom: counters[at + TX_DROPPED]!,
        };
      });
      return { lcoreId, counts: readLcoreCounters(counters, now), ports };
    });
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
