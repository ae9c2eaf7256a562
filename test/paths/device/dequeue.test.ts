import test from 'ava';
import fc from 'fast-check';
import { createEventFd, drainFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';
import {
  BROADCAST,
  BYTES,
  KICKS,
  KICKS_SUPPRESSED,
  MULTICAST,
  NOMBUF,
  PACKETS,
  SIZE_BINS,
} from '../../../paths/stats.js';
import {
  MockPacked,
  MockSplit,
  packet,
  scatter,
  World,
  type MockRing,
  type RingOptions,
} from './support/mock-driver.js';

const ring = (world: World, packed: boolean, size: number, options: RingOptions): MockRing =>
  packed ? new MockPacked(world, size, { index: 1, ...options }) : new MockSplit(world, size, { index: 1, ...options });

const header = (hdrSize: number) => Array.from({ length: hdrSize }, (_, i) => 0xa0 + i);

const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      op: fc.constant('send' as const),
      length: fc.oneof(fc.integer({ min: 14, max: 200 }), fc.integer({ min: 200, max: 9728 })),
      cuts: fc.array(fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 0, max: 2000 })), { maxLength: 5 }),
      indirect: fc.boolean(),
      direct: fc.integer({ min: 0, max: 2 }),
      alignment: fc.constantFrom(1, 2, 4, 64),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('poll' as const), n: fc.integer({ min: 0, max: 40 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('collect' as const) }) },
);

const settings = fc.record({
  hdrSize: fc.constantFrom(10, 12, 20),
  steps: fc.array(step, { minLength: 1, maxLength: 60 }),
  start: fc.nat(65535),
});

for (const packed of [false, true]) {
  const kind = packed ? 'packed' : 'split';
  const sizes = packed ? fc.integer({ min: 2, max: 256 }) : fc.integer({ min: 1, max: 8 }).map((n) => 2 ** n);

  test(`${kind}: whatever is sent arrives, in order, whole, and every buffer comes back`, (t) => {
    const world = new World(600, 1024);
    t.teardown(() => world.destroy());
    const pkts = new Uint32Array(64);
    fc.assert(
      fc.property(settings, sizes, ({ hdrSize, steps, start }, size) => {
        const from = packed ? (start % size) | (start & 0x8000) : start;
        const mock = ring(world, packed, size, { hdrSize, start: from });
        const queue = mock.open();
        const sent: number[][] = [];
        const ids: number[] = [];
        const collect = () => {
          for (const used of mock.collect()) {
            if (used.id !== ids.shift() || used.length !== 0) throw new Error(`used ${used.id}, ${used.length}`);
          }
        };
        const poll = (n: number) => {
          const count = queue.dequeue(world.pool, pkts, n);
          if (count > n) throw new Error(`${count} > ${n}`);
          for (let i = 0; i < count; i++) {
            const { olFlags, nbSegs, pktLen, dataLen, next } = world.pool;
            const m = pkts[i]!;
            if (olFlags[m] !== 0) throw new Error('offload flags');
            let segments = 0;
            for (let s = m; s >= 0; s = next[s]!) if (dataLen[s]! > 0) segments++;
            const length = pktLen[m]!;
            if (segments !== nbSegs[m] || segments !== Math.ceil(length / 1024))
              throw new Error(`${segments} segments`);
            const bytes = world.take(m);
            const expected = sent.shift()!;
            if (length !== expected.length || Buffer.compare(Buffer.from(bytes), Buffer.from(expected)) !== 0) {
              throw new Error(`packet of ${length} bytes instead of ${expected.length}, or not its bytes`);
            }
          }
          return count;
        };
        let serial = 0;
        for (const action of steps) {
          if (action.op === 'collect') collect();
          else if (action.op === 'poll') poll(action.n);
          else {
            const bytes = packet(serial++, action.length);
            const buffers = scatter(world, [...header(hdrSize), ...bytes], action.cuts, action.alignment);
            if (buffers.length > size) continue;
            const direct = packed ? 0 : Math.min(action.direct, buffers.length - 1);
            const id = mock.add(buffers, false, action.indirect, direct);
            if (id < 0) continue;
            sent.push(bytes);
            ids.push(id);
          }
        }
        while (poll(64) > 0);
        collect();
        if (sent.length > 0 || ids.length > 0 || mock.free !== size) throw new Error(`${sent.length} left behind`);
        if (world.pool.inUse() !== 0) throw new Error(`${world.pool.inUse()} mbufs leaked`);
        if (queue.broken !== undefined || queue.hasWork()) throw new Error(queue.broken ?? 'work left');
      }),
      { numRuns: 250 },
    );
    t.pass();
  });

  test(`${kind}: a buffer across two adjacent regions is copied in two parts`, (t) => {
    const world = new World(16);
    t.teardown(() => world.destroy());
    const mock = ring(world, packed, 4, {});
    const queue = mock.open();
    const bytes = packet(1, 300);
    for (let cut = 0; cut <= 312; cut += 13) {
      const address = world.memory.slices[1]!.guestAddr - cut;
      world.write(address, [...header(12), ...bytes]);
      mock.add([{ address, length: 312 }], false, cut % 2 === 1);
      const pkts = new Uint32Array(1);
      t.is(queue.dequeue(world.pool, pkts, 1), 1);
      t.deepEqual(world.take(pkts[0]!), bytes);
      mock.collect();
    }
    t.is(world.pool.inUse(), 0);
  });

  test(`${kind}: without mbufs packets stay in the ring, counted, and arrive once there are some`, (t) => {
    const world = new World(8, 1024);
    t.teardown(() => world.destroy());
    const mock = ring(world, packed, 8, {});
    const queue = mock.open();
    for (let i = 0; i < 3; i++) mock.add(scatter(world, [...header(12), ...packet(i, 3500)], []), false);
    const pkts = new Uint32Array(8);
    t.is(queue.dequeue(world.pool, pkts, 8), 1, 'four mbufs each, eight in the pool, the burst reserved three');
    t.true(queue.stats[NOMBUF]! > 0);
    t.deepEqual(world.take(pkts[0]!), packet(0, 3500));
    t.is(world.pool.inUse(), 0);
    t.is(queue.dequeue(world.pool, pkts, 1), 1);
    t.deepEqual(world.take(pkts[0]!), packet(1, 3500));
    t.is(queue.dequeue(world.pool, pkts, 1), 1);
    const held = pkts[0]!;
    const rest = new Int32Array(8);
    const n = world.pool.getBulk(rest, 8);
    mock.add(scatter(world, [...header(12), ...packet(9, 100)], []), false);
    t.is(queue.dequeue(world.pool, pkts, 8), 0);
    t.is(mock.collect().length, 3);
    world.pool.putBulk(rest, n);
    world.pool.free(held);
    t.is(queue.dequeue(world.pool, pkts, 8), 1);
    world.pool.free(pkts[0]!);
    t.is(world.pool.inUse(), 0);
  });

  test(`${kind}: base is where the next queue goes on`, (t) => {
    const world = new World(32);
    t.teardown(() => world.destroy());
    const mock = ring(world, packed, 4, { start: packed ? 0x8002 : 65534 });
    let queue = mock.open();
    const pkts = new Uint32Array(4);
    for (let i = 0; i < 9; i++) {
      mock.add(scatter(world, [...header(12), ...packet(i, 60)], []), false);
      t.is(queue.dequeue(world.pool, pkts, 4), 1);
      t.deepEqual(world.take(pkts[0]!), packet(i, 60));
      mock.collect();
      const base = queue.base();
      if (!packed) t.is(base, (65534 + i + 1) & 0xffff);
      else t.is(base >>> 16, base & 0xffff);
      Object.assign(mock, { spec: { ...mock.spec, base } });
      queue = mock.open();
      t.is(queue.base(), base);
    }
  });

  test(`${kind}: counters by size and by kind of destination`, (t) => {
    const world = new World(32);
    t.teardown(() => world.destroy());
    const mock = ring(world, packed, 16, {});
    const queue = mock.open();
    const lengths = [60, 64, 65, 127, 128, 1518, 1519];
    lengths.forEach((length, i) => {
      const bytes = packet(0, length);
      bytes.fill(i === 0 ? 0xff : i === 1 ? 1 : 2, 0, 6);
      mock.add(scatter(world, [...header(12), ...bytes], i % 2 ? [12] : []), false);
    });
    const pkts = new Uint32Array(16);
    t.is(queue.dequeue(world.pool, pkts, 16), lengths.length);
    world.pool.freeBulk(pkts, 0, lengths.length);
    t.is(queue.stats[PACKETS], 7);
    t.is(
      queue.stats[BYTES],
      lengths.reduce((a, b) => a + b),
    );
    t.deepEqual([...queue.stats.slice(SIZE_BINS, SIZE_BINS + 8)], [1, 1, 2, 1, 0, 0, 1, 1]);
    t.is(queue.stats[BROADCAST], 1);
    t.is(queue.stats[MULTICAST], 1);
  });

  test(`${kind}: the guest is told not to kick, and is notified as it asks for`, (t) => {
    const world = new World(32);
    const callFd = createEventFd();
    t.teardown(() => {
      closeFd(callFd);
      world.destroy();
    });
    const pkts = new Uint32Array(16);
    const run = (mock: MockRing, queue: ReturnType<MockRing['open']>, n: number) => {
      for (let i = 0; i < n; i++) mock.add(scatter(world, [...header(12), ...packet(i, 60)], []), false);
      const count = queue.dequeue(world.pool, pkts, 16);
      world.pool.freeBulk(pkts, 0, count);
      mock.collect();
      return drainFd(callFd);
    };
    const set = (mock: MockRing, suppress: boolean, event: number) => {
      if (mock instanceof MockPacked) mock.setDriverEvent(event, suppress ? 1 : mock.spec.eventIdx ? 2 : 0);
      else if (mock instanceof MockSplit && mock.spec.eventIdx) mock.setUsedEvent(event);
      else if (mock instanceof MockSplit) mock.setAvailFlags(suppress ? 1 : 0);
    };
    const plain = ring(world, packed, 8, { callFd });
    const queue = plain.open();
    if (plain instanceof MockPacked) t.is(plain.deviceFlags(), 1);
    else if (plain instanceof MockSplit) t.is(plain.usedFlags(), 1);
    set(plain, false, 0);
    t.true(run(plain, queue, 2));
    set(plain, true, 0);
    t.false(run(plain, queue, 2));
    t.is(queue.stats[KICKS], 1);
    t.is(queue.stats[KICKS_SUPPRESSED], 1);
    queue.setCallFd(-1);
    set(plain, false, 0);
    t.false(run(plain, queue, 1));

    const event = ring(world, packed, 8, { callFd, eventIdx: true });
    const other = event.open();
    if (event instanceof MockSplit) t.is(event.usedFlags(), 0, 'must be 0 with EVENT_IDX');
    set(event, false, packed ? 0x8003 : 3);
    t.false(run(event, other, 3), 'entries 0 to 2');
    t.true(run(event, other, 2), 'entries 3 and 4');
    t.false(run(event, other, 2), 'the event is behind');
    set(event, false, packed ? 1 : 9); // packed: position 1 of the next lap, as 8 descriptors make a lap
    t.false(run(event, other, 1), 'entry 7');
    t.true(run(event, other, 3), 'entries 8 to 10');
  });
}
