/**
 * One pair of measurements: our front-end, then DPDK's, each in a fresh process, with the same testpmd on net_vhost at the
 * other end: DPDK's or ours. The vhost side has CPU 0; the front-end forwards on CPU 1.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { recipeNamed } from '../../common/recipes.js';
import { frontCommand, MBUFS, MEMORY_MIB, pathsFromLog, type FrontOptions } from '../common/front.js';
import type { Peer } from '../common/peer.js';
import type { Side } from '../common/measurement.js';
import type { Mode, Run, Step, VhostPeer } from './results.js';
import { countEvent } from '../common/perf.js';
import { PROMPT, START, STOP, withScope, type Scope } from '../common/scope.js';
import { dpdkCommand, ourCommand, peerCpu, portStats, type OurProgram } from '../common/testpmd.js';

export interface PairOptions extends Pick<FrontOptions, 'program' | 'avx512'> {
  readonly peer: VhostPeer;
  /** One-second windows. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** `perf` can count cycles. */
  readonly cycles: boolean;
  /** Nanoseconds for a cache line to the other CPU and back, measured when nothing else runs. */
  readonly handOver: () => Promise<number>;
  readonly signal: AbortSignal;
}

const TOTALS = /Accumulated forward statistics[^]*?TX-dropped: (\d+)[^]*?\+{60}/;
/** Matches garbage collections, but not those marked (reduce): with these V8 shrinks the heap of an idle thread. */
const GC_LINE = /\b(Scavenge|Mark-Compact(?! \(reduce\)))/g;
/** Milliseconds until new packets are spread over both rings. */
const SETTLE_MS = 200;

/** Mode of the vhost side for each mode of the front-end. */
const opposite: Readonly<Record<Mode, Mode>> = { io: 'io', rxonly: 'txonly', txonly: 'rxonly' };

/** Everything for the measurement of one side. */
interface Bench {
  readonly step: Step;
  readonly options: PairOptions;
  readonly scope: Scope;
  readonly vhost: Peer;
  readonly front: FrontOptions;
}

/** Measures a pair. @throws Error when a process ended or did not answer, also because of `signal` */
export function measurePair(step: Step, options: PairOptions, onRun: (run: Run) => void): Promise<void> {
  return withScope(options.signal, async (scope) => {
    const socket = join(scope.directory, 's');
    const { program, avx512, peer } = options;
    const vhost = await scope.testpmd('vhost', vhostCommand(peer, program, socket));
    const { devargs } = recipeNamed(step.recipe);
    const front = { program, avx512, vdevs: [`net_virtio_user0,path=${socket},queues=1,${devargs}`] };
    const bench = { step, options, scope, vhost, front };
    onRun(await measureSide(bench, 'ours'));
    onRun(await measureSide(bench, 'dpdk'));
  });
}

/** The vhost side: the same port, memory and CPU, whosever testpmd it is. */
function vhostCommand(peer: VhostPeer, program: OurProgram, socket: string): [string, string[]] {
  const vdevs = [`net_vhost0,iface=${socket},queues=1,client=0`];
  if (peer === 'dpdk') return dpdkCommand({ vdevs, memoryMiB: MEMORY_MIB, mbufs: MBUFS });
  const lcores = `0@${peerCpu},1@${peerCpu}`;
  return ourCommand({ vdevs, program, lcores, ealArgs: ['--no-huge'], args: [`--total-num-mbufs=${MBUFS}`] });
}

async function measureSide(bench: Bench, side: Side): Promise<Run> {
  const { step, options, scope, vhost } = bench;
  const handOverBefore = await options.handOver();
  const front = await scope.testpmd(side, frontCommand(side, bench.front));
  await warmUp(bench, front);
  const paths = pathsFromLog(front.output); // only now: the log may arrive after the prompt

  // the receiver's counters; in io mode either side would do
  const receiver = step.mode === 'rxonly' ? front : vhost;
  const collectionsBefore = collections(front);
  const lostBefore = await lost(step.mode, vhost, front);
  const windows: number[] = [];
  let { rxPackets } = await portStats(receiver);
  const before = rxPackets;
  const stopCounting = options.cycles ? countEvent(front.pid) : () => Promise.resolve(undefined);
  for (let i = 0; i < options.seconds; i++) {
    await sleep(1000, undefined, { signal: options.signal });
    const now = await portStats(receiver);
    windows.push(now.rxPps);
    rxPackets = now.rxPackets;
  }
  const cycles = await stopCounting();
  const lostPackets = (await lost(step.mode, vhost, front)) - lostBefore;
  const collected = collections(front) - collectionsBefore;

  await vhost.ask('stop', STOP);
  await front.ask('stop', STOP);
  await front.stop();
  return {
    ...{ ...step, side, windows, packets: rxPackets - before, lost: lostPackets, ...paths },
    handOver: [handOverBefore, await options.handOver()],
    ...(side === 'ours' ? { collections: collected } : {}),
    ...(cycles === undefined ? {} : { cycles }),
  };
}

/** Starts the packet flow, and runs it until V8 has compiled the paths. */
async function warmUp({ step, options, vhost }: Bench, front: Peer): Promise<void> {
  const { mode, size } = step;
  const wait = (ms: number) => sleep(ms, undefined, { signal: options.signal });
  for (const [peer, peerMode] of [
    [front, mode],
    [vhost, opposite[mode]],
  ] as const) {
    await peer.ask(`set fwd ${peerMode}`, new RegExp(`Set ${peerMode} packet forwarding mode[^]*testpmd> `));
    await peer.ask(`set txpkts ${size}`, PROMPT);
  }
  if (mode !== 'io') {
    for (const peer of mode === 'rxonly' ? [front, vhost] : [vhost, front]) await peer.ask('start', START);
    await wait(options.warmUpSeconds * 1000);
    return;
  }
  await front.ask('start', START);
  // the first packets only warm up the compiler; those that are measured are sent afterwards
  await vhost.ask('start tx_first 32', START);
  await wait(options.warmUpSeconds * 1000 - SETTLE_MS);
  await vhost.ask('stop', STOP);
  await vhost.ask('start tx_first 32', START);
  await wait(SETTLE_MS);
}

const collections = (peer: Peer) => peer.output.match(GC_LINE)?.length ?? 0;

/**
 * Packets lost so far. In io mode a packet that an engine could not send (TX-dropped) is lost; a generator with a full ring
 * has only not sent it.
 */
async function lost(mode: Mode, ...peers: readonly Peer[]): Promise<number> {
  let count = 0;
  for (const peer of peers) {
    const { rxMissed, rxErrors } = await portStats(peer);
    count += rxMissed + rxErrors;
    if (mode === 'io') count += Number((await peer.ask('show fwd stats all', TOTALS))[1]);
  }
  return count;
}
