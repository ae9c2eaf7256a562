/** Settings for the Tx port of an engine; plain data. */
import { RTE_MBUF_F_TX_VLAN } from '../../../paths/mbuf.js';
import type { Mempool } from '../../../paths/mempool.js';
import { TX_OFFLOAD_VLAN_INSERT } from '../../../driver/port/types.js';
import type { ForwardStream } from './stream.js';

export interface TxSettings {
  /** RTE_ETH_TX_OFFLOAD_*, as the port is configured. */
  readonly offloads: number;
  /** `tso set`; 0: none. */
  readonly tsoSegsz: number;
  /** `tx_vlan set`. */
  readonly vlan: number | undefined;
  /** `csum mac-swap`. */
  readonly macSwap: boolean;
}

export const plainTx: TxSettings = { offloads: 0, tsoSegsz: 0, vlan: undefined, macSwap: true };

/** Requests the tag of `tx_vlan set` for packets, where the port inserts tags; clears all other flags. */
export class Tagging {
  private readonly flags: number;
  private readonly tci: number;

  constructor({ offloads, vlan }: TxSettings) {
    const inserts = vlan !== undefined && (offloads & TX_OFFLOAD_VLAN_INSERT) !== 0;
    this.flags = inserts ? RTE_MBUF_F_TX_VLAN : 0;
    this.tci = inserts ? vlan : 0;
  }

  get on(): boolean {
    return this.flags !== 0;
  }

  mark(pool: Mempool, m: number): void {
    pool.olFlags[m] = this.flags;
    if (this.flags !== 0) pool.vlanTci[m] = this.tci;
  }

  send(stream: ForwardStream, n: number): void {
    if (this.flags === 0) stream.transmit(n);
    else stream.prepareAndTransmit(n);
  }
}
