/** `start` and `stop`: launches the forwarding jobs on lcores and stops them. */
import { isVirtioPmdError, VirtioPmdError } from '../../native/errors.js';
import { recoverMbufs } from '../../driver/eal/lost-mbufs.js';
import { macBytes } from '../../driver/wire/mac.js';
import { readStreamCounts, streamCountersBytes, type StreamCounts } from '../../driver/port/stream-counters.js';
import type { PortSpec, PortStats } from '../../driver/port/types.js';
import type { TxSettings } from './engines/tx-settings.js';
import { CONTROL_WORDS, FLUSHED, FORWARDING, VERBOSE, type ForwardJob, type StreamPlan } from './forward.js';
import { isUserMode, nameOf, type Mode } from './engines/modes.js';
import type { PortEntry, Session } from './session.js';
import { formatFlows, formatForwarding, formatRxTx } from './show/config.js';
import { formatForwardStats, type PortForwardStats, type StreamForwardStats } from './show/stats.js';
import type { ForwardingPlan, LcoreStreams, Stream } from './topology.js';

const STOP_TIMEOUT_MS = 5000;
/** A worker thread's first job loads its modules, which takes a second from source on a busy machine. */
const START_TIMEOUT_MS = 120_000;

interface Run {
  readonly mode: Mode;
  readonly plan: ForwardingPlan;
  /** Lcores whose job failed while it ran; the error was printed then. */
  readonly failed: Set<number>;
  readonly counters: SharedArrayBuffer;
  /** ForwardJob.badL4; only the summary of the csum mode reads it. */
  readonly badL4: Float64Array;
  /** Baseline for the summary: the statistics at the start, or when they were cleared. */
  readonly portBase: Map<number, PortStats>;
  streamBase: readonly CountsWithBad[];
  /** The statistics at `stop`. Afterwards the ports may be reconfigured or closed, and count from 0. */
  result: ForwardStats | undefined;
}

interface CountsWithBad extends StreamCounts {
  readonly badL4: number;
}

interface ForwardStats {
  readonly ports: readonly PortForwardStats[];
  readonly streams: readonly StreamForwardStats[];
}

const noStats: ForwardStats = { ports: [], streams: [] };

export class Forwarding {
  /** The current run, or the last one. */
  private run: Run | undefined;
  private control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
  private active = false;

  private resolveEnded = () => {};
  /** Resolves when the jobs of all lcores have failed, and nothing is forwarded any more. */
  readonly ended = new Promise<void>((resolve) => (this.resolveEnded = resolve));

  constructor(private readonly session: Session) {
    session.eal.lcores.onFailure = (lcoreId, error) => this.failed(lcoreId, error);
  }

  get running(): boolean {
    return this.active;
  }

  isForwarding(portId: number): boolean {
    return this.active && this.run!.plan.ports.includes(portId);
  }

  /** @param txFirst bursts of txonly packets to send first. */
  start(txFirst: number): void {
    const { session } = this;
    if (this.active) {
      session.complain('Packet forwarding already started');
      return;
    }
    const plan = session.plan();
    const stopped = plan.ports.some((id) => !session.ports.get(id)!.port.started);
    if (stopped) {
      session.complain('Not all ports were started');
      return;
    }
    this.print(plan);
    const counters = new SharedArrayBuffer(streamCountersBytes(Math.max(1, plan.streams.length)));
    const portBase = new Map(plan.ports.map((id) => [id, session.ports.get(id)!.port.stats()]));
    const { mode } = session.settings;
    const badL4 = new Float64Array(new SharedArrayBuffer(plan.streams.length * Float64Array.BYTES_PER_ELEMENT));
    this.run = { mode, plan, failed: new Set(), counters, badL4, portBase, streamBase: [], result: undefined };
    this.active = session.attempt(() => this.launch(txFirst));
  }

  stop(): void {
    const { session } = this;
    if (!this.active) {
      session.complain('Packet forwarding not started');
      return;
    }
    session.print('Telling cores to stop...\nWaiting for lcores to finish...');
    session.attempt(() => this.halt());
    this.active = false;
    const run = this.run!;
    run.result = this.statsOf(run);
    this.show();
    if (isUserMode(run.mode)) this.recoverMbufs(run.mode.name);
    session.print('\nDone.');
  }

  /** Prints at once that a job has failed. During the start, `start` prints it. */
  private failed(lcoreId: number, error: VirtioPmdError): void {
    const { run } = this;
    if (!this.active || !run!.plan.lcores.some((lcore) => lcore.lcoreId === lcoreId)) return;
    if (run!.failed.has(lcoreId)) return;
    run!.failed.add(lcoreId);
    this.session.complain(`${error.message}\nlcore ${lcoreId} forwards no more: \`stop\`, then \`start\` again`);
    if (run!.failed.size === run!.plan.lcores.length) this.resolveEnded();
  }

  /** Frees the mbufs that a user's mode has leaked. */
  private recoverMbufs(mode: string): void {
    const { session } = this;
    const { lcores } = session.eal;
    if (lcores.workers.some((id) => lcores.state(id) === 'running')) return; // it may still hold them
    const ports = session.select('all').filter(({ port }) => port.configured);
    const queues = ports.map(({ port }) => port.spec()).flatMap(({ rx, tx }) => [...rx, ...tx]);
    const found = recoverMbufs(session.eal.mempool(session.mempool), queues);
    if (found === undefined) return;
    const { lost, twice } = found;
    if (lost > 0) session.print(`${mode} has left ${mbufs(lost)} neither sent nor freed: free again`);
    if (twice > 0) session.print(`${mode} has freed ${mbufs(twice)} twice, or freed and sent: put right`);
  }

  /** `show fwd stats all`. */
  show(): void {
    const { run } = this;
    const { ports, streams } = run ? (run.result ?? this.statsOf(run)) : noStats;
    this.session.print(formatForwardStats(ports, streams));
  }

  private statsOf(run: Run): ForwardStats {
    const { ports } = this.session;
    const csum = run.mode === 'csum';
    const counted = run.plan.streams.map((stream, i) => ({ stream, counts: this.streamCounts(run, i) }));
    const portStats = run.plan.ports.map((portId): PortForwardStats => {
      const sum = (pick: (counted: { stream: Stream; counts: CountsWithBad }) => number) =>
        counted.reduce((total, each) => total + pick(each), 0);
      const txDropped = sum(({ stream, counts }) => (stream.txPort === portId ? counts.txDropped : 0));
      const badL4 = csum ? sum(({ stream, counts }) => (stream.rxPort === portId ? counts.badL4 : 0)) : undefined;
      const stats = difference(ports.get(portId)!.port.stats(), run.portBase.get(portId)!);
      return { portId, stats, txDropped, badL4 };
    });
    const streams = counted.map(({ stream, counts }) => ({
      stream,
      counts,
      badL4: csum ? counts.badL4 : undefined,
    }));
    return { ports: portStats, streams };
  }

  /** `clear fwd stats all`: the counters continue, only the baseline changes. */
  clear(): void {
    const { run } = this;
    if (!run) return;
    for (const id of run.plan.ports) this.rebase(id);
    run.streamBase = run.plan.streams.map((_, i) => countsOf(run, i));
    if (run.result) run.result = clearedStats(run.result);
  }

  /** Resets a port's baseline, after its own statistics were cleared. */
  rebase(portId: number): void {
    const entry = this.session.ports.get(portId);
    if (entry && this.run?.portBase.has(portId)) this.run.portBase.set(portId, entry.port.stats());
  }

  setVerbose(level: number): void {
    this.control[VERBOSE] = level;
  }

  /** Stops all lcores and waits for them. @throws VirtioPmdError for failures that were not printed yet. */
  private halt(): void {
    const { lcores } = this.session.eal;
    const { plan, mode, failed } = this.run!;
    const ids = plan.lcores.map(({ lcoreId }) => lcoreId);
    for (const id of ids) lcores.stop(id);
    const errors: VirtioPmdError[] = [];
    let isLate = false; // after one time-out, the others have had their time too
    for (const id of ids) {
      try {
        lcores.wait(id, isLate ? 0 : STOP_TIMEOUT_MS);
      } catch (error) {
        if (!isVirtioPmdError(error)) throw error;
        isLate ||= error.code === 'ETIMEOUT';
        if (!failed.has(id)) errors.push(error.code === 'ETIMEOUT' ? stuck(id, mode) : error);
      }
    }
    if (errors.length > 0) throw new VirtioPmdError(errors[0]!.code, errors.map(({ message }) => message).join('\n'));
  }

  private launch(txFirst: number): void {
    const { session } = this;
    const run = this.run!;
    const { plan } = run;
    const { lcores } = session.eal;
    if (session.forwardingCores.length === 0) {
      throw new VirtioPmdError('ELCORE', 'No cores defined for forwarding: give two lcores, as in -l 0,1');
    }
    this.control = new Int32Array(new SharedArrayBuffer(CONTROL_WORDS * 4));
    this.control[VERBOSE] = session.settings.verbose;
    const specs = new Map(plan.ports.map((id) => [id, session.ports.get(id)!.port.spec()]));
    const jobs = plan.lcores.map((lcore) => ({ lcore, job: this.job(lcore, specs, txFirst) }));
    for (const { lcore, job } of jobs) {
      lcores.launch(lcore.lcoreId, new URL('./forward.js', import.meta.url), 'forward', job);
    }
    this.awaitLcores(plan);
  }

  /** Waits until every lcore has sent its first packets and forwards: commands after `start` find packets in motion. */
  private awaitLcores(plan: ForwardingPlan): void {
    const { control } = this;
    const { lcores } = this.session.eal;
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      const forwarding = Atomics.load(control, FORWARDING);
      if (forwarding >= plan.lcores.length) return;
      const late = performance.now() > deadline && Atomics.load(control, FLUSHED) < plan.lcores.length;
      if (late || plan.lcores.some(({ lcoreId }) => lcores.state(lcoreId) === 'failed')) {
        this.halt(); // throws the job's own error
        throw new VirtioPmdError('ELCORE', `forwarding did not start within ${START_TIMEOUT_MS / 1000} s`);
      }
      Atomics.wait(control, FORWARDING, forwarding, 50);
    }
  }

  private job(lcore: LcoreStreams, specs: ReadonlyMap<number, PortSpec>, txFirst: number): ForwardJob {
    const { settings, ports } = this.session;
    const { plan, counters, badL4 } = this.run!;
    const { mode, packets, burst, retry, retries, retryDelayUs, flushRx: flush } = settings;
    const streams = lcore.streams.map((stream): StreamPlan => {
      const { rxPort, rxQueue, txPort, txQueue } = stream;
      return {
        rx: specs.get(rxPort)!.rx[Math.min(rxQueue, settings.rxQueues - 1)]!,
        tx: specs.get(txPort)!.tx[Math.min(txQueue, settings.txQueues - 1)]!,
        index: plan.streams.indexOf(stream),
        settings: {
          burst,
          retries: retry ? retries : 0,
          retryDelayUs,
          ownMac: [...macBytes(ports.get(txPort)!.port.mac)],
          peerMac: [...macBytes(this.session.peerOf(txPort))],
        },
        txSettings: txSettingsOf(ports.get(txPort)!),
      };
    });
    return {
      mode,
      streams,
      packets,
      flush,
      txFirst,
      lcoreCount: plan.lcores.length,
      counters,
      badL4: badL4.buffer as SharedArrayBuffer,
      control: this.control.buffer as SharedArrayBuffer,
    };
  }

  private streamCounts(run: Run, index: number): CountsWithBad {
    const now = countsOf(run, index);
    const base = run.streamBase[index];
    if (!base) return now;
    return {
      rxPackets: now.rxPackets - base.rxPackets,
      txPackets: now.txPackets - base.txPackets,
      txDropped: now.txDropped - base.txDropped,
      badL4: now.badL4 - base.badL4,
    };
  }

  private print(plan: ForwardingPlan): void {
    const { session } = this;
    session.print(forwardingText(session, plan));
    if (session.settings.mode === 'flowgen') session.print(formatFlows(plan.ports, session.settings.packets.flows));
    session.print(rxTxText(session));
  }
}

const countsOf = ({ counters, badL4 }: Run, index: number): CountsWithBad => ({
  ...readStreamCounts(counters, index),
  badL4: badL4[index]!,
});

const txSettingsOf = ({ port, tsoSegsz, txVlan, macSwap }: PortEntry): TxSettings => ({
  offloads: port.config!.txOffloads,
  tsoSegsz,
  vlan: txVlan,
  macSwap,
});

const mbufs = (n: number) => (n === 1 ? '1 mbuf' : `${n} mbufs`);

const stuck = (lcoreId: number, mode: Mode) =>
  new VirtioPmdError(
    'ETIMEOUT',
    `lcore ${lcoreId} has not ended its turn of ${nameOf(mode)} for ${STOP_TIMEOUT_MS / 1000} s: a turn must return; only \`quit\` ends it now`,
  );

function clearedStats({ ports, streams }: ForwardStats): ForwardStats {
  const counts = { rxPackets: 0, txPackets: 0, txDropped: 0 };
  return {
    ports: ports.map(({ portId, stats, badL4 }) => {
      return { portId, stats: difference(stats, stats), txDropped: 0, badL4: badL4 === undefined ? undefined : 0 };
    }),
    streams: streams.map(({ stream, badL4 }) => ({ stream, counts, badL4: badL4 === undefined ? undefined : 0 })),
  };
}

function difference(now: PortStats, base: PortStats): PortStats {
  return {
    ipackets: now.ipackets - base.ipackets,
    opackets: now.opackets - base.opackets,
    ibytes: now.ibytes - base.ibytes,
    obytes: now.obytes - base.obytes,
    imissed: now.imissed - base.imissed,
    ierrors: now.ierrors - base.ierrors,
    oerrors: now.oerrors - base.oerrors,
    rxNombuf: now.rxNombuf - base.rxNombuf,
  };
}

/** `show config fwd`. */
export function forwardingText(session: Session, plan: ForwardingPlan): string {
  const { mode, retry, retries, retryDelayUs } = session.settings;
  return formatForwarding({ mode, retry, retries, retryDelayUs, plan, peerOf: (id) => session.peerOf(id) });
}

/** `show config rxtx`. */
export function rxTxText(session: Session): string {
  const { settings } = session;
  const ports = session.select('all').map(({ port, rxOffloads, txOffloads }) => {
    const { config } = port;
    return {
      portId: port.id,
      rxQueues: config?.rxQueues ?? settings.rxQueues,
      txQueues: config?.txQueues ?? settings.txQueues,
      rxDesc: settings.rxDesc,
      txDesc: settings.txDesc,
      rxFreeThresh: session.app.rxFreeThresh ?? 0,
      txFreeThresh: session.app.txFreeThresh ?? 0,
      rxOffloads,
      txOffloads,
    };
  });
  return formatRxTx({
    mode: settings.mode,
    retry: settings.retry,
    burst: settings.burst,
    txSegments: settings.packets.segments,
    cores: settings.coreCount,
    forwardingPorts: session.forwardingPorts.length,
    ports,
  });
}
