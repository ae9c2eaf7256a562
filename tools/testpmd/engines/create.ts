/** testpmd's own engines by mode. */
import type { BuiltInMode } from '../modes.js';
import { FlowGen } from './flowgen.js';
import { IcmpEcho } from './icmpecho.js';
import { FiveTupleSwap, Io, Mac, MacSwap } from './rewrite.js';
import { RxOnly } from './rxonly.js';
import type { Engine, StreamSettings } from './stream.js';
import { TxOnly, type PacketPlan } from './txonly.js';

/** An engine for one stream: engines that make packets keep state. */
export function createEngine(
  mode: BuiltInMode,
  settings: StreamSettings,
  plan: PacketPlan,
  dataRoom: number,
  lcoreId: number,
): Engine {
  const { burst, ownMac, peerMac } = settings;
  switch (mode) {
    case 'io':
      return new Io();
    case 'mac':
      return new Mac(ownMac, peerMac);
    case 'macswap':
      return new MacSwap();
    case '5tswap':
      return new FiveTupleSwap();
    case 'icmpecho':
      return new IcmpEcho(ownMac);
    case 'rxonly':
      return new RxOnly();
    case 'txonly':
      return new TxOnly(plan, burst, ownMac, peerMac, lcoreId);
    case 'flowgen':
      return new FlowGen(plan, burst, dataRoom);
  }
}
