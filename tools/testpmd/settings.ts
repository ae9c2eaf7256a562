/** Settings that commands change and `start` uses. */
import type { AppArguments } from './options/app-options.js';
import type { PacketPlan } from './engines/txonly.js';
import type { Mode } from './engines/modes.js';
import type { Topology } from './topology.js';

export interface Settings {
  mode: Mode;
  retry: boolean;
  retries: number;
  retryDelayUs: number;
  burst: number;
  topology: Topology;
  flushRx: boolean;
  /** Ports to forward between, in order; undefined: all ports. */
  portList: readonly number[] | undefined;
  /** How many of those; undefined: all. */
  portCount: number | undefined;
  /** Lcores to forward on, in order; undefined: all workers. */
  coreList: readonly number[] | undefined;
  coreCount: number;
  packets: PacketPlan;
  /** Configured peer MAC addresses, by port. */
  readonly ethPeers: Map<number, string>;
  rxQueues: number;
  txQueues: number;
  rxDesc: number;
  txDesc: number;
  verbose: number;
}

/** DPDK's defaults. */
const RETRIES = 64;
const RETRY_DELAY_US = 1;

export function settingsFrom(app: AppArguments): Settings {
  const { txSegments, txIp, txUdp, multiFlow, flows } = app;
  return {
    mode: app.mode,
    retry: app.retry,
    retries: RETRIES,
    retryDelayUs: RETRY_DELAY_US,
    burst: app.burst,
    topology: app.topology,
    flushRx: app.flushRx,
    portList: app.portList,
    portCount: app.ports,
    coreList: app.coreList,
    coreCount: app.cores ?? app.coreList?.length ?? 1,
    packets: { segments: txSegments, ip: txIp, udp: txUdp, multiFlow, flows },
    ethPeers: new Map(app.ethPeers.map(({ port, mac }) => [port, mac])),
    rxQueues: app.rxQueues,
    txQueues: app.txQueues,
    rxDesc: app.rxDesc,
    txDesc: app.txDesc,
    verbose: 0,
  };
}
