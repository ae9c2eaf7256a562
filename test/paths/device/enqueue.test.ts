import test from 'ava';
import fc from 'fast-check';
import { DROP_TOO_LONG, PACKETS } from '../../../paths/stats.js';
import {
  MockPacked,
  MockSplit,
  packet,
  World,
  type Buffer,
  type MockRing,
  type RingOptions,
} from './support/mock-driver.js';

const ring = (world: World, packed: boolean, size: number, options: RingOptions): MockRing =>
  packed ? new MockPacked(world, size, options) : new MockSplit(world, size, options);

/** The guest's memory of what it posted, by id, and reassembly of packets as a driver does it. */
class Receiver {
  readonly posted = new Map<number, Buffer[]>();
  private readonly order: number[] = [];

  constructor(
    readonly world: World,
    readonly mock: MockRing,
  ) {}

  post(lengths: readonly number[], indirect: boolean, direct: number, alignment: number): void {
    const buffers = lengths.map((length) => ({ address: this.world.alloc(length, alignment), length }));
    for (const { address, length } of buffers) this.world.write(address, new Uint8Array(length).fill(0xee));
    const id = this.mock.add(buffers, true, indirect, direct);
    if (id < 0) return;
    this.posted.set(id, buffers);
    this.order.push(id);
  }

  /** Packets that have arrived. Buffers that came back unused throw. */
  collect(): number[][] {
    const { hdrSize, mergeable } = this.mock.spec;
    const packets: number[][] = [];
    const used = this.mock.collect();
    for (let i = 0; i < used.length;) {
      let bytes: number[] = [];
      let buffers = 1;
      for (let k = 0; k < buffers; k++) {
        const { id, length } = used[i++]!;
        if (id !== this.order.shift()) throw new Error('buffers are not used in order');
        const pieces = this.posted.get(id)!;
        this.posted.delete(id);
        const room = pieces.reduce((sum, piece) => sum + piece.length, 0);
        const data = pieces.flatMap((piece) => this.world.read(piece.address, piece.length));
        if (length === 0 || length > room) throw new Error(`length ${length} of ${room}`);
        if (data.slice(length).some((byte) => byte !== 0xee)) throw new Error('written behind the used length');
        bytes = bytes.concat(data.slice(0, length));
        if (k === 0 && hdrSize > 10) buffers = data[10]! | (data[11]! << 8);
        if (k === 0 && bytes.slice(0, 10).some((byte) => byte !== 0)) throw new Error('header');
        if (k < buffers - 1 && length !== room) throw new Error('only the last buffer may stay partly empty');
        if (k === 0 && (buffers === 0 || (!mergeable && buffers !== 1))) throw new Error(`num_buffers ${buffers}`);
      }
      packets.push(bytes.slice(hdrSize));
    }
    return packets;
  }
}

const post = fc.record({
  op: fc.constant('post' as const),
  lengths: fc.array(fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 64, max: 2100 })), {
    minLength: 1,
    maxLength: 5,
  }),
  indirect: fc.boolean(),
  direct: fc.integer({ min: 0, max: 2 }),
  alignment: fc.constantFrom(1, 2, 4, 64),
  times: fc.integer({ min: 1, max: 12 }),
});
const send = fc.record({
  op: fc.constant('send' as const),
  lengths: fc.array(fc.oneof(fc.integer({ min: 60, max: 300 }), fc.integer({ min: 60, max: 9728 })), {
    minLength: 1,
    maxLength: 20,
  }),
  room: fc.constantFrom(100, 1000, 2048),
});
const settings = fc.record({
  hdrSize: fc.constantFrom(10, 12, 20),
  mergeable: fc.boolean(),
  steps: fc.array(fc.oneof(post, post, send, fc.record({ op: fc.constant('collect' as const) })), { maxLength: 40 }),
  start: fc.nat(65535),
});

for (const packed of [false, true]) {
  const kind = packed ? 'packed' : 'split';
  const sizes = packed ? fc.integer({ min: 1, max: 256 }) : fc.integer({ min: 0, max: 8 }).map((n) => 2 ** n);

  test(`${kind}: what the guest receives is what was sent, in order, in buffers used to the brim`, (t) => {
    const world = new World(2048); // 20 packets of 98 segments
    t.teardown(() => world.destroy());
    fc.assert(
      fc.property(settings, sizes, ({ hdrSize, mergeable, steps, start }, size) => {
        if (mergeable && hdrSize === 10) hdrSize = 12;
        const from = packed ? (start % size) | (start & 0x8000) : start;
        const mock = ring(world, packed, size, { hdrSize, mergeable, start: from });
        const queue = mock.open();
        const guest = new Receiver(world, mock);
        const sent: number[][] = [];
        let serial = 0;
        const collect = () => {
          for (const bytes of guest.collect()) {
            const expected = sent.shift()!;
            if (global.Buffer.compare(global.Buffer.from(bytes), global.Buffer.from(expected)) !== 0) {
              throw new Error(`${bytes.length} bytes instead of ${expected.length}`);
            }
          }
        };
        for (const action of steps) {
          if (action.op === 'collect') collect();
          else if (action.op === 'post') {
            for (let i = 0; i < action.times; i++) {
              const lengths = action.lengths.reduce((a, b) => a + b) < hdrSize ? [64] : action.lengths;
              if (lengths.length > size) continue;
              guest.post(
                lengths,
                action.indirect,
                packed ? 0 : Math.min(action.direct, lengths.length - 1),
                action.alignment,
              );
            }
          } else {
            const packets = action.lengths.map((length) => packet(serial++, length));
            const pkts = Uint32Array.from(packets.map((bytes) => world.mbuf(bytes, action.room)));
            const dropped = queue.stats[DROP_TOO_LONG]!;
            const before = queue.stats[PACKETS]!;
            const taken = queue.enqueue(world.pool, pkts, pkts.length);
            const lost = queue.stats[DROP_TOO_LONG]! - dropped;
            if (queue.stats[PACKETS]! - before !== taken - lost) throw new Error('counters');
            // which ones were dropped shows in what arrives: only the lengths that fit nowhere may be missing
            if (lost === 0) sent.push(...packets.slice(0, taken));
            else {
              const arrived = guestPackets(guest, sent, collect);
              let at = 0;
              for (const bytes of packets.slice(0, taken)) {
                if (at < arrived.length && same(arrived[at]!, bytes)) at++;
              }
              if (at !== arrived.length || arrived.length !== taken - lost) throw new Error('drops');
            }
            world.pool.freeBulk(pkts, 0, pkts.length);
          }
        }
        collect();
        if (sent.length > 0) throw new Error(`${sent.length} packets never arrived`);
        if (queue.broken !== undefined) throw new Error(queue.broken);
        if (world.pool.inUse() !== 0) throw new Error('leak');
      }),
      { numRuns: 250 },
    );
    t.pass();
  });

  test(`${kind}: a packet waits, untouched, until there are enough mergeable buffers`, (t) => {
    const world = new World(16, 9800);
    t.teardown(() => world.destroy());
    const mock = ring(world, packed, 8, { mergeable: true });
    const queue = mock.open();
    const guest = new Receiver(world, mock);
    const bytes = packet(3, 1000);
    const pkts = Uint32Array.of(world.mbuf(bytes, 9728));
    t.is(queue.enqueue(world.pool, pkts, 1), 0);
    for (let i = 0; i < 3; i++) {
      guest.post([256], i % 2 === 0, 0, 1);
      t.is(queue.enqueue(world.pool, pkts, 1), 0);
      t.deepEqual(guest.collect(), []);
    }
    guest.post([256], false, 0, 1);
    t.is(queue.enqueue(world.pool, pkts, 1), 1);
    t.deepEqual(guest.collect(), [bytes]);
    world.pool.freeBulk(pkts, 0, 1);
  });

  test(`${kind}: a packet for which the whole ring is too small is dropped, not waited for`, (t) => {
    const world = new World(16, 9800);
    t.teardown(() => world.destroy());
    for (const mergeable of [false, true]) {
      const mock = ring(world, packed, 4, { mergeable });
      const queue = mock.open();
      const guest = new Receiver(world, mock);
      for (let i = 0; i < 4; i++) guest.post([200], false, 0, 1);
      const small = packet(1, 100);
      const pkts = Uint32Array.of(world.mbuf(packet(0, 5000), 9728), world.mbuf(small));
      t.is(queue.enqueue(world.pool, pkts, 2), 2);
      t.is(queue.stats[DROP_TOO_LONG], 1);
      t.deepEqual(guest.collect(), [small]);
      world.pool.freeBulk(pkts, 0, 2);
    }
    t.is(world.pool.inUse(), 0);
  });

  test(`${kind}: header and packet go into buffers across adjacent regions`, (t) => {
    const world = new World(16);
    t.teardown(() => world.destroy());
    const mock = ring(world, packed, 4, { mergeable: true });
    const queue = mock.open();
    const bytes = packet(5, 200);
    const pkts = Uint32Array.of(world.mbuf(bytes));
    for (let cut = 1; cut < 212; cut += 7) {
      const address = world.memory.slices[1]!.guestAddr - cut;
      mock.add([{ address, length: 212 }], true);
      t.is(queue.enqueue(world.pool, pkts, 1), 1);
      t.deepEqual(mock.collect()[0]!.length, 212);
      t.deepEqual(world.read(address, 212), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, ...bytes]);
    }
  });
}

const same = (a: readonly number[], b: readonly number[]) =>
  global.Buffer.compare(global.Buffer.from(a), global.Buffer.from(b)) === 0;

/** What has arrived beyond the packets that are already expected. */
function guestPackets(guest: Receiver, sent: number[][], collect: () => void): number[][] {
  const arrived = guest.collect();
  while (sent.length > 0) if (!same(arrived.shift() ?? [], sent.shift()!)) throw new Error('order');
  collect();
  return arrived;
}
