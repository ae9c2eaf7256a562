/**
 * What a broken or hostile device writes into a ring, for both kinds of rings: a batch that is right but for one entry,
 * an index that jumps, marks that are none, random bytes. All from one description, so that it can be repeated.
 */
import fc from 'fast-check';
import { layoutOf } from '../../../../paths/guest/queue.js';
import type { Lockstep } from './lockstep.js';
import type { Buffer } from '../../../support/reference-ring.js';

export interface Lie {
  /** What is wrong with entry `at` of a batch of `count`. */
  readonly kind:
    'beyond' | 'alias' | 'huge' | 'twice' | 'free' | 'other' | 'past' | 'high' | 'unmarked' | 'wrong lap' | 'jump';
  readonly at: number;
  readonly count: number;
  /** Picks among several of its kind. */
  readonly pick: number;
  /** Overwrites this many random bytes of the ring first. */
  readonly garbage: number;
}

export const kinds: readonly Lie['kind'][] = [
  ...(['beyond', 'alias', 'huge', 'twice', 'free', 'other', 'past', 'high', 'unmarked', 'wrong lap', 'jump'] as const),
];

export const lieArbitrary: fc.Arbitrary<Lie> = fc.record({
  kind: fc.constantFrom(...kinds),
  at: fc.nat({ max: 20 }),
  count: fc.integer({ min: 1, max: 40 }),
  pick: fc.nat(),
  garbage: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat({ max: 400 }) }),
});

/** Deterministic random numbers. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** The device lies. The queue has to be started over afterwards: the reference device has lost track. */
export function tell(pair: Lockstep, lie: Lie): void {
  pair.device((ring) => {
    const { spec } = pair.scalar;
    const random = randomNumbers(lie.pick);
    const bytes = spec.size * 16;
    for (let i = 0; i < lie.garbage; i++) ring.view.setUint8(spec.ringOff + random(bytes), random(256));
    if (spec.packed) lieOnPacked(pair, ring.outstanding, lie);
    else lieOnSplit(pair, ring.outstanding, lie);
  });
}

/** Words of the device's that say whether it wants the doorbell: flags and index (split), offset and flags (packed). */
export const eventArbitrary = fc.record({
  op: fc.constant('event' as const),
  words: fc.tuple(...[0, 1].map(() => fc.oneof(fc.nat({ max: 4 }), fc.nat({ max: 0xffff })))) as fc.Arbitrary<
    [number, number]
  >,
});

/** The device writes anything there. */
export function writeEvent(pair: Lockstep, words: readonly [number, number]): void {
  pair.device(({ view }) => {
    const { spec } = pair.scalar;
    const device = spec.ringOff + layoutOf(spec).device;
    view.setUint16(device, words[0], true);
    view.setUint16(spec.packed ? device + 2 : device + 4 + 8 * spec.size, words[1], true);
  });
}

/**
 * What lies behind a ring is no part of it, though it may look like entries that go on where the last one ends. Where
 * the words that do belong there allow it.
 */
export function setTrap(pair: Lockstep): void {
  const { spec } = pair.scalar;
  const { ringOff, size, packed, eventIdx } = spec;
  if (eventIdx && !packed) return; // avail_event
  pair.device(({ view }) => {
    const end = packed ? ringOff + size * 16 : ringOff + layoutOf(spec).device + 4 + size * 8;
    const last = packed ? view.getUint16(end - 4, true) : view.getUint32(end - 8, true);
    const marks = packed ? view.getUint16(end - 2, true) : 0;
    for (let k = 0; k < 3; k++) {
      const at = end + k * (packed ? 16 : 8);
      const id = (last + 1 + k) & 0xffff;
      if (packed) {
        view.setUint32(at + 8, lengthOf(pair), true);
        view.setUint16(at + 12, id, true);
        view.setUint16(at + 14, marks, true);
      } else {
        view.setUint32(at, id, true);
        view.setUint32(at + 4, lengthOf(pair), true);
      }
    }
  });
}

/** The id that is wrong in the way asked for. `right`: what would be right there. */
function wrongId({ scalar }: Lockstep, outstanding: readonly Buffer[], lie: Lie, right: number): number {
  const { size } = scalar.spec;
  const known = new Set(outstanding.map((buffer) => buffer.id));
  const free = Array.from({ length: size }, (_, id) => id).filter((id) => !known.has(id));
  switch (lie.kind) {
    case 'beyond':
      return size + (lie.pick % 3);
    case 'alias':
      return 0x10000 + right; // the right one, in 16 bits
    case 'huge':
      return [0xffff, 2 ** 31, 2 ** 31 + right, 2 ** 32 - 1][lie.pick % 4]!;
    case 'twice':
      return outstanding[0]?.id ?? 0;
    case 'free':
      return free.length > 0 ? free[lie.pick % free.length]! : size;
    case 'other':
      return outstanding.length > 0 ? outstanding[lie.pick % outstanding.length]!.id : 0;
    default:
      return right;
  }
}

/** The id of entry `i` of a batch: right, or wrong in all of them: in a row that runs out of the ring, or one bit too many. */
function idOf({ scalar }: Lockstep, outstanding: readonly Buffer[], lie: Lie, i: number): number {
  if (lie.kind === 'past') return Math.max(0, scalar.spec.size - 1 - (lie.pick % 5)) + i;
  const right = outstanding[i % Math.max(1, outstanding.length)]?.id ?? 0;
  return lie.kind === 'high' ? right + [0x8000, 0x4000, 2 ** 31, 0x10000, 2 ** 30][lie.pick % 5]! : right;
}

const lengthOf = ({ scalar }: Lockstep) => scalar.spec.hdrSize + 60;

function lieOnSplit(pair: Lockstep, outstanding: readonly Buffer[], lie: Lie): void {
  const { split } = pair;
  const count = Math.min(lie.count, outstanding.length);
  for (let i = 0; i < count; i++) {
    const right = idOf(pair, outstanding, lie, i);
    split.writeEntry(i, i === lie.at % count ? wrongId(pair, outstanding, lie, right) : right, lengthOf(pair));
  }
  const jumps = [outstanding.length + 1, outstanding.length + 1 + (lie.pick % 1000), -1 - (lie.pick % 40), 0x7fff];
  split.advance(lie.kind === 'jump' ? jumps[lie.pick % 4]! : count);
}

/** Marks `count` descriptors used, even more than are outstanding ('jump': all of them). */
function lieOnPacked(pair: Lockstep, outstanding: readonly Buffer[], lie: Lie): void {
  const { packed } = pair;
  const { size, ringOff } = pair.scalar.spec;
  const count = lie.kind === 'jump' ? size : Math.min(lie.count, size);
  const at = lie.at % count;
  let slot = packed.usedAt;
  let wrap = packed.usedWrap;
  for (let i = 0; i < count; i++) {
    const right = idOf(pair, outstanding, lie, i);
    const id = i === at ? wrongId(pair, outstanding, lie, right) : right;
    packed.writeUsed(slot, i === at && lie.kind === 'wrong lap' ? wrap ^ 1 : wrap, id & 0xffff, lengthOf(pair));
    if (i === at && lie.kind === 'unmarked') {
      packed.view.setUint16(ringOff + slot * 16 + 14, [0x0080, 0x8000, 0x0082, 0x8002][lie.pick % 4]!, true);
    }
    if (++slot === size) {
      slot = 0;
      wrap ^= 1;
    }
  }
}
