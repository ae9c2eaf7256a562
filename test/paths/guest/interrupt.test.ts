/** Rx interrupts: no interleaving of driver and device leaves a sleeper beside a packet (virtio 1.2 sections 2.7.14, 2.8.21.3.1). */
import test from 'ava';
import fc from 'fast-check';
import { viewsOf } from '../../../native/region.js';
import { openRxInterrupt } from '../../../paths/guest/interrupt.js';
import { BROKEN, BROKEN_ID, layoutOf, STARTED, type RxPathName } from '../../../paths/guest/queue.js';
import { destroyFixtureRegion, GuestFixture, sameBytes, shape, type Shape } from '../../support/guest-fixture.js';
import { ifSimd } from '../../support/simd-here.js';
import { runs } from './support/runs.js';
import { SleepModel, type DeviceStep, type SleepOp } from './support/rx-interrupt-model.js';

test.after.always(destroyFixtureRegion);

const SPLIT: readonly RxPathName[] = [
  'virtio_recv_pkts',
  'virtio_recv_mergeable_pkts',
  'virtio_recv_pkts_inorder',
  ...ifSimd<RxPathName>('virtio_recv_pkts_vec'),
];
const PACKED: readonly RxPathName[] = [
  'virtio_recv_pkts_packed',
  'virtio_recv_mergeable_pkts_packed',
  ...ifSimd<RxPathName>('virtio_recv_pkts_packed_vec'),
];

// ---- exhaustive: every sequence of a few steps, from everywhere in small rings ----------------------------------------

const one: DeviceStep = { op: 'publish', packets: 1, bytes: 60 };
const two: DeviceStep = { op: 'publish', packets: 2, bytes: 60 };
const decide: DeviceStep = { op: 'decide' };
const enable = (fence: readonly DeviceStep[], look: readonly DeviceStep[]): SleepOp => ({ op: 'enable', fence, look });

const ALPHABET: readonly SleepOp[] = [
  one,
  two,
  decide,
  enable([], []),
  enable([one], []),
  enable([one, decide], []),
  enable([decide], []),
  enable([], [one]),
  enable([one], [decide]),
  { op: 'disable' },
  { op: 'receive', burst: 1 },
  { op: 'receive', burst: 32 },
];

/** Every sequence of `length` steps, one after the other on the same ring, so that they begin all over it. */
function everySequence(terms: Shape, length: number): number {
  const model = new SleepModel(terms);
  const count = ALPHABET.length ** length;
  const done: SleepOp[] = [];
  try {
    for (let sequence = 0; sequence < count; sequence++) {
      done.length = 0;
      for (let rest = sequence, i = 0; i < length; i++, rest = Math.floor(rest / ALPHABET.length)) {
        done.push(ALPHABET[rest % ALPHABET.length]!);
        model.run(done.at(-1)!);
      }
      model.drain();
    }
  } catch (error) {
    model.fixture.abandon();
    throw new Error(`${(error as Error).message}; after ${JSON.stringify(done)} on ${JSON.stringify(terms)}`);
  }
  model.finish();
  return count;
}

for (const path of ['virtio_recv_pkts', 'virtio_recv_pkts_packed'] as const) {
  const packed = path === 'virtio_recv_pkts_packed';
  for (const eventIdx of [false, true]) {
    test(`${path}: every sequence of four steps in small rings, ${eventIdx ? 'with' : 'without'} EVENT_IDX`, (t) => {
      for (const size of packed ? [1, 2, 3, 5] : [1, 2, 4]) {
        // split: the index passes 65535 in the midst of the sequences
        const start = packed ? { index: size - 1, wrap: size & 1 } : { index: 65_536 - 3000, wrap: 0 };
        t.is(everySequence(shape(path, { size, eventIdx, start, freeThresh: 1 }), 4), ALPHABET.length ** 4);
      }
    });
  }
}

test('every position of a ring, and both wrap counters: asleep, one packet, a notification; or a packet, and no sleep', (t) => {
  for (const eventIdx of [false, true]) {
    for (let size = 1; size <= 16; size++) {
      const paths = (size & (size - 1)) === 0 ? [SPLIT[0]!, PACKED[0]!] : [PACKED[0]!];
      for (const path of paths) {
        const packed = path === PACKED[0];
        for (let at = 0; at < 2 * size; at++) {
          const start = packed ? { index: at >> 1, wrap: at & 1 } : { index: (65_536 - size + at) & 0xffff, wrap: 0 };
          const model = new SleepModel(shape(path, { size, eventIdx, start, freeThresh: 1 }));
          for (let packets = 1; packets <= size; packets++) {
            const some: DeviceStep = { op: 'publish', packets, bytes: 60 };
            model.run(enable([], []));
            model.run(some);
            model.run(decide);
            t.true(model.signalled);
            model.drain();
            model.run(enable([some], [decide]));
            model.drain();
          }
          model.finish();
        }
      }
    }
  }
});

// ---- random: every path, rings of any size, bursts that leave packets, pools that run empty -----------------------------

const stepArbitrary: fc.Arbitrary<DeviceStep> = fc.oneof(
  fc.record({
    op: fc.constant('publish' as const),
    packets: fc.integer({ min: 1, max: 20 }),
    bytes: fc.constantFrom(60, 600, 1500),
  }),
  fc.constant(decide),
);
const stepsArbitrary = fc.array(stepArbitrary, { maxLength: 3 });

const opsArbitrary: fc.Arbitrary<SleepOp[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: stepArbitrary },
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constant('enable' as const), fence: stepsArbitrary, look: stepsArbitrary }),
    },
    { weight: 1, arbitrary: fc.constant<SleepOp>({ op: 'disable' }) },
    {
      weight: 3,
      arbitrary: fc.record({ op: fc.constant('receive' as const), burst: fc.integer({ min: 1, max: 40 }) }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('exhaust' as const), on: fc.boolean() }) },
  ),
  { minLength: 1, maxLength: 120 },
);

function shapeArbitrary(path: RxPathName): fc.Arbitrary<Shape> {
  const packed = path.includes('_packed');
  return fc
    .record({
      size: packed ? fc.integer({ min: 1, max: 33 }) : fc.constantFrom(1, 2, 4, 8, 16, 32),
      eventIdx: fc.boolean(),
      inOrder: fc.boolean(),
      index: fc.integer({ min: 0, max: 40 }),
      wrap: fc.constantFrom(0, 1),
      reserve: fc.nat({ max: 3 }),
      threshold: fc.constantFrom(1, undefined),
    })
    .map(({ size, eventIdx, inOrder, index, wrap, reserve, threshold }) =>
      shape(path, {
        ...{ size, eventIdx, threshold, freeThresh: 1 },
        inOrder: path.includes('_inorder') || (packed && inOrder),
        mergeable: path.includes('_mergeable') || (path.includes('_inorder') && inOrder),
        nbDesc: Math.max(1, size - reserve),
        start: packed ? { index: index % size, wrap } : { index: (65_536 - 20 + index) & 0xffff, wrap: 0 },
        mbufs: size + 64,
        dataRoom: path.includes('_mergeable') || path.includes('_inorder') ? 256 : 2048,
      }),
    );
}

for (const path of [...SPLIT, ...PACKED]) {
  test(`${path}: random sequences, nobody sleeps beside a packet`, (t) => {
    const property = (terms: Shape, ops: readonly SleepOp[]) => {
      const model = new SleepModel(terms);
      try {
        for (const op of ops) model.run(op);
        model.drain();
      } catch (error) {
        model.fixture.abandon();
        throw error;
      }
      model.finish();
    };
    fc.assert(fc.property(shapeArbitrary(path), opsArbitrary, property), {
      numRuns: runs(150),
      includeErrorInReport: true,
    });
    t.pass();
  });
}

// ---- edges -------------------------------------------------------------------------------------------------------------

test('with EVENT_IDX a driver that has gone back to polling is told of one more packet, then of none for a lap of the index', (t) => {
  const model = new SleepModel(shape('virtio_recv_pkts', { size: 16, eventIdx: true }));
  model.run(enable([], []));
  model.run({ op: 'disable' });
  let told = 0;
  for (let i = 0; i < 65_536; i++) {
    model.signalled = false;
    model.run(one);
    model.run(decide);
    if (model.signalled) told++;
    model.run({ op: 'receive', burst: 4 });
  }
  t.is(told, 1);
  model.finish();
});

for (const nbDesc of [8, 5]) {
  test(`a device that marks a descriptor which it does not have: no packet to get up for (${nbDesc} of 8)`, (t) => {
    const model = new SleepModel(shape('virtio_recv_pkts_packed', { size: 8, nbDesc, freeThresh: 1 }));
    model.run({ op: 'exhaust', on: true });
    for (let i = 0; i < nbDesc; i++) model.run(one);
    for (let i = 0; i < nbDesc; i++) model.run({ op: 'receive', burst: 1 });
    model.run(decide);
    const { packed } = model.fixture;
    packed.writeUsed(packed.usedAt, packed.usedWrap, 0, 72);
    t.false(model.interrupt.enable());
    packed.writeUsed(packed.usedAt, packed.usedWrap ^ 1, 0, 72);
    model.finish();
  });
}

for (const path of ['virtio_recv_pkts', 'virtio_recv_pkts_packed'] as const) {
  for (const eventIdx of [false, true]) {
    for (const [why, word, value] of [
      ['not started', STARTED, 0],
      ['broken', BROKEN, BROKEN_ID],
    ] as const) {
      test(`${path}, ${why}: the ring is left alone (EVENT_IDX ${eventIdx})`, (t) => {
        const fixture = new GuestFixture(shape(path, { size: 8, eventIdx, start: { index: 3, wrap: 1 } }));
        fixture.openRx().fill();
        const { spec } = fixture;
        const ring = () => {
          const { byteLength } = layoutOf(spec);
          return viewsOf(spec.mapping).u8.slice(spec.ringOff, spec.ringOff + byteLength);
        };
        fixture.device.takeAll();
        fixture.device.use([{ buffer: fixture.device.outstanding[0]!, length: 72 }]);
        const interrupt = openRxInterrupt(spec);
        t.true(interrupt.enable());
        fixture.state.words[word] = value;
        const before = ring();
        t.false(interrupt.enable(), 'though there is a packet');
        interrupt.disable();
        t.true(sameBytes(ring(), before));
        fixture.finish();
      });
    }
  }
}
