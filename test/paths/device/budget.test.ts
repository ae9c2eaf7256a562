/** One guest's odd chains must not starve the others: what one call does is bounded, in both formats and directions. */
import test, { type ExecutionContext } from 'ava';
import { MAX_PIECES, WORK_PER_BURST, WORK_PER_PACKET } from '../../../paths/device/chain.js';

import type { TestQueue } from './support/device-queue.js';
import { DROP_SEGMENTS } from '../../../paths/stats.js';
import { MockPacked, MockSplit, packet, scatter, World, type Buffer, type MockRing } from './support/mock-driver.js';

const SIZE = 8192;
const HEADER = new Array<number>(12).fill(0);
const EMPTY: Buffer = { address: 0, length: 0 };

interface Attack {
  readonly name: string;
  /** Buffers of one chain. */
  readonly chain: (world: World) => Buffer[];
  readonly indirect?: boolean;
  /** Bytes by which tables are moved away from where a word begins. */
  readonly shift?: number;
}

const pieces = (world: World, count: number, length: number): Buffer[] => {
  const address = world.alloc(65536);
  return Array.from({ length: count }, (_, i) => ({ address: address + i, length }));
};

const attacks: readonly Attack[] = [
  { name: 'chains of empty buffers', chain: () => new Array<Buffer>(1000).fill(EMPTY) },
  { name: 'chains of more empty buffers than are looked at', chain: () => new Array<Buffer>(3000).fill(EMPTY) },
  {
    name: 'a header and empty buffers behind it',
    chain: (world) => [{ address: world.alloc(12), length: 12 }, ...new Array<Buffer>(900).fill(EMPTY)],
  },
  { name: 'a thousand pieces of 64 bytes', chain: (world) => pieces(world, 1000, 64) },
  { name: 'pieces of one byte', chain: (world) => pieces(world, 1000, 1) },
  { name: 'tables of pieces', chain: (world) => pieces(world, 1000, 64), indirect: true },
  { name: 'tables at an odd address', chain: (world) => pieces(world, 1000, 64), indirect: true, shift: 1 },
  {
    name: 'tables of empty buffers at an odd address',
    chain: () => new Array<Buffer>(1000).fill(EMPTY),
    indirect: true,
    shift: 2,
  },
];

const workOf = (queue: TestQueue) => (queue as unknown as { chain: { work: number } }).chain.work;

/** Fills a ring with the attack's chains. */
function attacked(
  t: ExecutionContext,
  packed: boolean,
  index: number,
  { chain, indirect, shift }: Attack,
): [World, MockRing] {
  const world = new World(2048);
  t.teardown(() => world.destroy());
  const options = { index, mergeable: true };
  const ring = packed ? new MockPacked(world, SIZE, options) : new MockSplit(world, SIZE, options);
  let chains = 0;
  while (ring.add(chain(world), index === 0, indirect ?? false) >= 0 && ++chains < 40);
  if (shift !== undefined) {
    // each table once more, a little further on, and the descriptors pointing there
    const { u32 } = world.views;
    for (let i = 0; i < SIZE; i++) {
      const at = ring.descriptor(i);
      const length = u32[at / 4 + 2]!;
      if (length === 0) continue;
      const old = u32[at / 4]! + u32[at / 4 + 1]! * 2 ** 32;
      const table = world.read(old, length);
      u32[at / 4] = u32[at / 4]! + shift;
      world.write(old + shift, table);
    }
  }
  return [world, ring];
}

for (const packed of [false, true]) {
  const kind = packed ? 'packed' : 'split';
  const most = WORK_PER_BURST + WORK_PER_PACKET + 16 * MAX_PIECES;
  for (const attack of attacks) {
    for (const index of [0, 1]) {
      test(`${kind} ${index === 0 ? 'Rx' : 'Tx'}: ${attack.name}`, (t) => {
        const [world, ring] = attacked(t, packed, index, attack);
        const queue = ring.open();
        const pkts = new Uint32Array(256);
        for (let burst = 0; burst < 40; burst++) {
          if (index === 1) {
            const n = queue.dequeue(world.pool, pkts, 256);
            world.pool.freeBulk(pkts, 0, n);
          } else {
            for (let i = 0; i < 32; i++) pkts[i] = world.mbuf(packet(i, 1500));
            queue.enqueue(world.pool, pkts, 32);
            world.pool.freeBulk(pkts, 0, 32);
          }
          if (workOf(queue) > most) t.fail(`${workOf(queue)} units of work, at most ${most} were expected`);
        }
        t.true(workOf(queue) >= 0);
        t.is(world.pool.inUse(), 0);
      });
    }
  }

  test(`${kind} Rx: buffers that hold next to nothing go back unused, and the guest's next ones are used`, (t) => {
    const world = new World(64);
    t.teardown(() => world.destroy());
    const options = { index: 0, mergeable: true };
    const ring = packed ? new MockPacked(world, 4096, options) : new MockSplit(world, 4096, options);
    const queue = ring.open();
    const tiny = [{ address: world.alloc(12), length: 12 }, ...new Array<Buffer>(700).fill(EMPTY)];
    for (let i = 0; i < 5; i++) ring.add(tiny, true);
    ring.add([{ address: world.alloc(2048), length: 2048 }], true);
    const pkts = Uint32Array.of(world.mbuf(packet(1, 1000)));
    let taken = 0;
    for (let call = 0; call < 10 && taken === 0; call++) taken = queue.enqueue(world.pool, pkts, 1);
    t.is(taken, 1);
    t.true(queue.stats[DROP_SEGMENTS]! > 0);
    t.deepEqual(
      ring
        .collect()
        .slice(0, 3)
        .map(({ length }) => length),
      [0, 0, 0],
    );
    world.pool.freeBulk(pkts, 0, 1);
  });
}

for (const index of [0, 1]) {
  test(`packed ${index === 0 ? 'Rx' : 'Tx'}: the end of a list that is too long is found over several bursts, and what follows it is used`, (t) => {
    const world = new World(64);
    t.teardown(() => world.destroy());
    const ring = new MockPacked(world, 32768, { index, mergeable: false });
    const queue = ring.open();
    const isRx = index === 0;
    const bytes = [...HEADER, ...packet(7, 100)];
    const address = world.alloc(2048);
    if (!isRx) world.write(address, bytes);
    t.true(ring.add(new Array<Buffer>(30000).fill(EMPTY), isRx) >= 0);
    t.true(ring.add([{ address, length: isRx ? 2048 : bytes.length }], isRx) >= 0);
    const pkts = new Uint32Array(32);
    let [bursts, done] = [0, 0];
    while (done === 0 && ++bursts < 20) {
      if (isRx) {
        pkts[0] = world.mbuf(packet(7, 100));
        done = queue.enqueue(world.pool, pkts, 1);
        world.pool.freeBulk(pkts, 0, 1);
      } else {
        done = queue.dequeue(world.pool, pkts, 32);
        world.pool.freeBulk(pkts, 0, done);
      }
      t.true(workOf(queue) <= WORK_PER_BURST + 2 * MAX_PIECES, `${workOf(queue)} units of work`);
    }
    t.is(done, 1);
    t.true(bursts > 2, `${bursts} bursts`);
    t.is(queue.stats[DROP_SEGMENTS], 1, 'the list is dropped once');
    t.is(queue.broken, undefined);
    t.is(world.pool.inUse(), 0);
  });
}

test('packed Tx: tables whose descriptors have WRITE left in their flags, as DPDK has, are read', (t) => {
  const world = new World(64);
  t.teardown(() => world.destroy());
  const ring = new MockPacked(world, 8, { index: 1 });
  const queue = ring.open();
  const bytes = packet(3, 320);
  const WRITE = 2;
  ring.add(
    scatter(world, [...HEADER, ...bytes], [12, 64, 64, 64, 64]).map((buffer) => ({ ...buffer, flags: WRITE })),
    false,
    true,
  );
  const pkts = new Uint32Array(1);
  t.is(queue.dequeue(world.pool, pkts, 1), 1);
  t.deepEqual(world.take(pkts[0]!), bytes);
});
