/** A guest that breaks every rule. Nothing throws, hangs or leaks, and what we touch lies inside the memory regions. */
import test, { type ExecutionContext } from 'ava';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { GuestMemory } from '../../../paths/device/guest-memory.js';
import { openDeviceQueue } from './support/device-queue.js';

import type { TestQueue } from './support/device-queue.js';
import { DROP_RUNT, DROP_SEGMENTS, DROP_TOO_LONG, ERRORS, PACKETS } from '../../../paths/stats.js';
import type { FlipperData } from './support/flipper.js';
import {
  GUEST_BASE,
  INDIRECT,
  MockPacked,
  MockSplit,
  NEXT,
  packet,
  scatter,
  World,
  WRITE,
  type Buffer,
  type MockRing,
  type RingOptions,
} from './support/mock-driver.js';

const frame = [...new Array<number>(12).fill(0), ...packet(1, 60)];
const pkts = new Uint32Array(64);
const END = GUEST_BASE + (4 << 20);
const kinds = [false, true];
const nameOf = (packed: boolean) => (packed ? 'packed' : 'split');

function setUp(t: ExecutionContext, packed: boolean, size: number, options: RingOptions): [World, MockRing] {
  const world = new World(64);
  t.teardown(() => world.destroy());
  return [world, packed ? new MockPacked(world, size, options) : new MockSplit(world, size, options)];
}

/** One call in the ring's direction; gives all mbufs back. @returns packets. */
function poll(world: World, queue: TestQueue): number {
  if (queue.spec.index % 2 === 1) {
    const count = queue.dequeue(world.pool, pkts, 32);
    world.pool.freeBulk(pkts, 0, count);
    return count;
  }
  pkts[0] = world.mbuf(packet(2, 60));
  const count = queue.enqueue(world.pool, pkts, 1);
  world.pool.free(pkts[0]!);
  return count;
}

function expectBroken(t: ExecutionContext, world: World, queue: TestQueue, why: RegExp): void {
  t.is(poll(world, queue), 0);
  t.regex(queue.broken ?? 'not broken', why);
  t.false(queue.hasWork());
  t.is(poll(world, queue), 0, 'for ever');
  t.is(world.pool.inUse(), 0);
}

for (const index of [0, 1]) {
  const direction = index === 0 ? 'Rx' : 'Tx';

  for (const [what, jump] of [
    ['jumps ahead', 9],
    ['moves back', -1],
  ] as const) {
    test(`split ${direction}: avail idx ${what}`, (t) => {
      const [world, ring] = setUp(t, false, 8, { index, start: 100 });
      const queue = ring.open();
      (ring as MockSplit).setAvailIdx(100 + jump);
      expectBroken(t, world, queue, /avail index/);
    });
  }

  test(`split ${direction}: head outside the table`, (t) => {
    const [world, ring] = setUp(t, false, 8, { index });
    const queue = ring.open();
    (ring as MockSplit).offer(8);
    expectBroken(t, world, queue, /no descriptor/);
  });

  test(`split ${direction}: one head twice is served twice`, (t) => {
    const [world, ring] = setUp(t, false, 8, { index });
    const queue = ring.open();
    const id = ring.add(scatter(world, frame, []), index === 0);
    (ring as MockSplit).offer(id);
    t.is(poll(world, queue) + poll(world, queue), 2);
    t.is(queue.broken, undefined);
  });

  test(`split ${direction}: loops, also of empty descriptors`, (t) => {
    for (const length of [0, 1]) {
      const [world, ring] = setUp(t, false, 8, { index });
      const queue = ring.open();
      const flags = NEXT | (index === 0 ? WRITE : 0);
      const at = world.alloc(64);
      ring.add(
        [
          { address: at, length, flags, next: 1 },
          { address: at, length, flags, next: 0 },
        ],
        false,
      );
      expectBroken(t, world, queue, /loop/);
    }
  });

  test(`split ${direction}: next outside the table`, (t) => {
    const [world, ring] = setUp(t, false, 8, { index });
    const queue = ring.open();
    const flags = NEXT | (index === 0 ? WRITE : 0);
    ring.add([{ address: world.alloc(64), length: 4, flags, next: 8 }], false);
    expectBroken(t, world, queue, /outside the table/);
  });

  for (const packed of kinds) {
    const name = `${nameOf(packed)} ${direction}`;
    const write = index === 0;
    const open = (t: ExecutionContext, size = 8, options: RingOptions = {}) => {
      const [world, ring] = setUp(t, packed, size, { index, ...options });
      return { world, ring, queue: ring.open() };
    };
    /** Dropped or returned unused, with the ring alive: the next good buffer is served. */
    const expectDropped = (t: ExecutionContext, buffers: readonly Buffer[], reason: number, indirect = false) => {
      const { world, ring, queue } = open(t);
      ring.add(buffers, write, indirect);
      t.is(poll(world, queue), 0);
      t.is(queue.broken, undefined);
      t.is(queue.stats[reason], 1);
      t.is(queue.stats[ERRORS], 1);
      t.deepEqual(
        ring.collect().map((used) => used.length),
        [0],
      );
      ring.add(scatter(world, frame, []), write);
      t.is(poll(world, queue), 1);
      t.is(world.pool.inUse(), 0);
    };

    test(`${name}: a chain that is longer than the ring through its indirect table`, (t) => {
      const { world, ring, queue } = open(t, 4);
      ring.add(scatter(world, frame, [1, 1, 1, 1]), write, true);
      expectBroken(t, world, queue, /indirect table is|longer than the ring/);
    });

    test(`${name}: empty descriptors, with any address`, (t) => {
      expectDropped(t, [{ address: 0, length: 0 }], write ? DROP_SEGMENTS : DROP_RUNT);
      expectDropped(
        t,
        [
          { address: 2 ** 63, length: 0 },
          { address: 1, length: 0 },
        ],
        write ? DROP_SEGMENTS : DROP_RUNT,
      );
      const { world, ring, queue } = open(t);
      const [all] = scatter(world, frame, []);
      ring.add([{ address: 2 ** 63, length: 0 }, all!, { address: 5, length: 0 }], write);
      t.is(poll(world, queue), 1);
    });

    for (const [what, buffer] of [
      ['unmapped', { address: 0x1000, length: 100 }],
      ['leaving the region', { address: END - 50, length: 100 }],
      ['before the region', { address: GUEST_BASE - 1, length: 100 }],
      ['wrapping around 2^64', { address: 2 ** 64 - 2048, length: 4096 }],
      ['2^32 - 1 bytes', { address: GUEST_BASE, length: 2 ** 32 - 1 }],
    ] as const) {
      test(`${name}: an address range that is ${what}`, (t) => {
        expectDropped(t, [buffer], DROP_SEGMENTS);
        expectDropped(t, [buffer], DROP_SEGMENTS, true);
      });
    }

    for (const [what, buffer, why] of [
      ['of length 0', { length: 0 }, /length of an indirect table/],
      ['of 24 bytes', { length: 24 }, /length of an indirect table/],
      ['too long', { length: 9 * 16 }, /length of an indirect table/],
      ['unmapped', { address: 0x1000 }, /outside the memory/],
      ['leaving the region', { address: END - 16 }, /outside the memory/],
      ['combined with NEXT', { flags: INDIRECT | NEXT }, /both/],
    ] as const) {
      test(`${name}: an indirect table ${what}`, (t) => {
        const { world, ring, queue } = open(t);
        ring.add([{ ...{ address: world.alloc(64, 16), length: 32, flags: INDIRECT }, ...buffer }], write);
        expectBroken(t, world, queue, why);
      });
    }

    test(`${name}: a nested table, one that was not negotiated, and a next out of it`, (t) => {
      const nested = open(t);
      nested.ring.add([{ address: nested.world.alloc(64, 16), length: 16, flags: INDIRECT }], write, true);
      expectBroken(t, nested.world, nested.queue, /holds an indirect/);
      const refused = open(t, 8, { indirect: false });
      refused.ring.add(scatter(refused.world, frame, [12]), write, true);
      expectBroken(t, refused.world, refused.queue, /not negotiated/);
      if (packed) return;
      const next = open(t);
      const flags = NEXT | (write ? WRITE : 0);
      next.ring.add([{ address: next.world.alloc(64), length: 4, flags, next: 1 }], write, true);
      expectBroken(t, next.world, next.queue, /outside the table/);
    });

    test(`${name}: a table at an odd address, and one across two regions, work`, (t) => {
      const { world, ring, queue } = open(t);
      const boundary = world.memory.slices[1]!.guestAddr;
      for (const at of [world.alloc(64, 16) + 1, boundary - 16, boundary - 7]) {
        const direct = { write: write ? WRITE : 0 };
        scatter(world, frame, [20]).forEach(({ address, length }, i) => {
          const bytes = new Uint8Array(16);
          const view = new DataView(bytes.buffer);
          view.setBigUint64(0, BigInt(address), true);
          view.setUint32(8, length, true);
          view.setUint16(packed ? 14 : 12, direct.write | (i === 0 && !packed ? NEXT : 0), true);
          view.setUint16(packed ? 12 : 14, i === 0 ? 1 : 0, true);
          world.write(at + i * 16, bytes);
        });
        ring.add([{ address: at, length: 32, flags: INDIRECT }], write);
        t.is(poll(world, queue), 1);
        ring.collect();
      }
      t.is(queue.broken, undefined);
    });

    test(`${name}: buffers of the wrong direction`, (t) => {
      const wrong = write ? 0 : WRITE;
      const at = GUEST_BASE + (2 << 20);
      expectDropped(t, [{ address: at, length: 100, flags: wrong }], DROP_SEGMENTS);
      expectDropped(t, [{ address: at, length: 100, flags: wrong }], DROP_SEGMENTS, !packed);
      const mixed = { address: at, length: 100, flags: wrong };
      expectDropped(t, [{ address: at, length: 100 }, mixed], DROP_SEGMENTS);
    });

    test(`${name}: a header of twelve one-byte descriptors`, (t) => {
      for (const indirect of [false, true]) {
        const { world, ring, queue } = open(t, 16);
        ring.add(scatter(world, frame, new Array<number>(12).fill(1)), write, indirect);
        t.is(poll(world, queue), 1);
      }
    });

    test(`${name}: chains of 0 to 25 bytes`, (t) => {
      for (let length = 1; length < 26; length++) {
        if (!write) expectDropped(t, [{ address: GUEST_BASE + (2 << 20), length }], DROP_RUNT);
        else if (length < 12) expectDropped(t, [{ address: GUEST_BASE + (2 << 20), length }], DROP_SEGMENTS);
      }
      t.pass();
    });

    test(`${name}: memory that changes at random never breaks out, throws or leaks`, (t) => {
      const world = new World(128, 512);
      t.teardown(() => world.destroy());
      const { u8, u16, u32 } = world.views;
      const size = packed ? 7 : 8;
      const word = fc.oneof(
        fc.nat(15),
        fc.nat(0xffff),
        fc.constantFrom(0x80, 0x8000, 0x8080, 0x81, 0x82, 0x8001, 0x84),
      );
      const poke = fc.tuple(fc.nat(size * 8 + 40), word);
      const poke2 = fc.tuple(fc.nat(2100), word);
      fc.assert(
        fc.property(fc.array(fc.oneof(poke, poke2), { maxLength: 60 }), fc.boolean(), (pokes, mergeable) => {
          const ring = packed
            ? new MockPacked(world, size, { index, mergeable })
            : new MockSplit(world, size, { index, mergeable });
          for (let i = 0; i < 3; i++) ring.add(scatter(world, frame, [12]), write, i === 1);
          const queue = ring.open();
          for (const [at, value] of pokes) {
            u16[at] = value;
            // keep some addresses plausible, so that walks get far
            if (value % 3 === 0) {
              const d = (value % size) * 4;
              u32[d] = (2 << 20) + value;
              u32[d + 1] = 1;
              u32[d + 2] = value & 0xff;
            }
            const count = poll(world, queue);
            if (count < 0 || count > 32) throw new Error(`${count}`);
            if (world.pool.inUse() !== 0) throw new Error('leak');
          }
        }),
        { numRuns: 400 },
      );
      u8.fill(0, 0, 8192);
      t.pass();
    });
  }
}

test('Rx mergeable: a buffer without room for a header spoils those gathered with it, and nothing else', (t) => {
  for (const packed of kinds) {
    const [world, ring] = setUp(t, packed, 8, { mergeable: true });
    const queue = ring.open();
    const post = (length: number) => ring.add([{ address: world.alloc(length), length }], true);
    [40, 5, 40, 40, 40].forEach(post);
    t.is(poll(world, queue), 1);
    t.deepEqual(
      ring.collect().map((used) => used.length),
      [0, 0, 40, 32],
    );
    t.is(queue.stats[DROP_SEGMENTS], 1);
    t.is(queue.stats[PACKETS], 1);
  }
});

test('notification words full of garbage cost nothing but notifications', (t) => {
  for (const eventIdx of kinds) {
    for (let word = 0; word < 65536; word += 4999) {
      const [world, split] = setUp(t, false, 8, { index: 1, eventIdx, callFd: -1 });
      const queue = split.open();
      (split as MockSplit).setAvailFlags(word);
      (split as MockSplit).setUsedEvent(word);
      split.add(scatter(world, frame, []), false);
      t.is(poll(world, queue), 1);
      const packed = new MockPacked(world, 8, { index: 1, eventIdx });
      packed.setDriverEvent(word, word);
      const other = packed.open();
      packed.add(scatter(world, frame, []), false);
      t.is(poll(world, other), 1);
    }
  }
});

test('packed: a ring full of NEXT ends, an id out of range is only echoed', (t) => {
  for (const index of [0, 1]) {
    const [world, ring] = setUp(t, true, 5, { index });
    const queue = ring.open();
    const flags = NEXT | (index === 0 ? WRITE : 0);
    for (let i = 0; i < 5; i++) ring.add([{ address: world.alloc(64), length: 4, flags: flags | 0x80 }], false);
    expectBroken(t, world, queue, /loop/);

    const [other, echo] = setUp(t, true, 5, { index });
    const second = echo.open();
    const [buffer] = scatter(other, frame, []);
    echo.add([{ ...buffer!, next: 0xfff0 }], index === 0);
    t.is(poll(other, second), 1);
    t.is(other.views.u16[6], 0xfff0);
    t.is(second.broken, undefined);
  }
});

test('split: descriptors before a table count too', (t) => {
  const [world, ring] = setUp(t, false, 4, { index: 1 });
  const queue = ring.open();
  ring.add(scatter(world, frame, [1, 1, 1, 1]), false, true, 2);
  expectBroken(t, world, queue, /longer than the ring/);
});

test('packed: a list that runs over a buffer used in the same burst', (t) => {
  for (const index of [0, 1]) {
    const [world, ring] = setUp(t, true, 4, { index, mergeable: true });
    const queue = ring.open();
    const flags = NEXT | 0x80 | (index === 0 ? WRITE : 0);
    ring.add(scatter(world, frame, []), index === 0);
    for (let i = 0; i < 3; i++) ring.add([{ address: world.alloc(64), length: 4, flags }], false);
    const two = Uint32Array.of(world.mbuf(packet(2, 60)), world.mbuf(packet(3, 60)));
    const count = index === 0 ? queue.enqueue(world.pool, two, 2) : queue.dequeue(world.pool, pkts, 32);
    t.is(count, 1);
    t.regex(queue.broken ?? '', /longer than the ring/);
    if (index === 1) world.pool.freeBulk(pkts, 0, count);
    world.pool.freeBulk(two, 0, 2);
    t.is(world.pool.inUse(), 0);
  }
});

test('packed: a list that crosses the end of the ring', (t) => {
  const [world, ring] = setUp(t, true, 5, { index: 1, start: 0x8003 });
  const queue = ring.open();
  ring.add(scatter(world, frame, [12, 20, 20]), false);
  t.is(poll(world, queue), 1);
  t.is(queue.base() & 0xffff, 2);
});

test('packed: a bad buffer among good ones is dropped alone', (t) => {
  const [world, ring] = setUp(t, true, 8, { index: 1 });
  const queue = ring.open();
  const good = scatter(world, frame, []);
  ring.add(good, false);
  ring.add([{ address: 1, length: 70 }], false);
  ring.add(good, false);
  ring.add(good, false);
  t.is(poll(world, queue), 3);
  t.is(ring.collect().length, 4);
});

test('Tx: a frame of more than 65550 bytes is dropped, one of 65550 is not', (t) => {
  for (const packed of kinds) {
    for (const [length, count] of [
      [65550, 1],
      [65551, 0],
    ] as const) {
      const [world, ring] = setUp(t, packed, 8, { index: 1 });
      const queue = ring.open();
      ring.add([{ address: GUEST_BASE + (2 << 20), length: length + 12 }], false);
      t.is(poll(world, queue), count);
      t.is(queue.stats[DROP_TOO_LONG], 1 - count);
    }
  }
});

test('Rx: a guest whose buffers are the rings damages only itself', (t) => {
  for (const packed of kinds) {
    const [world, ring] = setUp(t, packed, 8, {});
    const queue = ring.open();
    ring.add([{ address: GUEST_BASE, length: 8192 }], true);
    t.is(poll(world, queue), 1);
    for (let i = 0; i < 20; i++) poll(world, queue);
    const [other, used] = setUp(t, packed, 8, {});
    const second = used.open();
    for (let i = 0; i < 20; i++) {
      const id = used.add([{ address: other.alloc(100), length: 100 }], true);
      if (!packed) other.views.u16.fill(0xffff, 2048, 2048 + 40); // the used ring, idx included
      if (id >= 0) t.is(poll(other, second), 1);
      if (!packed) break;
      used.collect();
    }
    t.is(world.pool.inUse() + other.pool.inUse(), 0);
  }
});

for (const packed of kinds) {
  for (const index of [0, 1]) {
    test(`${nameOf(packed)} ${index === 0 ? 'Rx' : 'Tx'}: a thread rewrites ring and table while we work`, async (t) => {
      const [world, ring] = setUp(t, packed, 8, { index, mergeable: true });
      const canary = world.views.u8.fill(0x5a, (4 << 20) - 4096);
      // the last page is mapped, but not the guest's
      const regions = world.regions.map((region, i) => (i === 0 ? { ...region, size: region.size - 4096 } : region));
      const memory = new GuestMemory(regions);
      const table = scatter(world, frame, [12, 5]);
      for (let i = 0; i < 4; i++) ring.add(table, index === 0, i % 2 === 0);
      const stop = new Int32Array(new SharedArrayBuffer(4));
      const { address, byteLength } = world.guest;
      const tables = [0, 2 << 20];
      const workerData: FlipperData = { address, byteLength, stop, tables };
      const worker = new Worker(new URL('./support/flipper.js', import.meta.url), { workerData });
      const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
      t.teardown(async () => void (await worker.terminate()));
      while (Atomics.load(stop, 0) === 0) await new Promise((resolve) => setImmediate(resolve));
      const avail = packed ? 0 : (world.views.u16[ring.size * 8 + 1]! + 1) & 0xffff;
      let packets = 0;
      for (let i = 0; i < 10_000; i++) {
        if (!packed) {
          world.views.u16[2049] = 0;
          world.views.u16[ring.size * 8 + 1] = avail;
        }
        const queue = openDeviceQueue(ring.spec, memory);
        packets += poll(world, queue);
      }
      Atomics.store(stop, 0, 2);
      await exited;
      t.true(packets > 0);
      t.is(world.pool.inUse(), 0);
      t.true(canary.subarray((4 << 20) - 4096).every((byte) => byte === 0x5a));
    });
  }
}

test('Tx: endless empty descriptors cost a bounded number of steps per call', (t) => {
  const [world, ring] = setUp(t, false, 4096, { index: 1 });
  const queue = ring.open();
  const empty = { address: 0, length: 0 };
  const id = ring.add(new Array<Buffer>(4096).fill(empty), false);
  for (let i = 0; i < 100; i++) (ring as MockSplit).offer(id);
  t.is(poll(world, queue), 0);
  t.is(queue.base(), 8, 'eight chains, cut off after 1024 descriptors each, then the next ring has its turn');
});
