/** The front-ends of the interrupt benchmark: our l3fwd-power, with interrupts or polling, and DPDK's testpmd, polling. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { VirtioPmdError } from '../../../native/errors.js';
import { frontCommand } from '../common/front.js';
import { ROUTE } from './wakeups.js';
import type { Machine } from '../common/machine.js';
import type { Peer } from '../common/peer.js';
import { START, type Scope } from '../common/scope.js';
import { ourCpu, peerCpu, programArguments, type OurProgram } from '../common/testpmd.js';

/** interrupt: l3fwd-power --interrupt-only. polling: l3fwd-power --pmd-mgmt=baseline. dpdk: dpdk-testpmd's io, on virtio_user. */
export const INTERRUPT_SIDES = ['interrupt', 'polling', 'dpdk'] as const;
export type InterruptSide = (typeof INTERRUPT_SIDES)[number];

/** Device arguments of the rings. Mergeable, which is the default. */
export const RINGS = { split: 'packed_vq=0,mrg_rxbuf=1,in_order=0', packed: 'packed_vq=1,mrg_rxbuf=1,in_order=0' };
export type Ring = keyof typeof RINGS;

export interface InterruptFrontOptions {
  readonly side: InterruptSide;
  readonly ring: Ring;
  /** Socket of the back-end. */
  readonly socket: string;
  readonly program: OurProgram;
  readonly machine: Machine;
}

const modes = { interrupt: '--interrupt-only', polling: '--pmd-mgmt=baseline' };

/** @param routes path of a file with routes. */
export function l3fwdCommand(options: InterruptFrontOptions, routes: string): [string, string[]] {
  const { side, ring, socket, program } = options;
  const eal = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge', '--no-pci', '--log-level=user1:notice'];
  const vdev = ['--vdev', `net_virtio_user0,path=${socket},queues=1,${RINGS[ring]}`];
  const words = ['-p', '0x1', '-P', '--config=(0,0,1)', '--parse-ptype', `--rule_ipv4=${routes}`];
  const mode = side === 'dpdk' ? [] : [modes[side]];
  return [process.execPath, [...programArguments('l3fwd-power', program), ...eal, ...vdev, '--', ...words, ...mode]];
}

/** Starts a front-end, and waits until it forwards or sleeps. */
export async function startFront(scope: Scope, options: InterruptFrontOptions): Promise<Peer> {
  const { side, ring, socket, program, machine } = options;
  if (side === 'dpdk') {
    const vdevs = [`net_virtio_user0,path=${socket},queues=1,${RINGS[ring]}`];
    const avx512 = machine.flags.includes('avx512f');
    const testpmd = await scope.testpmd(side, frontCommand(side, { vdevs, program, avx512 }));
    await testpmd.ask('start', START);
    return testpmd;
  }
  const routes = join(scope.directory, 'routes');
  writeFileSync(routes, `R${ROUTE} 0\n`);
  const l3fwd = scope.start(`l3fwd-power (${side})`, l3fwdCommand(options, routes));
  await l3fwd.waitFor(/entering main .*loop on lcore 1/, 60_000);
  return l3fwd;
}

/** Ends a front-end. l3fwd-power has no prompt: it ends after a signal, with a table. @returns its row for lcore 1 */
export async function stopFront(front: Peer, side: InterruptSide): Promise<LcoreRow | undefined> {
  if (side === 'dpdk') {
    await front.stop();
    return undefined;
  }
  if (front.ended === undefined) {
    process.kill(front.pid, 'SIGTERM');
    await front.end();
  }
  return lcoreRow(front.output);
}

/** Counters of l3fwd-power, by the titles of its table. */
export type LcoreRow = Readonly<Record<string, number>>;

/** The row of lcore 1 in the final table of l3fwd-power. @throws VirtioPmdError EPEER without such a row */
export function lcoreRow(output: string): LcoreRow {
  const lines = output.split('\n');
  const head = lines.findLastIndex((line) => /^lcore +polls /.test(line));
  const cells = (line: string) => line.trim().split(/ {2,}/);
  const row = head < 0 ? undefined : lines.slice(head + 2).find((line) => cells(line)[0] === '1');
  if (row === undefined) throw new VirtioPmdError('EPEER', `no statistics of lcore 1:\n${output.slice(-2000)}`);
  const values = cells(row);
  return Object.fromEntries(cells(lines[head]!).map((title, i) => [title, Number(values[i])]));
}
