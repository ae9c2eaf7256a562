/**
 * Queues of ports: as plain data, and opened for bursts on a thread. `paths/guest/open.ts` opens a virtqueue of the guest
 * side. Every other queue names the module that opens it by its URL, like the jobs of lcores.
 */
import { aString, checkArgument, checkArguments, madeBy, optional } from '../../native/arguments.js';
import { VirtioPmdError } from '../../native/errors.js';
import { openRx as openVirtioRx, openTx as openVirtioTx } from '../../paths/guest/open.js';
import type { QueueSpec, RxPath, TxPath } from '../../paths/guest/queue.js';
import type { Mempool, MempoolSpec } from '../../paths/mempool.js';

/** A queue as plain data. Its driver adds what the queue's module needs. */
export interface PortQueueSpec {
  readonly portId: number;
  readonly queueId: number;
  /** Name of the callback that runs bursts. */
  readonly path: string;
  readonly mempool: MempoolSpec;
  /** URL of the module that opens the queue (a `QueueModule`). Absent: a virtqueue of the guest side. */
  readonly module?: string;
}

/**
 * Interrupts of an Rx queue, for the thread that polls it (eal/rx-interrupt.ts). The descriptor may be that of an event
 * counter, or be readable as long as packets wait.
 */
export interface QueueInterrupt {
  /**
   * Asks for an interrupt with the next packet that is not received yet.
   * @returns true when there are packets already: then do not wait
   */
  enable(): boolean;
  /** Asks for no interrupts. */
  disable(): void;
  /**
   * The descriptor that becomes readable then; it is read anew for each sleep. Undefined while the queue has none, is not started
   * or is broken: the number may then be that of another file.
   */
  readonly fd: number | undefined;
  /**
   * Consumes a pending interrupt, if that is possible without receiving. Never waits.
   * @returns whether there was one; false without a descriptor
   */
  drain(): boolean;
}

/** An Rx queue, opened on one thread. */
export interface RxQueue {
  readonly spec: PortQueueSpec;
  /** rte_eth_rx_burst. The caller owns the mbufs. Never throws: errors are counted. */
  readonly recv: (pkts: Uint32Array, n: number) => number;
  /** Gives the device as many buffers as it has room for. @returns how many were added. */
  readonly fill: () => number;
  /** Absent: the queue has none, or (virtqueues) eal/queue-interrupt.ts makes it from the spec. */
  readonly interrupt?: QueueInterrupt;
}

/** A Tx queue, opened on one thread. */
export interface TxQueue {
  readonly spec: PortQueueSpec;
  /** rte_eth_tx_prepare. @returns how many of the first packets can be sent as their offload flags say. */
  readonly prepare: (pkts: Uint32Array, n: number) => number;
  /** rte_eth_tx_burst. Takes the first packets of `pkts`, as many as there is room for; the caller keeps the rest. */
  readonly xmit: (pkts: Uint32Array, n: number) => number;
  /** Frees the mbufs of packets that have been sent. @returns free descriptors. */
  readonly cleanup: () => number;
}

/** The exports of a module that opens queues. They copy packets: between bursts they hold no mbufs (eal/lost-mbufs.ts). */
export interface QueueModule {
  openRx(spec: PortQueueSpec, pool: Mempool): RxQueue;
  openTx(spec: PortQueueSpec, pool: Mempool): TxQueue;
}

/** The modules that this thread has loaded, by URL. */
const modules = new Map<string, QueueModule>();

const aQueue = madeBy('port.spec()', 'path', 'mempool');
const someQueues = {
  accepts: 'queues of port.spec()',
  fits: (value: unknown) => Array.isArray(value) && value.every(aQueue.fits),
};

/** Whether a queue is a virtqueue of the guest side, which paths/guest can open. */
export function isVirtqueue(spec: PortQueueSpec): spec is QueueSpec {
  return spec.module === undefined;
}

/** Loads a module that opens queues on this thread, unless it is loaded. @param module its URL; undefined: there is none */
export async function loadQueueModule(module: string | undefined): Promise<void> {
  if (module === undefined || modules.has(module)) return;
  modules.set(module, (await import(module)) as QueueModule);
}

/**
 * Loads the modules that open these queues: once on each lcore, before `openRx` and `openTx`. Virtqueues need none, and `attach`
 * has loaded that of its port on its own thread.
 */
export async function loadQueues(specs: readonly PortQueueSpec[]): Promise<void> {
  checkArguments('loadQueues', { specs: [specs, someQueues] });
  for (const { module } of specs) {
    checkArgument('loadQueues', 'module', module, optional(aString));
    await loadQueueModule(module);
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

/** Opens an Rx queue for the calling thread. @throws VirtioPmdError ECONFIG, ESTATE */
export function openRx(spec: QueueSpec, pool: Mempool): RxPath;
export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue;
export function openRx(spec: PortQueueSpec, pool: Mempool): RxQueue {
  checkArguments('openRx', { spec: [spec, aQueue] });
  return isVirtqueue(spec) ? openVirtioRx(spec, pool) : moduleOf(spec).openRx(spec, pool);
}

/** Opens a Tx queue for the calling thread. @throws VirtioPmdError ECONFIG, ESTATE */
export function openTx(spec: QueueSpec, pool: Mempool): TxPath;
export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue;
export function openTx(spec: PortQueueSpec, pool: Mempool): TxQueue {
  checkArguments('openTx', { spec: [spec, aQueue] });
  return isVirtqueue(spec) ? openVirtioTx(spec, pool) : moduleOf(spec).openTx(spec, pool);
}
