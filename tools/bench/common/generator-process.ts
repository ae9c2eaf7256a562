/** Shared by the generator processes: our back-end for one front-end, and the result as a line of JSON. */
import { pinThread } from '../../../native/cpu.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { createEal } from '../../../driver/eal/eal.js';
import { VhostDriver, type VhostDevice } from '../../../driver/vhost/index.js';
import type { Mempool } from '../../../paths/mempool.js';
import { peerCpu } from './testpmd.js';

/** Time limit for a front-end to connect, and to send its first packet back. */
export const START_MS = 60_000;
const POLL_MS = 100;

/** The guest, through a VhostDevice: virtqueue 0 is its Rx queue, virtqueue 1 its Tx queue. */
export interface Guest {
  enqueueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number;
  dequeueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number;
}

/** A front-end that has connected. */
export interface FrontEnd {
  readonly guest: VhostDevice;
  readonly pool: Mempool;
  /** Milliseconds, from an arbitrary start. */
  readonly clock: () => number;
  /** Call it now and then: it serves the connection. @throws VirtioPmdError EPEER when the front-end is gone */
  readonly lookAfter: (now: number) => void;
}

/** @throws VirtioPmdError ETIMEOUT */
export function checkTime(inTime: boolean): void {
  if (!inTime) throw new VirtioPmdError('ETIMEOUT', 'the front-end does not connect, or sends no packet back');
}

function serve<Job extends { readonly socket: string }>(job: Job, mbufs: number, generate: Generate<Job>): unknown {
  using eal = createEal({ noHuge: true, log: () => {} });
  pinThread([peerCpu]);
  const pool = eal.mempool(eal.createMempool({ name: 'generator', count: mbufs }));
  using driver = new VhostDriver(job.socket, {}, {});
  driver.start();
  process.stdout.write('listening\n');
  const clock = () => performance.now();
  const deadline = clock() + START_MS;
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const device = () => driver.devices.find((candidate) => candidate.isRunning(0) && candidate.isRunning(1));
  while (device() === undefined) {
    driver.poll();
    Atomics.wait(sleeper, 0, 0, 1);
    checkTime(clock() < deadline);
  }
  const guest = device()!;
  let polledAt = 0;
  const lookAfter = (now: number) => {
    if (now - polledAt < POLL_MS) return;
    polledAt = now;
    driver.poll();
    if (!guest.isRunning(0)) throw new VirtioPmdError('EPEER', 'the front-end has gone away');
  };
  return generate(job, { guest, pool, clock, lookAfter });
}

type Generate<Job> = (job: Job, frontEnd: FrontEnd) => unknown;

/** The program. Its argument is the job as JSON. Prints `listening` and the result of `generate`; exits with 1 on errors. */
export function runGenerator<Job extends { readonly socket: string }>(mbufs: number, generate: Generate<Job>): void {
  try {
    const result = serve(JSON.parse(process.argv[2]!) as Job, mbufs, generate);
    process.stdout.write(`${JSON.stringify(result)}\n`);
  } catch (error) {
    process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}
