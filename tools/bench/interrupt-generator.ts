/**
 * `node interrupt-generator.ts '{...}'`: a vhost-user back-end for one front-end, with WakeUps behind it. Prints `listening`,
 * `measuring` when the warm-up is over, then its result as one line of JSON.
 */
import { pinThread } from '../../native/cpu.js';
import { VirtioPmdError } from '../../native/errors.js';
import { createEal } from '../../driver/eal.js';
import { VhostDriver } from '../../driver/vhost/index.js';
import { checkTime, START_MS, WakeUps, type WakeUpOptions, type WakeUpResult } from './interrupt-wakeups.js';
import { peerCpu } from './testpmd.js';

export interface WakeUpJob extends Pick<WakeUpOptions, 'count' | 'minGapMs' | 'maxGapMs'> {
  readonly socket: string;
  readonly warmUpSeconds: number;
}

const POLL_MS = 100;

/** @throws VirtioPmdError ETIMEOUT when no packet comes back, EPEER when the front-end goes away. */
function wakeUp(job: WakeUpJob): WakeUpResult {
  using eal = createEal({ noHuge: true, log: () => {} });
  pinThread([peerCpu]);
  const pool = eal.mempool(eal.createMempool({ name: 'generator', count: 1024 }));
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
  const rest = () => {
    if (clock() - polledAt < POLL_MS) return;
    polledAt = clock();
    driver.poll();
    if (!guest.isRunning(0)) throw new VirtioPmdError('EPEER', 'the front-end has gone away');
  };
  const wakeUps = new WakeUps(guest, pool, { ...job, clock, random: Math.random, rest });
  wakeUps.warmUp(job.warmUpSeconds * 1000);
  process.stdout.write('measuring\n');
  return wakeUps.measure();
}

try {
  process.stdout.write(`${JSON.stringify(wakeUp(JSON.parse(process.argv[2]!) as WakeUpJob))}\n`);
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
