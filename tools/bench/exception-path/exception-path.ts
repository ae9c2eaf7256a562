/**
 * `npm run bench -- exception-path`: packets per second through /dev/vhost-net and a tap, our virtio_user and DPDK's in turn,
 * with the same device string. Everything is in a separate network namespace, which is removed at the end.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { backendTypeOf } from '../../../driver/virtio/user/backend-type.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { formatTable } from '../../common/table.js';
import { floodCommand, interfaceCounters, inNamespaceOf, namespaced, setUp, tool } from './system.js';
import { frontCommand, pathsFromLog, type Paths } from '../common/front.js';
import { mpps, pairOf } from '../common/figures.js';
import { measure, type Context, type Result, type Side } from '../common/measurement.js';
import type { Peer } from '../common/peer.js';
import { PROMPT, START, STOP, withScope, type Scope } from '../common/scope.js';
import { best, bestWindow, median, pairRatios, partsPerMillion, sum } from '../common/statistics.js';
import { portStats } from '../common/testpmd.js';

/** to-kernel: the port sends (txonly). from-kernel: programs send UDP into the tap, the port receives (rxonly). */
export const DIRECTIONS = ['to-kernel', 'from-kernel'] as const;
export type Direction = (typeof DIRECTIONS)[number];

export interface ExceptionPathOptions {
  /** The character device. */
  readonly path: string;
  readonly directions: readonly Direction[];
  /** Bytes of a packet. */
  readonly sizes: readonly number[];
  readonly sides: readonly Side[];
  readonly pairs: number;
  /** One-second windows of a measurement. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** from-kernel: processes that send. */
  readonly senders: number;
}

/** One front-end in one process. */
export interface ExceptionPathRun extends Paths {
  readonly pair: number;
  readonly direction: Direction;
  readonly size: number;
  readonly side: Side;
  /** Packets per second, window by window. */
  readonly windows: readonly number[];
  readonly packets: number;
  /** from-kernel: packets that the tap had no room for, because the port did not keep up. */
  readonly dropped: number;
}

export interface ExceptionPathResult extends Result<'exception-path', ExceptionPathOptions> {
  readonly runs: readonly ExceptionPathRun[];
}

/** Name of the tap in its namespace. */
const INTERFACE = 'vpmd0';
const QUEUE_SIZE = 1024;

/** The device string of both sides, as in DPDK's guide. */
export function deviceString(path: string): string {
  return `virtio_user0,path=${path},queues=1,queue_size=${QUEUE_SIZE},iface=${INTERFACE}`;
}

/** Checks that this machine has what the benchmark needs. @throws VirtioPmdError ESOCKET, ECONFIG, ESYSTEM */
export function checkExceptionPath(path: string): void {
  const type = backendTypeOf(path);
  if (type !== 'VHOST_NET') {
    throw new VirtioPmdError('ECONFIG', `${path} is no vhost-net device: --path /dev/vhost-net is expected`);
  }
  tool('ip', ['link', 'show', 'lo'], 'iproute2 has it');
  tool('nsenter', ['--help'], 'util-linux has it');
  tool('unshare', ['-n', 'true'], 'util-linux has it, and only root may make a network namespace');
}

export function runExceptionPath(options: ExceptionPathOptions, context: Context): Promise<ExceptionPathResult> {
  const runs: ExceptionPathRun[] = [];
  return measure('exception-path', options, context, { runs }, async (keep) => {
    for (let pair = 0; pair < options.pairs; pair++) {
      for (const direction of options.directions) {
        for (const size of options.sizes) {
          for (const side of options.sides) {
            const run = await measureSide(options, context, { direction, size, side });
            runs.push({ pair, direction, size, side, ...run });
            keep();
            const rate = mpps(best(run.windows));
            context.print(`${pairOf(pair, options)}  ${direction}  ${size}  ${side}  ${rate} Mpps`);
          }
        }
      }
    }
  });
}

type Step = Pick<ExceptionPathRun, 'direction' | 'size' | 'side'>;
type Measured = Omit<ExceptionPathRun, keyof Step | 'pair'>;

function measureSide(options: ExceptionPathOptions, context: Context, step: Step): Promise<Measured> {
  return withScope(context.signal, async (scope) => {
    const { direction, size, side } = step;
    const front = await scope.testpmd(side, namespaced(frontCommand(side, frontOptions(options, context))));
    setUp(front.pid, INTERFACE);
    const mode = direction === 'to-kernel' ? 'txonly' : 'rxonly';
    await front.ask(`set fwd ${mode}`, new RegExp(`Set ${mode} packet forwarding mode[^]*testpmd> `));
    await front.ask(`set txpkts ${size}`, PROMPT);
    await front.ask('start', START);
    const senders = direction === 'to-kernel' ? [] : await startSenders(scope, front, size, options.senders);
    await sleep(options.warmUpSeconds * 1000, undefined, { signal: scope.signal });
    const paths = pathsFromLog(front.output); // only now: the log may arrive after the prompt

    const windows: number[] = [];
    const before = await look(front, direction);
    let last = before;
    for (let i = 0; i < options.seconds; i++) {
      await sleep(1000, undefined, { signal: scope.signal });
      const now = await look(front, direction);
      windows.push(((now.packets - last.packets) / (now.at - last.at)) * 1000);
      last = now;
    }
    for (const sender of senders) await sender.stop();
    await front.ask('stop', STOP);
    return { windows, packets: last.packets - before.packets, dropped: last.dropped - before.dropped, ...paths };
  });
}

function frontOptions({ path }: ExceptionPathOptions, { program, machine }: Context) {
  return {
    vdevs: [deviceString(path)],
    program,
    avx512: machine.flags.includes('avx512f'),
    args: [`--txd=${QUEUE_SIZE}`, `--rxd=${QUEUE_SIZE}`],
  };
}

/** Counters of the receiver so far: the tap, or the port. */
async function look(front: Peer, direction: Direction): Promise<{ at: number; packets: number; dropped: number }> {
  const fromPort = direction === 'from-kernel' ? (await portStats(front)).rxPackets : undefined;
  const { rxPackets, txDropped } = interfaceCounters(front.pid, INTERFACE);
  return { at: performance.now(), packets: fromPort ?? rxPackets, dropped: txDropped };
}

/** Starts programs in the namespace of the tap that send as fast as they can. */
async function startSenders(scope: Scope, front: Peer, size: number, count: number): Promise<Peer[]> {
  const command = inNamespaceOf(front.pid, floodCommand(size));
  const senders = Array.from({ length: count }, (_, i) => scope.start(`sender ${i}`, command));
  for (const sender of senders) await sender.waitFor(/flooding\n/, 60_000);
  return senders;
}

/** One line per direction and size. */
export function exceptionPathTable({ options, runs }: ExceptionPathResult): string {
  const head = [
    'Direction',
    'Bytes',
    'Ours Mpps',
    'DPDK Mpps',
    'Ratio',
    'Ours ppm dropped',
    'DPDK ppm dropped',
    'Pairs',
  ];
  const rows = options.directions.flatMap((direction) =>
    options.sizes.flatMap((size) => {
      const of = (side: Side) =>
        runs.filter((run) => run.direction === direction && run.size === size && run.side === side);
      const [ours, dpdk] = [of('ours'), of('dpdk')];
      if (ours.length + dpdk.length === 0) return [];
      const most = (list: readonly ExceptionPathRun[]) => (list.length === 0 ? '-' : mpps(bestWindow(list)));
      const dropped = (list: readonly ExceptionPathRun[]) => {
        if (list.length === 0 || direction === 'to-kernel') return '-';
        const lost = sum(list.map((run) => run.dropped));
        return partsPerMillion(lost, lost + sum(list.map((run) => run.packets))).toFixed(0);
      };
      const both = pairRatios(ours, dpdk);
      const ratio = both.length === 0 ? '-' : median(both).toFixed(2);
      const pairs = String(both.length === 0 ? Math.max(ours.length, dpdk.length) : both.length);
      return [[direction, String(size), most(ours), most(dpdk), ratio, dropped(ours), dropped(dpdk), pairs]];
    }),
  );
  return formatTable(head, rows);
}
