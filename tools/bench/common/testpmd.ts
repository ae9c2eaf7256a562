/**
 * The command lines of the two testpmds, DPDK's and ours, and their answers at the prompt.
 *
 * CPUs: peers share CPU 0, ours runs on CPU 1 where there is one (`--lcores '0@0,1@1'`: the main lcore sleeps at its prompt).
 */
import { availableCpus } from '../../../native/cpu.js';
import { hasKoffi } from '../../../native/koffi.js';
import type { Peer } from './peer.js';

/**
 * CPU of the peers and CPU of our forwarding lcore; the same on a machine with one CPU. Read here, before threads pin
 * themselves. Without koffi nothing can be measured: the benchmarks report that later.
 */
export const [peerCpu = 0, ourCpu = peerCpu] = hasKoffi ? availableCpus() : [];

let prefixes = 0;
const filePrefix = () => `vpmd${process.pid}-${prefixes++}`;

/** Options of a dpdk-testpmd without hugepages and PCI. */
export interface DpdkOptions {
  readonly vdevs: readonly string[];
  /** EAL's --lcores. Default: main and forwarding lcore on the peers' CPU. */
  readonly lcores?: string;
  /** Options behind `--`. */
  readonly args?: readonly string[];
  readonly ealArgs?: readonly string[];
  readonly memoryMiB?: number;
  /** Default 8192. */
  readonly mbufs?: number;
}

/** The command line of a dpdk-testpmd with a prompt. */
function dpdkArguments(options: DpdkOptions): string[] {
  const { vdevs, lcores, args = [], ealArgs = [], memoryMiB = 192, mbufs = 8192 } = options;
  return [
    ...['--lcores', lcores ?? `0@${peerCpu},1@${peerCpu}`, '--main-lcore=0', '-n', '1'],
    ...['--no-huge', '-m', String(memoryMiB), '--no-pci', '--no-telemetry', `--file-prefix=${filePrefix()}`],
    ...ealArgs,
    ...vdevs.flatMap((vdev) => ['--vdev', vdev]),
    ...['--', '-i', `--total-num-mbufs=${mbufs}`, ...args],
  ];
}

/** Program and arguments of a dpdk-testpmd. It would buffer its output to a pipe, hence stdbuf. */
export function dpdkCommand(options: DpdkOptions): [string, string[]] {
  return ['stdbuf', ['-oL', 'dpdk-testpmd', ...dpdkArguments(options)]];
}

/** From source, through ts-node, or as built by `npm run build`, which starts in a fraction of the time. */
export type OurProgram = 'source' | 'dist';

/** Options of our testpmd. */
export interface OurOptions {
  /** Default: from source. */
  readonly program?: OurProgram;
  readonly vdevs: readonly string[];
  readonly lcores?: string;
  readonly args?: readonly string[];
  readonly ealArgs?: readonly string[];
  readonly nodeArgs?: readonly string[];
}

/** Node's arguments for one of our programs. */
export function programArguments(name: 'testpmd' | 'l3fwd-power', program: OurProgram): string[] {
  if (program === 'dist') return [`dist/tools/${name}/main.js`];
  return ['--import', './tools/ts.mjs', `tools/${name}/main.ts`];
}

/** Program and arguments of our testpmd. */
export function ourCommand(options: OurOptions): [string, string[]] {
  const { program = 'source', vdevs, lcores, args = [], ealArgs = [], nodeArgs = [] } = options;
  return [
    process.execPath,
    [
      ...[...nodeArgs, ...programArguments('testpmd', program)],
      ...[
        '--lcores',
        lcores ?? `0@${peerCpu},1@${ourCpu}`,
        '--main-lcore=0',
        '--no-pci',
        `--file-prefix=${filePrefix()}`,
      ],
      ...ealArgs,
      ...vdevs.flatMap((vdev) => ['--vdev', vdev]),
      ...['--', '-i', ...args],
    ],
  ];
}

/** The counters of `show port stats N`. */
export interface PortCounters {
  readonly rxPackets: number;
  readonly rxBytes: number;
  readonly rxMissed: number;
  readonly rxErrors: number;
  readonly txPackets: number;
  readonly rxPps: number;
  readonly txPps: number;
}

/** Asks a testpmd, ours or DPDK's, for a port's counters; both print the same format. */
export async function portStats(peer: Peer, port = 0): Promise<PortCounters> {
  const [text] = await peer.ask(`show port stats ${port}`, /NIC statistics for port[^]*?Tx-pps:[^\n]*\n\s*#+/);
  const number = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(text)?.[1] ?? NaN);
  return {
    rxPackets: number('RX-packets'),
    rxBytes: number('RX-bytes'),
    rxMissed: number('RX-missed'),
    rxErrors: number('RX-errors'),
    txPackets: number('TX-packets'),
    rxPps: number('Rx-pps'),
    txPps: number('Tx-pps'),
  };
}
