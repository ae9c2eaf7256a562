/** One running testpmd: its ports, its settings, and its output. */
import { isVirtioPmdError } from '../../native/errors.js';
import type { MempoolSpec } from '../../paths/mempool.js';
import type { Eal } from '../../driver/eal/eal.js';
import type { Port } from '../../driver/port/port.js';
import type { PortEvents, PortStats } from '../../driver/port/types.js';
import type { AppArguments } from './options/app-options.js';
import type { Settings } from './settings.js';
import { planForwarding, type ForwardingPlan } from './topology.js';
import { shapeOf } from './engines/modes.js';
import { defaultPeer } from '../common/values.js';

/** Output. dpdk-testpmd writes answers to stdout and errors to stderr, and scripts may read only one. */
export interface Console {
  print(text: string): void;
  complain(text: string): void;
}

/** A port and testpmd's state for it. */
export interface PortEntry {
  readonly port: Port;
  /** Queue numbers or sizes changed since it was configured. */
  reconfigure: boolean;
  /** Its last start failed, and it was not stopped since. */
  startFailed: boolean;
  /** MTU set on the prompt, kept through reconfiguration. */
  mtu: number | undefined;
  /** Offloads for its configuration from the next start on. */
  rxOffloads: number;
  txOffloads: number;
  /** `tso set`: bytes of TCP payload in a segment; 0: no segmentation. */
  tsoSegsz: number;
  /** `tx_vlan set`: the VLAN tag for packets that testpmd generates or changes. */
  txVlan: number | undefined;
  /** `csum mac-swap`: the csum mode writes MAC addresses. */
  macSwap: boolean;
  /** `csum parse-tunnel`. */
  parseTunnel: boolean;
  /** Statistics at the last display, for rates, and its time in ms. */
  shown: { readonly stats: PortStats; readonly at: number } | undefined;
}

export function newEntry(port: Port, rxOffloads: number, txOffloads: number): PortEntry {
  return {
    port,
    reconfigure: true,
    startFailed: false,
    mtu: undefined,
    rxOffloads,
    txOffloads,
    tsoSegsz: 0,
    txVlan: undefined,
    macSwap: true,
    parseTunnel: false,
    shown: undefined,
  };
}

export class Session {
  /** Ports by id. */
  readonly ports = new Map<number, PortEntry>();
  quitting = false;

  constructor(
    readonly eal: Eal,
    readonly app: AppArguments,
    readonly settings: Settings,
    readonly mempool: MempoolSpec,
    readonly maxSimdBitwidth: number,
    readonly console: Console,
    /** Takes the driver's log lines. */
    readonly log: PortEvents['log'],
  ) {}

  print(text: string): void {
    this.console.print(text);
  }

  complain(text: string): void {
    this.console.complain(text);
  }

  /** Runs `action`, and prints the message of a VirtioPmdError. @returns whether it succeeded. */
  attempt(action: () => void): boolean {
    try {
      action();
      return true;
    } catch (error) {
      if (!isVirtioPmdError(error)) throw error;
      this.complain(error.message);
      return false;
    }
  }

  /** Port ids, ascending. */
  get portIds(): number[] {
    return [...this.ports.keys()].sort((a, b) => a - b);
  }

  /** The ports of a command. Prints an error when there is no such port. */
  select(which: number | 'all'): PortEntry[] {
    if (which === 'all') return this.portIds.map((id) => this.ports.get(id)!);
    const entry = this.ports.get(which);
    if (entry) return [entry];
    this.complain(`Invalid port ${which}`);
    return [];
  }

  /** Lcores that may forward: all but the main one, or the selected ones. */
  get coreCandidates(): readonly number[] {
    return this.settings.coreList ?? this.eal.lcores.workers;
  }

  get forwardingCores(): readonly number[] {
    return this.coreCandidates.slice(0, this.settings.coreCount);
  }

  get portCandidates(): readonly number[] {
    return (this.settings.portList ?? this.portIds).filter((id) => this.ports.has(id));
  }

  get forwardingPorts(): readonly number[] {
    return this.portCandidates.slice(0, this.settings.portCount);
  }

  /** The forwarding plan for a start now. */
  plan(): ForwardingPlan {
    const { settings } = this;
    return planForwarding({
      ports: this.forwardingPorts,
      rxQueues: settings.rxQueues,
      txQueues: settings.txQueues,
      lcores: this.forwardingCores,
      topology: settings.topology,
      shape: shapeOf(settings.mode),
    });
  }

  peerOf(portId: number): string {
    return this.settings.ethPeers.get(portId) ?? defaultPeer(portId);
  }
}
