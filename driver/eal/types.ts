/** The types of the environment's users: options, and the context of a job on an lcore. The classes are in eal.ts and lcore.ts. */
import type { Mempool, MempoolSpec } from '../../paths/mempool.js';
import type { RxInterrupts } from './rx-interrupt.js';

/** rte_log's levels, as far as the driver has lines for them. */
export type LogLevel = 'debug' | 'info' | 'notice' | 'warning' | 'error';

/** Receives whole lines, without a newline. */
export type Log = (level: LogLevel, line: string) => void;

/** The EAL options that have an effect (dpdk-testpmd's, in camel case). */
export interface EalOptions {
  /** Packet memory in MiB (-m, --socket-mem). Default: as much as the first mempool and rings need. At most 2046 are used. */
  readonly memoryMiB?: number;
  /** Never use hugepages (--no-huge). Default: use 2 MiB hugepages when enough are free, else ordinary pages. */
  readonly noHuge?: boolean;
  /** First part of the name of the memory file, as /proc/PID/maps shows it. Default 'virtio-pmd'. */
  readonly filePrefix?: string;
  /** lcore id -> CPUs, as from -l, -c or --lcores (see parseLcores). Default: one lcore per available CPU. */
  readonly lcores?: ReadonlyMap<number, readonly number[]>;
  /** Default: the lowest lcore id. */
  readonly mainLcore?: number;
  /** Pin the calling thread to the main lcore's CPUs until close(). Default: true when `lcores` is given. */
  readonly pinMain?: boolean;
  /**
   * Debug mode: mempools and paths check every mbuf that changes its owner, and throw when one is freed twice, used after it
   * was freed or sent, or its index is invalid. Slow: docs/api.md. Default: true when VPMD_DEBUG=1 is in the environment.
   */
  readonly debug?: boolean;
  /** Receives notices ("EAL: ..."), whole lines without a newline. Default: stderr. */
  readonly log?: (line: string) => void;
}

/** Options of `eal.createMempool`. */
export interface MempoolRequest {
  /** Unique in the Eal. Default `mb_pool_N`. */
  readonly name?: string;
  /** Mbufs, at least 2. */
  readonly count: number;
  /** Bytes for packet data in one mbuf, at least 64. Default 2048. */
  readonly dataRoom?: number;
  /** Bytes kept free in front of the data, at least 20. Default 128 (RTE_PKTMBUF_HEADROOM). */
  readonly headroom?: number;
  /** Mbufs that an lcore keeps in its cache, at most 512 and two thirds of `count`. Default 250 (testpmd's), or less in a small pool. */
  readonly cacheSize?: number;
}

/** The context that a job on an lcore gets. */
export interface LcoreContext {
  readonly lcoreId: number;
  /**
   * Call it once per turn of a forwarding loop: false once the job should return. It also tells the control plane that this
   * lcore holds nothing of its last turn any more. A loop that does not call it blocks `port.stop()` and reconnects.
   */
  running(): boolean;
  /** This thread's handle on a mempool. */
  mempool(spec: MempoolSpec): Mempool;
  /** Sleeping until packets arrive, for queues of ports that are configured with `rxInterrupts`. */
  readonly rxInterrupt: RxInterrupts;
  /** Posts plain data to `eal.lcores.onMessage`. */
  post(message: unknown): void;
}

/** A job: a function exported by a module, `export function name(context: LcoreContext, data: T)`. */
export type LcoreJob<T> = (context: LcoreContext, data: T) => void | Promise<void>;
