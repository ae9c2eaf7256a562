/** The front-end under test: our testpmd or DPDK's, with virtio_user ports and the same settings. */
import { VirtioPmdError } from '../../../native/errors.js';
import { usingLines } from '../../../paths/select.js';
import { RECIPES } from '../../common/recipes.js';
import type { Side } from './measurement.js';
import { dpdkCommand, ourCommand, ourCpu, peerCpu, type OurProgram } from './testpmd.js';

/** Memory of a dpdk-testpmd in MiB: enough for MBUFS. */
export const MEMORY_MIB = 64;
export const MBUFS = 8192;

export interface FrontOptions {
  readonly vdevs: readonly string[];
  /** How to run our testpmd: built, or from source. */
  readonly program: OurProgram;
  /** The CPU has AVX-512: DPDK's packed vectorized paths need an option to use it. */
  readonly avx512: boolean;
  /** Default: the prompt on the peers' CPU, one forwarding lcore on our CPU. */
  readonly lcores?: string;
  /** More options behind `--`. */
  readonly args?: readonly string[];
  readonly mbufs?: number;
  readonly memoryMiB?: number;
}

/** The command line of a side. Both have ordinary pages, the same number of mbufs, and name their paths in the log. */
export function frontCommand(side: Side, options: FrontOptions): [string, string[]] {
  const { vdevs, program, avx512, args = [], mbufs = MBUFS, memoryMiB = MEMORY_MIB } = options;
  const lcores = options.lcores ?? `0@${peerCpu},1@${ourCpu}`;
  const width = avx512 ? ['--force-max-simd-bitwidth=512'] : [];
  const ealArgs = ['--log-level=pmd.net.virtio.*:info', ...width];
  if (side === 'dpdk') return dpdkCommand({ vdevs, lcores, ealArgs, memoryMiB, mbufs, args });
  const ours = { vdevs, lcores, program, nodeArgs: ['--trace-gc'], args: [`--total-num-mbufs=${mbufs}`, ...args] };
  return ourCommand({ ...ours, ealArgs: [...ealArgs, '--no-huge'] }); // dpdkCommand adds it itself
}

/** Rx and Tx path by the log line of both drivers for it. */
const pathOfLine = new Map(
  RECIPES.flatMap(({ rx, tx }) => {
    const [rxLine, txLine] = usingLines({ rx, tx }, 0);
    return [
      [rxLine, rx],
      [txLine, tx],
    ];
  }),
);

export interface Paths {
  readonly rx: string;
  readonly tx: string;
  /** Instruction set of our vectorized paths. */
  readonly isa?: string;
}

/** The paths in a front-end's log. @throws VirtioPmdError EPEER when it has no such line. */
export function pathsFromLog(log: string): Paths {
  const said = [...log.matchAll(/virtio: using .* path on port 0/g)].map(([line]) => pathOfLine.get(line));
  const rx = said.findLast((path) => path?.startsWith('virtio_recv'));
  const tx = said.findLast((path) => path?.startsWith('virtio_xmit'));
  if (rx === undefined || tx === undefined)
    throw new VirtioPmdError('EPEER', `no paths in the log of port 0:\n${log.slice(-2000)}`);
  const isa = /virtio: using (\S+) code on port 0/.exec(log)?.[1];
  return isa === undefined ? { rx, tx } : { rx, tx, isa };
}
