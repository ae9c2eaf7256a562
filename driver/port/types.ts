/**
 * The types of the port API, without code. `docs/api.md` has examples; the class is in port.ts.
 */
import type { SimdIsa } from '../../native/helper.js';
import type { RxPathName, TxPathName } from '../../paths/guest/queue.js';
import type { MempoolSpec } from '../../paths/mempool.js';
import type { LogLevel } from '../eal/types.js';
import type { PortQueueSpec } from './queue.js';

/** Offloads by DPDK's bit values (RTE_ETH_RX_OFFLOAD_*, RTE_ETH_TX_OFFLOAD_*). */
export const RX_OFFLOAD_VLAN_STRIP = 0x1;
export const RX_OFFLOAD_UDP_CKSUM = 0x4;
export const RX_OFFLOAD_TCP_CKSUM = 0x8;
export const RX_OFFLOAD_TCP_LRO = 0x10;
export const RX_OFFLOAD_VLAN_FILTER = 0x200;
export const RX_OFFLOAD_SCATTER = 0x2000;
export const RX_OFFLOAD_RSS_HASH = 0x80000;
export const TX_OFFLOAD_VLAN_INSERT = 0x1;
export const TX_OFFLOAD_UDP_CKSUM = 0x4;
export const TX_OFFLOAD_TCP_CKSUM = 0x8;
export const TX_OFFLOAD_TCP_TSO = 0x20;
export const TX_OFFLOAD_MULTI_SEGS = 0x8000;

/** rte_eth_dev_configure and the queue set-ups in one. */
export interface PortConfig {
  readonly mempool: MempoolSpec;
  /** Rx queues. Default 1. */
  readonly rxQueues?: number;
  /** Tx queues. Default: rxQueues. */
  readonly txQueues?: number;
  /** Descriptors that may be used per queue, 32 to 32768 (0: the whole ring). The devarg queue_size sets the ring's size. */
  readonly rxDesc?: number;
  readonly txDesc?: number;
  readonly rxFreeThresh?: number;
  readonly txFreeThresh?: number;
  readonly rxOffloads?: number;
  readonly txOffloads?: number;
  /** Bytes. Default: 1500, or the device's MTU. */
  readonly mtu?: number;
  /** Receive-side scaling, where the device has it. Default: true with several Rx queues. */
  readonly rss?: boolean;
  /** intr_conf.rxq: an interrupt for each Rx queue, so that lcores can sleep (LcoreContext.rxInterrupt). Default: false. */
  readonly rxInterrupts?: boolean;
  /**
   * --force-max-simd-bitwidth, for vectorized paths: a power of two, or 0 for no limit. Default, as EAL's: 256, on arm64 128.
   */
  readonly maxSimdBitwidth?: number;
}

export interface Link {
  readonly up: boolean;
  /** Mb/s; undefined when unknown. */
  readonly speed: number | undefined;
}

/** rte_eth_stats of a port. */
export interface PortStats {
  ipackets: number;
  opackets: number;
  ibytes: number;
  obytes: number;
  imissed: number;
  ierrors: number;
  oerrors: number;
  rxNombuf: number;
}

/** rte_eth_xstat with its name. */
export interface Xstat {
  readonly name: string;
  readonly value: number;
}

/** A path that was not chosen, or a feature that was not acknowledged, and why. */
export interface Reason {
  readonly what: string;
  readonly why: string;
}

/** `show port P path`: the chosen paths with all reasons. */
export interface PathReport {
  /** One of the eleven recipes, such as "packed in-order mergeable". */
  readonly recipe: string;
  readonly rx: RxPathName;
  readonly tx: TxPathName;
  /** Paths that were considered and rejected, with the first condition that ruled each out and what to change. */
  readonly rejected: readonly Reason[];
  /** The instruction set of the vectorized paths; undefined when both are scalar. */
  readonly simd?: SimdIsa | undefined;
  /** Wider instruction sets, and why they do not run. */
  readonly widerIsas?: readonly Reason[];
  readonly features: {
    readonly offered: bigint;
    readonly asked: bigint;
    readonly acknowledged: bigint;
    /** Features that one side requested or offered and that are not in use. */
    readonly refused: readonly Reason[];
  };
}

/** rte_eth_dev_info, and what else `show port info` prints. */
export interface PortInfo {
  readonly portId: number;
  readonly name: string;
  readonly driver: string;
  readonly devargs: string;
  readonly mac: string;
  readonly mtu: number;
  readonly minMtu: number;
  readonly maxMtu: number;
  readonly promiscuous: boolean;
  readonly allmulticast: boolean;
  readonly maxMacAddrs: number;
  /** Receive-side scaling; zeros where the device offers none. `flowTypes` are RTE_ETH_RSS_* bits. */
  readonly rss: { readonly keySize: number; readonly retaSize: number; readonly flowTypes: bigint };
  readonly minRxBufSize: number;
  readonly maxRxPktLen: number;
  readonly maxRxQueues: number;
  readonly maxTxQueues: number;
  readonly rxQueues: number;
  readonly txQueues: number;
  readonly minDesc: number;
  readonly maxDesc: number;
  readonly queueSize: number;
  readonly rxOffloadCapa: number;
  readonly txOffloadCapa: number;
  readonly rxOffloads: number;
  readonly txOffloads: number;
  readonly started: boolean;
  /** The private dump: name and value of each line. */
  readonly privateInfo: readonly (readonly [string, string])[];
}

export interface QueueInfo {
  readonly queueId: number;
  readonly mempool: string;
  readonly nbDesc: number;
  readonly freeThresh: number;
  readonly offloads: number;
  readonly scattered: boolean;
  readonly burstMode: string;
  readonly started: boolean;
  /** Undefined, or why the queue is broken. */
  readonly broken: string | undefined;
}

/** A started port as plain data: pass it to an lcore, which opens the queues (`openRx`, `openTx`). */
export interface PortSpec {
  readonly portId: number;
  readonly rx: readonly PortQueueSpec[];
  readonly tx: readonly PortQueueSpec[];
}

export interface PortEvents {
  /** The link went up or down, with the sentence that says why. */
  link: (link: Link, why: string) => void;
  /** The peer came back and everything was negotiated again. */
  reconnect: (count: number) => void;
  /** The device was removed: a PCI device, an interface of the kernel. The port can only be closed. */
  removed: () => void;
  /** The port was closed, by close(). */
  closed: () => void;
  /**
   * A queue of a started port can be used from now on, or not any more (RTE_ETH_EVENT_QUEUE_STATE): its peer decides so. On a
   * port that receives a capture file: the file has ended.
   */
  queueState: (kind: 'rx' | 'tx', queue: number, enabled: boolean) => void;
  /** A queue is broken: its ring has invalid contents. */
  broken: (queue: string, why: string) => void;
  /** The log lines of the driver ("virtio: using ... path on port N"), with their level. */
  log: (level: LogLevel, line: string) => void;
}
