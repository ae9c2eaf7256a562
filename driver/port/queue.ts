/**
 * Queues of ports as plain data, and as the bursts of the thread that opened them. A virtqueue of the guest side is opened by
 * `paths/guest/open.ts`. Every other queue names the module that opens it, as jobs of lcores are named.
 */
import { aString, checkArgument, checkArguments, madeBy } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { openRx as openVirtioRx, openTx as openVirtioTx } from '../../paths/guest/open.js';
import type { QueueSpec, RxPath, TxPath } from '../../paths/guest/queue.js';
import type { Mempool, MempoolSpec } from '../../paths/mempool.js';

/** A queue as plain data. Its driver adds what its module needs to know. */
export interface PortQueueSpec {
  readonly portId: number;
  readonly queueId: number;
  /** The callback that runs bursts, by its name. */
  readonly path: string;
  readonly mempool: MempoolSpec;
  /** URL of the module that opens the queue (a `QueueModule`). Absent: a virtqueue of the guest side. */
  readonly module?: string;
}

/** The receiving side of a queue on one thread. */
export interface RxQueue {
  readonly spec: PortQueueSpec;
  /** rte_eth_rx_burst. The caller owns the mbufs. Never throws: what goes wrong is counted. */
  readonly recv: (pkts: Uint32Array, n: number) => number;
  /** Gives the device all the buffers that it has room for. @returns how many were added. */
  readonly fill: () => number;
}

/** The sending side of a queue on one thread. */
export interface TxQueue {
  readonly spec: PortQueueSpec;
  /** rte_eth_tx_prepare. @returns how many of the first packets can be sent as their offload flags say. */
  readonly prepare: (pkts: Uint32Array, n: number) => number;
  /** rte_eth_tx_burst. Takes the first packets of `pkts`, as many as there is room for; the rest stay the caller's. */
  readonly xmit: (pkts: Uint32Array, n: number) => number;
  /** Frees the mbufs of what has been sent. @returns free descriptors. */
  readonly cleanup: () => number;
}

/** What a module that opens queues exports. */
export interface QueueModule {
  openRx(spec: PortQueueSpec, pool: Mempool): RxQueue;
  openTx(spec: PortQueueSpec, pool: Mempool): TxQueue;
}

/** By URL: the modules that this thread has loaded. */
const modules = new Map<string, QueueModule>();

const aQueue = madeBy('port.spec()', 'path', 'mempool');
const someQueues = {
  accepts: 'queues of port.spec()',
  fits: (value: unknown) => Array.isArray(value) && value.every(aQueue.fits),
};

/** A queue whose ring is in our memory, with all that paths/guest knows of it. */
export function isVirtqueue(spec: PortQueueSpec): spec is QueueSpec {
  return spec.module === undefined;
}

/** Loads what opens these queues: once on each thread, before `openRx` and `openTx`. Virtqueues need nothing. */
export async function loadQueues(specs: readonly PortQueueSpec[]): Promise<void> {
  checkArguments('loadQueues', { specs: [specs, someQueues] });
  for (const { module } of specs) {
    if (module === undefined || modules.has(module)) continue;
    checkArgument('loadQueues', 'module', module, aString);
    modules.set(module, (await import(module)) as QueueModule);
  }
}

function moduleOf({ portId, module }: PortQueueSpec): QueueModule {
  const loaded = modules.get(module!);
  if (loaded !== undefined) return loaded;
  throw new VirtioPmdError(
    'ESTATE',
    `port ${portId}: what opens its queues (${module}) is not loaded on this thread: await loadQueues(specs) first`,
  );
}

/** The receiving side of a queue, for the thread that calls. @throws VirtioPmdError ECONFIG, ESTATE */
export function openRx(spec: QueueSpec, pool: Mempool): RxPath;
export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue;
export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue {
  checkArguments('openRx', { spec: [spec, aQueue] });
  return isVirtqueue(spec) ? openVirtioRx(spec, pool) : moduleOf(spec).openRx(spec, pool);
}

/** The sending side of a queue, for the thread that calls. @throws VirtioPmdError ECONFIG, ESTATE */
export function openTx(spec: QueueSpec, pool: Mempool): TxPath;
export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue;
export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue {
  checkArguments('openTx', { spec: [spec, aQueue] });
  return isVirtqueue(spec) ? openVirtioTx(spec, pool) : moduleOf(spec).openTx(spec, pool);
}
