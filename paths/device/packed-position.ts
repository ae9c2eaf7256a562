/**
 * Where a packed ring stands, read off its descriptors. A back-end that died did not say where it stopped, and for a
 * packed ring a front-end does not know either: QEMU 7.2 hands back the position of a new ring.
 */
import { DESC_F_AVAIL, DESC_F_NEXT, DESC_F_USED } from '../layout.js';

/** The next descriptor to look at, and the wrap counter that it is available with. */
export interface PackedPosition {
  readonly position: number;
  readonly wrap: 0 | 1;
}

/**
 * By descriptor: 0 used (or new) in a lap with counter 0, 1 the same with 1; 2 available with counter 0, 3 with 1; ODD:
 * part of a list, which fits nowhere.
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

/** What the descriptor `ahead` of the position shows when the first `available` ones are available. */
function expectedState({ position, wrap }: PackedPosition, size: number, ahead: number, available: number): State {
  const counter = position + ahead >= size ? 1 - wrap : wrap;
  return ahead < available ? AVAILABLE + counter : 1 - counter;
}

/**
 * The only position that fits the whole ring, when each buffer takes one descriptor and is used in order: what Linux does
 * with INDIRECT_DESC. A list of several leaves descriptors behind that still look available, which fits no position.
 * (One case does: a single list of two in a lap looks like an available buffer in its second descriptor. Its data are then
 * taken once more, and the ring is in step again.)
 * @param flagsOf the flags of a descriptor, by its place in the ring.
 * @returns undefined when nothing fits.
 */
export function findPosition(flagsOf: (slot: number) => number, size: number): PackedPosition | undefined {
  const states = Uint8Array.from({ length: size }, (_, slot) => stateOf(flagsOf(slot)));
  const candidate = candidateOf(states);
  let available = 0;
  while (available < size && states[(candidate.position + available) % size]! >= AVAILABLE) available++;
  for (let ahead = 0; ahead < size; ahead++) {
    const slot = (candidate.position + ahead) % size;
    if (states[slot] !== expectedState(candidate, size, ahead, available)) return undefined;
  }
  return candidate;
}

/** The first available descriptor behind one that is not; where all are alike, the border between two laps. */
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

/** Whether a ring may stand at `at`: its descriptor there is available, or was used in the lap before. Lists count. */
export function isPlausible(flagsOf: (slot: number) => number, at: PackedPosition): boolean {
  const state = stateOf(flagsOf(at.position) & ~DESC_F_NEXT);
  return state === AVAILABLE + at.wrap || state === 1 - at.wrap;
}
