/** Makes testpmd's own engines. */
import type { BuiltInMode } from './modes.js';
import { Csum } from './csum.js';
import { FlowGen } from './flowgen.js';
import { IcmpEcho } from './icmpecho.js';
import { FiveTupleSwap, Io, Mac, MacSwap } from './rewrite.js';
import { RxOnly } from './rxonly.js';
import type { Engine, StreamSettings } from './stream.js';
import type { TxSettings } from './tx-settings.js';
import { TxOnly, type PacketPlan } from './txonly.js';

export interface EngineOptions {
  readonly settings: StreamSettings;
  readonly tx: TxSettings;
  readonly plan: PacketPlan;
  /** The mempool's. */
  readonly dataRoom: number;
  readonly lcoreId: number;
  /** Counters of the csum mode for packets with a bad L4 checksum, by index of the stream. */
  readonly badL4: Float64Array;
  readonly index: number;
}

/** Makes an engine for one stream: engines that generate packets have state. */
export function createEngine(mode: BuiltInMode, options: EngineOptions): Engine {
  const { settings, tx, plan, dataRoom, lcoreId, badL4, index } = options;
  const { burst, ownMac, peerMac } = settings;
  switch (mode) {
    case 'io':
      return new Io();
    case 'mac':
      return new Mac(ownMac, peerMac, tx);
    case 'macswap':
      return new MacSwap(tx);
    case '5tswap':
      return new FiveTupleSwap(tx);
    case 'icmpecho':
      return new IcmpEcho(ownMac);
    case 'csum':
      return new Csum(tx, ownMac, peerMac, badL4, index);
    case 'rxonly':
      return new RxOnly();
    case 'txonly':
      return new TxOnly(plan, burst, ownMac, peerMac, lcoreId, tx);
    case 'flowgen':
      return new FlowGen(plan, burst, dataRoom, tx);
  }
}
