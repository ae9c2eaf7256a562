/** The packet forwarding modes. */
import type { StreamShape } from './topology.js';

export type Mode = 'io' | 'mac' | 'macswap' | 'flowgen' | 'rxonly' | 'txonly' | 'icmpecho' | '5tswap';

export const modeNames: readonly Mode[] = ['io', 'mac', 'macswap', 'flowgen', 'rxonly', 'txonly', 'icmpecho', '5tswap'];

const shapes: Readonly<Record<Mode, StreamShape>> = {
  io: 'forward',
  mac: 'forward',
  macswap: 'forward',
  flowgen: 'forward',
  rxonly: 'receive',
  txonly: 'transmit',
  icmpecho: 'reply',
  '5tswap': 'forward',
};

export const shapeOf = (mode: Mode): StreamShape => shapes[mode];
export const canRetry = (mode: Mode): boolean => mode !== 'rxonly';

/** `mac_retry` is what DPDK before 2.1 called `mac retry`. */
export function findMode(text: string): { mode: Mode; retry: boolean } | undefined {
  if (text === 'mac_retry') return { mode: 'mac', retry: true };
  const mode = modeNames.find((name) => name === text);
  return mode && { mode, retry: false };
}
