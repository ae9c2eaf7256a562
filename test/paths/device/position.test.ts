/** Where a packed ring stands, from its descriptors alone: against a model of driver and device. */
import test from 'ava';
import fc from 'fast-check';
import {
  findInterrupted,
  findPosition,
  isPlausible,
  type PackedPosition,
} from '../../../paths/device/packed-position.js';

const AVAIL = 0x80;
const USED = 0x8000;
const NEXT = 1;

/** A ring whose device uses buffers in order, in the middle of its life. */
class Model {
  readonly flags: number[];
  availAt = 0;
  availWrap = 1;
  usedAt = 0;
  usedWrap = 1;
  outstanding: number[] = [];
  free: number;

  constructor(readonly size: number) {
    this.flags = new Array<number>(size).fill(0);
    this.free = size;
  }

  /** A buffer of `slots` descriptors. */
  add(slots = 1): void {
    if (this.free < slots) return;
    this.free -= slots;
    this.outstanding.push(slots);
    for (let i = 0; i < slots; i++) {
      this.flags[this.availAt] = (this.availWrap ? AVAIL : USED) | (i + 1 < slots ? NEXT : 0);
      if (++this.availAt === this.size) {
        this.availAt = 0;
        this.availWrap ^= 1;
      }
    }
  }

  /** The device uses the oldest buffer; the driver takes it back. */
  use(): void {
    const slots = this.outstanding.shift();
    if (slots === undefined) return;
    this.flags[this.usedAt] = this.usedWrap ? AVAIL | USED : 0;
    this.usedAt += slots;
    this.free += slots;
    if (this.usedAt >= this.size) {
      this.usedAt -= this.size;
      this.usedWrap ^= 1;
    }
  }

  get position(): PackedPosition {
    return { position: this.usedAt, wrap: this.usedWrap ? 1 : 0 };
  }

  find(): PackedPosition | undefined {
    return findPosition((slot) => this.flags[slot]!, this.size);
  }
}

const steps = (size: number) => fc.array(fc.boolean(), { maxLength: 5 * size });
const sizes = fc.integer({ min: 1, max: 20 });
const few = fc.integer({ min: 0, max: 3 });

test('every ring of one-descriptor buffers is found where it stands, at any point of its life', (t) => {
  fc.assert(
    fc.property(
      sizes.chain((size) => fc.tuple(fc.constant(size), steps(size))),
      ([size, moves]) => {
        const model = new Model(size);
        for (const add of moves) {
          if (add) model.add();
          else model.use();
          const found = model.find();
          if (JSON.stringify(found) !== JSON.stringify(model.position)) return false;
          if (!isPlausible((slot) => model.flags[slot]!, model.position)) return false;
        }
        return true;
      },
    ),
    { numRuns: 3000 },
  );
  t.pass();
});

test('buffers that were passed over are found wherever they are, and nowhere else', (t) => {
  let found = 0;
  fc.assert(
    fc.property(
      sizes.chain((size) => fc.tuple(fc.constant(size), steps(size), few, few)),
      ([size, moves, passed, used]) => {
        const model = new Model(size);
        for (const add of moves) {
          if (add) model.add();
          else model.use();
        }
        const { position, flags } = model;
        const flagsOf = (slot: number) => flags[slot]!;
        if (findInterrupted(flagsOf, size) !== undefined) return false; // a device that is in step
        if (passed === 0 || used === 0 || passed + used > size - model.free) return true;
        found++;
        for (let ahead = passed; ahead < passed + used; ahead++) {
          const slot = position.position + ahead;
          flags[slot % size] = (slot < size ? position.wrap : 1 - position.wrap) ? AVAIL | USED : 0;
        }
        if (findPosition(flagsOf, size) !== undefined) return false;
        return JSON.stringify(findInterrupted(flagsOf, size)) === JSON.stringify({ ...position, passed });
      },
    ),
    { numRuns: 5000 },
  );
  t.true(found > 200, `${found} rings`);
});

test('what fits no life of a ring is nobody’s position, in little time', (t) => {
  const size = 32768;
  const flags = Array.from({ length: size }, (_, slot) => (slot % 2 === 0 ? AVAIL : 0));
  const begun = performance.now();
  t.is(
    findInterrupted((slot) => flags[slot]!, size),
    undefined,
  );
  t.log(`${(performance.now() - begun).toFixed(1)} ms`);
});

test('a new ring, one filled at once, and a full lap: the initial position', (t) => {
  const model = new Model(8);
  const initial = { position: 0, wrap: 1 } as const;
  t.deepEqual(model.find(), initial);
  for (let i = 0; i < 8; i++) {
    model.add();
    t.deepEqual(model.find(), initial);
  }
  for (let i = 0; i < 8; i++) model.use();
  t.deepEqual(model.find(), { position: 0, wrap: 0 });
});

test('buffers of several descriptors: nearly always no position is found, or the right one', (t) => {
  let wrong = 0;
  const runs = 2000;
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 20, maxLength: 80 }), (moves) => {
      const model = new Model(32);
      for (const slots of moves) {
        if (slots > 0) model.add(slots);
        else model.use();
      }
      const found = model.find();
      if (found !== undefined && JSON.stringify(found) !== JSON.stringify(model.position)) wrong++;
    }),
    { numRuns: runs, seed: 1 },
  );
  t.log(`${wrong} of ${runs} rings look as if they stood elsewhere`);
  t.true(wrong < runs / 20);
});

test('a position that the descriptor there contradicts is not plausible', (t) => {
  const flags = [AVAIL | USED, AVAIL, USED, 0];
  const plausible = (position: number, wrap: 0 | 1) => isPlausible((slot) => flags[slot]!, { position, wrap });
  t.deepEqual(
    [0, 1, 2, 3].map((position) => [plausible(position, 0), plausible(position, 1)]),
    [
      [true, false],
      [false, true],
      [true, false],
      [false, true],
    ],
  );
});
