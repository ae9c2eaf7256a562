/** The back-end as a job for an lcore: `npm start`, the benchmarks and many tests run it behind a virtio_user port. */
import {
  aNumber,
  aSharedBuffer,
  aString,
  checkArgument,
  checkOptions,
  madeBy,
  oneOf,
  optional,
  type OptionKinds,
} from '../../native/arguments.js';
import type { MempoolSpec } from '../../paths/mempool.js';
import type { LcoreContext } from '../eal/types.js';
import { VhostDriver, vhostOptions, type VhostOptions } from './driver.js';
import { Forwarder, VHOST_COUNTERS, type VhostMode } from './forward.js';
import type { VhostCallbacks } from './types.js';

export { VHOST_COUNTERS, vhostCounterBytes, type VhostMode } from './forward.js';

/** Plain data that is posted to the lcore: the options of VhostDriver, and what to do with packets. */
export interface VhostJobData extends Omit<VhostOptions, 'log'> {
  /** Of the socket. */
  readonly path: string;
  readonly mode: VhostMode;
  readonly mempool: MempoolSpec;
  /** txonly: bytes of a packet. Default 64. */
  readonly packetSize?: number;
  /** `vhostCounterBytes` bytes; a Float64Array over it has the counters, at the indices of VHOST_COUNTERS. */
  readonly counters: SharedArrayBuffer;
  /** Post log lines of this level and worse as `{ level, line }` to `eal.lcores.onMessage`. Default: none. */
  readonly logLevel?: 'debug' | 'info' | 'warning' | 'error';
}

const levels = ['debug', 'info', 'warning', 'error'];

const driverOptions: OptionKinds<Omit<VhostOptions, 'log'>> = vhostOptions;
const jobData: OptionKinds<VhostJobData> = {
  ...driverOptions,
  path: aString,
  mode: oneOf('loopback', 'mac', 'txonly', 'rxonly'),
  mempool: madeBy('eal.createMempool', 'name', 'shared'),
  packetSize: optional(aNumber),
  counters: aSharedBuffer,
  logLevel: optional(oneOf(...levels)),
};

/** Turns between two looks at the clock. */
const TURNS = 128;
/** Milliseconds between two polls of the sockets. */
const POLL_MS = 1;

/**
 * Serves one vhost-user socket until the lcore is told to stop. At the end it removes the socket file of a server and returns
 * every mbuf to the mempool.
 * @throws VirtioPmdError ECONFIG for wrong options, ESOCKET when the socket cannot be bound.
 */
export function vhostJob(context: LcoreContext, data: VhostJobData): void {
  checkArgument('vhostJob', 'context', context, madeBy('the lcore', 'mempool', 'running'));
  checkOptions('vhostJob', data, jobData);
  const { path, mode, mempool, packetSize, counters, logLevel, ...options } = data;
  const pool = context.mempool(mempool);
  const forwarder = new Forwarder(pool, { mode, ...(packetSize !== undefined && { packetSize }) }, counters);
  const count = new Float64Array(counters);
  const least = logLevel === undefined ? levels.length : levels.indexOf(logLevel);
  const refresh = () => forwarder.update(driver.devices);
  const callbacks: VhostCallbacks = {
    newDevice: () => {
      count[VHOST_COUNTERS.connections]! += 1;
      refresh();
    },
    destroyDevice: refresh,
    vringStateChanged: refresh,
  };
  const log = (level: string, line: string) => {
    if (levels.indexOf(level) >= least) context.post({ level, line });
  };
  const driver = new VhostDriver(path, { ...options, log }, callbacks);
  const nobody = new Int32Array(new SharedArrayBuffer(4));
  try {
    driver.start();
    let polledAt = 0;
    for (let turn = 0; context.running(); turn++) {
      forwarder.turn();
      if (turn % TURNS !== 0 && count[VHOST_COUNTERS.pairs] !== 0) continue;
      const now = performance.now();
      if (now - polledAt < POLL_MS) continue;
      polledAt = now;
      driver.poll();
      // without a guest the lcore may sleep
      if (count[VHOST_COUNTERS.pairs] === 0) Atomics.wait(nobody, 0, 0, POLL_MS);
    }
  } finally {
    driver.close();
    forwarder.close();
    pool.flushCache();
  }
}
