/** The packet forwarding modes: testpmd's own, by name, and those of users, which are modules. */
import type { StreamShape } from '../topology.js';

export type BuiltInMode = 'io' | 'mac' | 'macswap' | 'flowgen' | 'rxonly' | 'txonly' | 'csum' | 'icmpecho' | '5tswap';

/** A module whose default export is a ForwardingMode. Plain data: the lcore loads it (load-mode.ts). */
export interface UserMode {
  /** The file's name without its directory. */
  readonly name: string;
  readonly url: string;
}

export type Mode = BuiltInMode | UserMode;

export const modeNames: readonly BuiltInMode[] = [
  'io',
  'mac',
  'macswap',
  'flowgen',
  'rxonly',
  'txonly',
  'csum',
  'icmpecho',
  '5tswap',
];

const shapes: Readonly<Record<BuiltInMode, StreamShape>> = {
  io: 'forward',
  mac: 'forward',
  macswap: 'forward',
  flowgen: 'forward',
  rxonly: 'receive',
  txonly: 'transmit',
  csum: 'forward',
  icmpecho: 'reply',
  '5tswap': 'forward',
};

export const isUserMode = (mode: Mode): mode is UserMode => typeof mode !== 'string';
export const shapeOf = (mode: Mode): StreamShape => (isUserMode(mode) ? 'forward' : shapes[mode]);
/** The mode's name in `set fwd` and `start`. */
export const nameOf = (mode: Mode): string => (isUserMode(mode) ? mode.name : mode);
export const canRetry = (mode: Mode): boolean => mode !== 'rxonly';

/** Finds a mode by name. `mac_retry` is the name of `mac retry` in DPDK before 2.1. */
export function findMode(text: string): { mode: BuiltInMode; retry: boolean } | undefined {
  if (text === 'mac_retry') return { mode: 'mac', retry: true };
  const mode = modeNames.find((name) => name === text);
  return mode && { mode, retry: false };
}

/** Whether a word is the path of a module, and not a mode of testpmd. */
export const isModePath = (text: string): boolean => text.includes('/') || /\.([cm]?js|m?ts)$/.test(text);
