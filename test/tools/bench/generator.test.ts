/** The generator of the latency benchmark, with a guest and a clock that do as they are told. */
import test from 'ava';
import type { Guest } from '../../../tools/bench/common/generator-process.js';
import { Generator } from '../../../tools/bench/latency/generator.js';
import { createRegion, destroyRegion } from '../../../native/region.js';
import { createMempool, Mempool, mempoolStride } from '../../../paths/mempool.js';
import { resetMbuf } from '../../../paths/mbuf.js';

const COUNT = 1024;
const mapping = createRegion('generator-test', COUNT * mempoolStride(128, 256), false);
test.after.always(() => destroyRegion(mapping));

function makePool(): Mempool {
  const sizes = { base: 0, count: COUNT, headroom: 128, dataRoom: 256, cacheSize: 64 };
  return new Mempool(createMempool({ name: 'generator', mapping, ...sizes, deviceAddress: BigInt }), 0);
}

const SEQUENCE = 16;

/** Keeps what it gets, gives back what the test lets go, in order. */
class FakeGuest implements Guest {
  readonly held: number[] = [];
  room = Infinity;
  /** How many may go back. */
  letGo = 0;

  enqueueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    if (queue !== 0) throw new Error(`virtqueue ${queue} does not receive`);
    const taken = Math.min(n, this.room);
    this.room -= taken;
    for (let i = 0; i < taken; i++) this.held.push(pool.i32[(pool.dataStart(pkts[i]!) + SEQUENCE) >> 2]!);
    return taken;
  }

  dequeueBurst(queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    if (queue !== 1) throw new Error(`virtqueue ${queue} does not transmit`);
    const count = Math.min(n, this.letGo, this.held.length);
    this.letGo -= count;
    for (let i = 0; i < count; i++) {
      const m = pool.get();
      resetMbuf(pool, m);
      pool.i32[(pool.dataStart(m) + SEQUENCE) >> 2] = this.held.shift()!;
      pkts[i] = m;
    }
    return count;
  }
}

/** Ticks of 1/1024 ms, which fractions of two hold exactly; one packet per tick unless told otherwise. */
function setUp(perTick = 1) {
  const guest = new FakeGuest();
  const pool = makePool();
  const time = { ticks: 0 };
  const generator = new Generator(guest, pool, { size: 64, perMs: perTick * 1024, clock: () => time.ticks / 1024 });
  const turn = (ticks: number, making = true) => {
    time.ticks += ticks;
    return generator.turn(making);
  };
  return { guest, pool, generator, turn };
}

const nanoseconds = (ticks: number) => Math.floor((ticks / 1024) * 1e6);

test('packets become due with time, and keep their fractions', (t) => {
  const { guest, generator, turn } = setUp(0.375);
  for (let i = 0; i < 10; i++) turn(1);
  t.is(generator.sent, 3);
  t.deepEqual(guest.held, [0, 1, 2]);
});

test('a packet’s time runs from when it was due until it is back', (t) => {
  const { guest, generator, turn } = setUp();
  turn(1);
  turn(10, false);
  guest.letGo = 1;
  turn(20, false);
  t.is(generator.received, 1);
  t.is(generator.latency.max, nanoseconds(30));
  t.is(generator.tainted.count, 0);
});

test('time spent waiting for room in the guest’s ring counts', (t) => {
  const { guest, generator, turn } = setUp();
  guest.room = 0;
  turn(1);
  t.is(generator.sent, 0);
  guest.room = 1;
  turn(40, false);
  t.is(generator.sent, 1);
  guest.letGo = 1;
  turn(5, false);
  t.is(generator.latency.max, nanoseconds(45));
});

test('what the generator is late for is not sent in one flood', (t) => {
  const { generator, turn } = setUp();
  turn(1000);
  t.is(generator.sent, 64);
  t.is(generator.skipped, 1000 - 64);
  turn(1);
  t.is(generator.sent, 65);
});

test('packets on their way while the generator stood still are set apart; later ones are not', (t) => {
  const { guest, generator, turn } = setUp();
  turn(1);
  turn(200, false); // stands still
  guest.letGo = 1;
  turn(1, false);
  t.deepEqual([generator.latency.count, generator.tainted.count, generator.stalls], [0, 1, 1]);
  t.is(generator.longestStall, 200 / 1024);
  turn(1);
  guest.letGo = 1;
  turn(1);
  t.is(generator.latency.count, 1);
});

test('a guest that takes nothing: packets wait, then are refused, and nothing is lost count of', (t) => {
  const { guest, generator, turn } = setUp(64);
  guest.room = 0;
  const turns = 2000;
  for (let i = 0; i < turns; i++) turn(1);
  t.is(generator.sent, 0);
  t.is(generator.made + generator.refused, 64 * turns);
  guest.room = Infinity;
  turn(1, false);
  t.is(generator.sent, generator.made);
  t.deepEqual(guest.held, [...Array(generator.made).keys()]);
});

test('restart forgets counts, and packets on their way come home', (t) => {
  const { guest, pool, generator, turn } = setUp();
  turn(5);
  generator.restart();
  t.deepEqual([generator.sent, generator.received, generator.latency.count], [0, 0, 0]);
  guest.letGo = 5;
  turn(1, false);
  t.is(generator.received, 5);
  t.is(pool.inUse(), 32, 'the generator’s own');
});

test('without a rate it sends as much as there is room for, and takes no times', (t) => {
  const { guest, generator, turn } = setUp(Infinity);
  guest.room = 40;
  turn(1);
  turn(1);
  t.is(generator.sent, 40);
  guest.letGo = 40;
  turn(1);
  turn(1);
  t.is(generator.received, 40);
  t.is(generator.latency.count, 0);
});
