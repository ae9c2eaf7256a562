/**
 * Finds the position in a packed ring from its descriptors. A back-end that died did not say where it stopped, and for a
 * packed ring the front-end does not know either: QEMU 7.2 gives the position of a new ring.
 */
import { DESC_F_AVAIL, DESC_F_NEXT, DESC_F_USED } from '../layout.js';

/** The next descriptor to check, and the wrap counter with which it is available. */
export interface PackedPosition {
  readonly position: number;
  readonly wrap: 0 | 1;
}

/**
 * State of a descriptor: 0 used (or new) in a lap with wrap counter 0, 1 the same with 1; 2 available with wrap counter 0, 3
 * with 1; ODD: part of a list, which fits no position.
 */
type State = number;
const AVAILABLE = 2;
const ODD = 4;

function stateOf(flags: number): State {
  const avail = flags & DESC_F_AVAIL ? 1 : 0;
  const used = flags & DESC_F_USED ? 1 : 0;
  if (avail === used) return avail;
  return flags & DESC_F_NEXT ? ODD : AVAILABLE + avail;
}

/** A plain loop: each connection of a guest may scan a ring of 32768. 0.5 ms; with Uint8Array.from 2.3 (Intel Xeon). */
function statesOf(flagsOf: (slot: number) => number, size: number): Uint8Array {
  const states = new Uint8Array(size);
  for (let slot = 0; slot < size; slot++) states[slot] = stateOf(flagsOf(slot));
  return states;
}

/** Expected state of the descriptor `ahead` of the position, when the first `available` ones are available. */
function expectedState({ position, wrap }: PackedPosition, size: number, ahead: number, available: number): State {
  const counter = position + ahead >= size ? 1 - wrap : wrap;
  return ahead < available ? AVAILABLE + counter : 1 - counter;
}

/** A ring whose first buffers were skipped: `passed` are available, one descriptor each, and the ones behind are used. */
export interface InterruptedPosition extends PackedPosition {
  readonly passed: number;
}

/**
 * The only position that fits the whole ring, when buffers behind the first available ones are used already. A back-end that
 * dies within a burst leaves such a ring: the burst's first used descriptor is written last, by us and by DPDK. So does QEMU:
 * while the back-end is away it drops a guest's packets from its own position on, which in 7.2 is that of a new ring.
 * The driver waits for the first buffer, whatever is used behind it.
 */
export function findInterrupted(flagsOf: (slot: number) => number, size: number): InterruptedPosition | undefined {
  const states = statesOf(flagsOf, size);
  // candidates: behind a used descriptor, or at the border between two laps. A full ring that begins at 0 has no border
  const begins: number[] = [];
  for (let slot = 0; slot < size; slot++) {
    if (states[slot]! < AVAILABLE || (slot > 0 && states[slot] === states[slot - 1])) continue;
    if (begins.length === 4) return undefined;
    begins.push(slot);
  }
  for (const position of begins) {
    const at = { position, wrap: states[position] === AVAILABLE ? 0 : 1 } as const;
    const passed = passedAt(states, at);
    if (passed > 0) return { ...at, passed };
  }
  return undefined;
}

/** How many buffers were skipped if the position is `at`: 0 when the states do not fit. */
function passedAt(states: Uint8Array, at: PackedPosition): number {
  const size = states.length;
  let ahead = 0;
  /** Counts descriptors in a row with the state that `state` returns for the wrap counter of their lap. */
  const run = (state: (counter: number) => State) => {
    const from = ahead;
    while (ahead < size) {
      const slot = (at.position + ahead) % size;
      if (states[slot] !== state(slot < at.position ? 1 - at.wrap : at.wrap)) break;
      ahead++;
    }
    return ahead - from;
  };
  const available = (counter: number) => AVAILABLE + counter;
  const passed = run(available);
  const used = run((counter) => counter);
  run(available);
  run((counter) => 1 - counter); // used in the previous lap
  return used > 0 && ahead === size ? passed : 0;
}

/**
 * The only position that fits the whole ring, when each buffer takes one descriptor and is used in order, as Linux does with
 * INDIRECT_DESC. A used list of several leaves descriptors that still look available, which fits no position. (One exception:
 * with a single list of two in a lap, its second descriptor looks like an available buffer. Its data are then taken once
 * more, and the position is right again.)
 * @param flagsOf the flags of a descriptor, by its place in the ring.
 * @returns undefined when nothing fits.
 */
export function findPosition(flagsOf: (slot: number) => number, size: number): PackedPosition | undefined {
  const states = statesOf(flagsOf, size);
  const candidate = candidateOf(states);
  let available = 0;
  while (available < size && states[(candidate.position + available) % size]! >= AVAILABLE) available++;
  for (let ahead = 0; ahead < size; ahead++) {
    const slot = (candidate.position + ahead) % size;
    if (states[slot] !== expectedState(candidate, size, ahead, available)) return undefined;
  }
  return candidate;
}

/** The first available descriptor behind one that is not; if there is none, the border between two laps. */
function candidateOf(states: Uint8Array): PackedPosition {
  const size = states.length;
  const isAvailable = (slot: number) => states[slot % size]! >= AVAILABLE;
  let position = states.findIndex((_, slot) => isAvailable(slot) && !isAvailable(slot + size - 1));
  if (position < 0)
    position = Math.max(
      states.findIndex((state) => state !== states[0]),
      0,
    );
  const state = states[position]!;
  const wrap = isAvailable(position) ? state - AVAILABLE : 1 - state;
  return { position, wrap: wrap === 0 ? 0 : 1 };
}

/** Whether `at` may be the position: its descriptor is available, or was used in the previous lap. It may begin a list. */
export function isPlausible(flagsOf: (slot: number) => number, at: PackedPosition): boolean {
  const state = stateOf(flagsOf(at.position) & ~DESC_F_NEXT);
  return state === AVAILABLE + at.wrap || state === 1 - at.wrap;
}
