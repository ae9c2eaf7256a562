/**
 * `npm run bench -- scaling`: several queue pairs and ports in one process, ours and DPDK's in turn: throughput, memory, and
 * the time of testpmd from its start to its first packet.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { availableCpus } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { recipeNamed } from '../common/recipes.js';
import { formatTable } from '../common/table.js';
import { frontCommand, type FrontOptions } from './common/front.js';
import { mpps } from './common/figures.js';
import { measure, SIDES, type Context, type Result, type Side } from './common/measurement.js';
import type { Peer } from './common/peer.js';
import { START, STOP, withScope, type Scope } from './common/scope.js';
import { best, bestWindow, median, pairRatios, sum } from './common/statistics.js';
import { dpdkCommand, portStats } from './common/testpmd.js';

export interface ScalingOptions {
  readonly recipe: string;
  readonly pairs: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** How many starts are timed on each side. */
  readonly starts: number;
}

/** Number of ports, queue pairs of each port, and forwarding lcores. */
export interface Shape {
  readonly ports: number;
  readonly queues: number;
  readonly lcores: number;
}

export interface ScalingRun extends Shape {
  readonly side: Side;
  readonly pair: number;
  /** Packets per second, all ports together, window by window. */
  readonly windows: readonly number[];
  /** There are more lcores than CPUs: they share them. */
  readonly oversubscribed: boolean;
  /** Memory of the front-end's process, at the end. */
  readonly memory: Memory;
}

/** Memory in KiB, with the kernel's names. */
export interface Memory {
  readonly VmRSS: number;
  readonly RssAnon: number;
  readonly RssFile: number;
  readonly RssShmem: number;
}

export interface ScalingResult extends Result<'scaling', ScalingOptions> {
  readonly runs: readonly ScalingRun[];
  /** Memory of an idle Node process, and of both testpmds without ports. */
  readonly memory: Readonly<Record<string, Memory>>;
  /** Milliseconds from start to first packet. */
  readonly starts: Readonly<Record<Side, readonly number[]>>;
}

const SHAPES: readonly Shape[] = [
  { ports: 1, queues: 1, lcores: 1 },
  { ports: 1, queues: 2, lcores: 1 },
  { ports: 1, queues: 4, lcores: 1 },
  { ports: 1, queues: 2, lcores: 2 },
  { ports: 1, queues: 4, lcores: 4 },
  { ports: 2, queues: 1, lcores: 1 },
  { ports: 4, queues: 1, lcores: 1 },
  { ports: 2, queues: 1, lcores: 2 },
  { ports: 4, queues: 1, lcores: 4 },
];

/** Enough mbufs, and memory for them, for the largest shape on either side. */
const MBUFS = 16384;
const MEMORY_MIB = 128;
/** Circulating packets per queue: each vhost queue sends so many bursts of 32. */
const TX_FIRST = 8;
const POLL_MS = 2;

/** The CPUs of the vhost side and of the front-end: half of them each; with one CPU both get it. */
export function splitCpus(cpus: readonly number[]): { vhost: readonly number[]; front: readonly number[] } {
  if (cpus.length === 1) return { vhost: cpus, front: cpus };
  const half = cpus.length >> 1;
  return { vhost: cpus.slice(0, half), front: cpus.slice(half) };
}

/** The value of --lcores: lcore 0 for the prompt on `main`, and `count` lcores, on `cpus` in turn. */
export function lcoresOption(main: number, count: number, cpus: readonly number[]): string {
  const workers = Array.from({ length: count }, (_, i) => `${i + 1}@${cpus[i % cpus.length]}`);
  return [`0@${main}`, ...workers].join(',');
}

/** Reads a process's memory from the text of /proc/PID/status. */
export function parseMemory(status: string): Memory {
  const of = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? NaN);
  return { VmRSS: of('VmRSS'), RssAnon: of('RssAnon'), RssFile: of('RssFile'), RssShmem: of('RssShmem') };
}

const memoryOf = (peer: Peer) => parseMemory(readFileSync(`/proc/${peer.pid}/status`, 'utf8'));

export function runScaling(options: ScalingOptions, context: Context): Promise<ScalingResult> {
  const { print } = context;
  const runs: ScalingRun[] = [];
  const memory: Record<string, Memory> = {};
  const starts: Record<Side, number[]> = { ours: [], dpdk: [] };
  return measure('scaling', options, context, { runs, memory, starts }, async (keep) => {
    for (let i = 0; i < options.starts; i++) {
      for (const side of SIDES) starts[side].push(await timeStart(options, context, side));
      keep();
    }
    print(`first packet after: ours ${milliseconds(starts.ours)} ms, DPDK ${milliseconds(starts.dpdk)} ms`);
    Object.assign(memory, await emptyMemory(context));
    for (let pair = 0; pair < options.pairs; pair++) {
      for (const shape of SHAPES) {
        for (const side of SIDES) {
          runs.push({ pair, ...(await measureShape(options, context, side, shape)) });
          keep();
          const rate = mpps(best(runs.at(-1)!.windows));
          print(`${describe(shape)}: ${side} ${rate} Mpps, ${runs.at(-1)!.memory.VmRSS} KiB`);
        }
      }
    }
  });
}

const milliseconds = (list: readonly number[]) => (list.length === 0 ? '?' : median(list).toFixed(0));
const describe = ({ ports, queues, lcores }: Shape) => `${ports} ports, ${queues} queue pairs each, ${lcores} lcores`;

/** Starts the vhost side of a shape. */
async function startVhost(scope: Scope, { ports, queues, lcores }: Shape, mode: 'io' | 'rxonly'): Promise<Peer> {
  const cpus = splitCpus(availableCpus()).vhost;
  const vdevs = sockets(scope, ports).map((path, i) => `net_vhost${i},iface=${path},queues=${queues},client=0`);
  const workers = Math.min(lcores, cpus.length); // more would only share CPUs
  const peer = await scope.testpmd(
    'vhost',
    dpdkCommand({
      ...{ vdevs, memoryMiB: MEMORY_MIB, mbufs: MBUFS, lcores: lcoresOption(cpus[0]!, workers, cpus) },
      args: [...queueArguments(queues, workers), `--forward-mode=${mode}`],
    }),
  );
  return peer;
}

function sockets({ directory }: Scope, ports: number): string[] {
  return Array.from({ length: ports }, (_, i) => join(directory, `s${i}`));
}

const queueArguments = (queues: number, lcores: number) => [
  ...[`--rxq=${queues}`, `--txq=${queues}`, `--nb-cores=${lcores}`, '--port-topology=loop'],
];

function frontOptions(scope: Scope, options: ScalingOptions, context: Context, shape: Shape): FrontOptions {
  const { vhost, front } = splitCpus(availableCpus());
  const { devargs } = recipeNamed(options.recipe);
  const { ports, queues, lcores } = shape;
  return {
    vdevs: sockets(scope, ports).map((path, i) => `net_virtio_user${i},path=${path},queues=${queues},${devargs}`),
    program: context.program,
    avx512: context.machine.flags.includes('avx512f'),
    lcores: lcoresOption(vhost[0]!, lcores, front),
    args: queueArguments(queues, lcores),
    mbufs: MBUFS,
    memoryMiB: MEMORY_MIB,
  };
}

function measureShape(
  options: ScalingOptions,
  context: Context,
  side: Side,
  shape: Shape,
): Promise<Omit<ScalingRun, 'pair'>> {
  return withScope(context.signal, async (scope) => {
    const wait = (ms: number) => sleep(ms, undefined, { signal: scope.signal });
    const vhost = await startVhost(scope, shape, 'io');
    const front = await scope.testpmd(side, frontCommand(side, frontOptions(scope, options, context, shape)));
    await front.ask('start', START);
    await vhost.ask(`start tx_first ${TX_FIRST}`, START);
    await wait(options.warmUpSeconds * 1000);
    await vhost.ask('stop', STOP);
    await vhost.ask(`start tx_first ${TX_FIRST}`, START);
    await received(vhost, shape.ports);
    const windows: number[] = [];
    for (let i = 0; i < options.seconds; i++) {
      await wait(1000);
      windows.push(await received(vhost, shape.ports));
    }
    const memory = memoryOf(front);
    await vhost.ask('stop', STOP);
    await front.ask('stop', STOP);
    const oversubscribed = shape.lcores > splitCpus(availableCpus()).front.length;
    return { ...shape, side, windows, oversubscribed, memory };
  });
}

/** Packets per second of all ports since the last call. */
async function received(peer: Peer, ports: number): Promise<number> {
  const rates: number[] = [];
  for (let port = 0; port < ports; port++) rates.push((await portStats(peer, port)).rxPps);
  return sum(rates);
}

/** Memory of processes without ports, to find the cost of a port as the difference. */
async function emptyMemory(context: Context): Promise<Record<string, Memory>> {
  const program = "process.stdout.write('ready\\n'); setInterval(() => {}, 1e6)";
  const node = await withScope(context.signal, async (scope) => {
    const peer = scope.start('node', [process.execPath, ['-e', program]]);
    await peer.waitFor(/ready/);
    const memory = memoryOf(peer);
    await peer.kill(); // it has no command `quit`
    return memory;
  });
  const empty = (side: Side) =>
    withScope(context.signal, async (scope) => {
      const { vhost, front } = splitCpus(availableCpus());
      const lcores = lcoresOption(vhost[0]!, 1, front);
      const options = { vdevs: [], program: context.program, avx512: false, lcores, mbufs: MBUFS };
      return memoryOf(await scope.testpmd(side, frontCommand(side, { ...options, memoryMiB: MEMORY_MIB })));
    });
  return { node, ours: await empty('ours'), dpdk: await empty('dpdk') };
}

const ONE: Shape = { ports: 1, queues: 1, lcores: 1 };

/** Starts a front-end that sends at once. @returns milliseconds until the vhost side has its first packet. */
function timeStart(options: ScalingOptions, context: Context, side: Side): Promise<number> {
  return withScope(context.signal, async (scope) => {
    const vhost = await startVhost(scope, ONE, 'rxonly');
    await vhost.ask('start', START);
    const front = frontOptions(scope, options, context, ONE);
    const args = [...(front.args ?? []), '--auto-start', '--forward-mode=txonly'];
    const begun = performance.now();
    const peer = scope.start(side, frontCommand(side, { ...front, args }));
    while ((await portStats(vhost)).rxPackets === 0) {
      if (peer.ended !== undefined)
        throw new VirtioPmdError('EPEER', `${side} ended (${peer.ended}):\n${peer.output.slice(-2000)}`);
      await sleep(POLL_MS, undefined, { signal: scope.signal });
    }
    const elapsed = performance.now() - begun;
    await peer.waitFor(/testpmd> /); // it can be told to quit from now on
    return elapsed;
  });
}

/** Throughput and memory, one line per shape and side. */
export function scalingTable(result: ScalingResult): string {
  const { runs, memory, starts } = result;
  const mib = (kib: number) => (kib / 1024).toFixed(1);
  const rows = SHAPES.flatMap((shape) => {
    const of = (side: Side) =>
      runs.filter(
        (run) =>
          run.side === side && run.ports === shape.ports && run.queues === shape.queues && run.lcores === shape.lcores,
      );
    const [ours, dpdk] = [of('ours'), of('dpdk')];
    if (ours.length === 0 || dpdk.length === 0) return [];
    const ratio = median(pairRatios(ours, dpdk)).toFixed(2);
    const rss = (list: readonly ScalingRun[]) => mib(median(list.map((run) => run.memory.VmRSS)));
    return [
      [
        ...[String(shape.ports), String(shape.queues), String(shape.lcores)],
        ...[mpps(bestWindow(ours)), mpps(bestWindow(dpdk)), ratio],
        ...[rss(ours), rss(dpdk), ours[0]!.oversubscribed ? 'oversubscribed' : ''],
      ],
    ];
  });
  const head = [
    'Ports',
    'Queue pairs',
    'Lcores',
    'Ours Mpps',
    'DPDK Mpps',
    'Ratio',
    'Ours RSS MiB',
    'DPDK RSS MiB',
    '',
  ];
  const { node, ours, dpdk } = memory;
  const empty = [node, ours, dpdk].map((of) => (of === undefined ? '?' : mib(of.VmRSS)));
  return [
    formatTable(head, rows),
    '',
    `RSS without ports: Node alone ${empty[0]} MiB, our testpmd ${empty[1]} MiB, DPDK's ${empty[2]} MiB.`,
    `Start to first packet, median of ${starts.ours.length}: ours ${milliseconds(starts.ours)} ms, DPDK ${milliseconds(starts.dpdk)} ms.`,
  ].join('\n');
}
