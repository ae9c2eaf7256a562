/** How an lcore of l3fwd-power counts its work, and what is shown of it. */
import test from 'ava';
import fc from 'fast-check';
import type { RxInterrupts } from '../../../driver/eal/rx-interrupt.js';
import { createRegion, destroyRegion } from '../../../native/region.js';
import type { RxPath, TxPath } from '../../../paths/guest/queue.js';
import { createMempool, Mempool } from '../../../paths/mempool.js';
import { sleepUntilInterrupt } from '../../../tools/l3fwd-power/idle.js';
import {
  BUSY_MS,
  BUSY_SINCE,
  createLcoreCounters,
  EMPTY_POLLS,
  FULL_POLLS,
  MISSED,
  POLLS,
  portBlock,
  readLcoreCounters,
  SLEEPS,
  SPURIOUS,
  STARTED_AT,
  TX_DROPPED,
  TX_PACKETS,
  WAKEUPS,
  type LcoreCounts,
} from '../../../tools/l3fwd-power/lcore-counters.js';
import { BURST, Router } from '../../../tools/l3fwd-power/router.js';
import { busyPercent, statisticsText, telemetryLine, type LcoreWork } from '../../../tools/l3fwd-power/statistics.js';

const counts: LcoreCounts = {
  ...{ polls: 1000, emptyPolls: 900, fullPolls: 40, sleeps: 3, wakeups: 2, spurious: 1, missed: 0 },
  ...{ busyMs: 250, elapsedMs: 1000 },
};
const forward = { ipv4: 10, ipv6: 5, noRoute: 2, ttl: 1, malformed: 2, local: 3, arp: 4, vlan: 5, other: 6 };
const work: LcoreWork = { lcoreId: 1, counts, ports: [{ portId: 0, forward, sent: 14, noRoom: 1 }] };

const cells = (line: string) => line.trim().split(/\s\s+/);

test('the tables: a row for each lcore, and one for each of its ports', (t) => {
  const lines = statisticsText([work, { ...work, lcoreId: 2 }]).split('\n');
  t.deepEqual(cells(lines[1]!), 'lcore,polls,empty,full,sleeps,wake-ups,spurious,missed,busy %'.split(','));
  t.deepEqual(cells(lines[3]!), ['1', '1000', '900', '40', '3', '2', '1', '0', '25.0']);
  t.is(cells(lines[4]!)[0], '2');
  const head = cells(lines[6]!);
  const row = cells(lines[8]!);
  t.deepEqual(head.slice(0, 3), ['lcore', 'port', 'received']);
  t.deepEqual(head.slice(-2), ['sent', 'no room']);
  t.deepEqual(row, ['1', '0', '36', '10', '5', '2', '1', '2', '3', '4', '5', '6', '14', '1']);
  t.is(row.length, head.length);
  t.is(lines.length, 11);
});

test("telemetry: one line of JSON with the sample's sums, busy since the line before", (t) => {
  const later = { ...work, counts: { ...counts, polls: 3000, busyMs: 750, elapsedMs: 2000 } };
  const other = { ...work, lcoreId: 2, counts: { ...counts, busyMs: 0 } };
  const line = telemetryLine([later, other], [work]);
  t.false(line.includes('\n'));
  t.deepEqual(JSON.parse(line), {
    '/l3fwd_power/stats': { empty_poll: 1800, full_poll: 80, busy_percent: 25 },
    lcores: [
      { lcore: 1, polls: 3000, emptyPolls: 900, fullPolls: 40, sleeps: 3, wakeups: 2, spurious: 1, missed: 0, busy: 50 },
      { lcore: 2, polls: 1000, emptyPolls: 900, fullPolls: 40, sleeps: 3, wakeups: 2, spurious: 1, missed: 0, busy: 0 },
    ],
  }); // prettier-ignore
});

test('busy: a share of the time between two looks, never below 0 or above 100', (t) => {
  const at = (busyMs: number, elapsedMs: number) => ({ ...counts, busyMs, elapsedMs });
  t.is(busyPercent(at(0, 0)), 0);
  t.is(busyPercent(at(30, 100)), 30);
  t.is(busyPercent(at(40, 200), at(30, 100)), 10);
  t.is(busyPercent(at(40, 100), at(40, 100)), 0);
  t.is(busyPercent(at(120, 100)), 100);
  t.is(busyPercent(at(20, 200), at(30, 100)), 0);
});

test('counters: each word has its name, and a busy time that goes on counts up to now', (t) => {
  const words = new Float64Array(createLcoreCounters(2));
  t.is(words.length, portBlock(2));
  const idle = readLcoreCounters(words, 5000);
  t.deepEqual(Object.values(idle).map(Number), Array(9).fill(0));
  [POLLS, EMPTY_POLLS, FULL_POLLS, SLEEPS, WAKEUPS, SPURIOUS, MISSED].forEach((word, i) => (words[word] = i + 1));
  words[BUSY_MS] = 100;
  words[STARTED_AT] = 4000;
  const named = { polls: 1, emptyPolls: 2, fullPolls: 3, sleeps: 4, wakeups: 5, spurious: 6, missed: 7 };
  t.deepEqual(readLcoreCounters(words, 5000), { ...named, busyMs: 100, elapsedMs: 1000 });
  words[BUSY_SINCE] = 4900;
  t.deepEqual(readLcoreCounters(words, 5000), { ...named, busyMs: 200, elapsedMs: 1000 });
});

const mapping = createRegion('l3fwd', 512 * 2176, false);
const poolOptions = { name: 'l3fwd', mapping, base: 0, count: 512, headroom: 128, dataRoom: 2048, cacheSize: 8 };
const pool = new Mempool(createMempool({ ...poolOptions, deviceAddress: BigInt }), 0);
test.after.always(() => destroyRegion(mapping));

/** A queue of port `portId` that gives bursts of these lengths, one after the other. */
function rxOf(portId: number, bursts: readonly number[]): RxPath {
  let turn = 0;
  const recv = (pkts: Uint32Array) => {
    const n = bursts[turn++] ?? 0;
    for (let i = 0; i < n; i++) pkts[i] = pool.get();
    return n;
  };
  return { spec: { portId, queueId: 0 }, recv } as unknown as RxPath;
}

/** A queue with room for so many packets in each burst; what it takes is freed, as if it was sent. */
function txOf(portId: number, room: number): TxPath {
  const xmit = (pkts: Uint32Array, n: number) => {
    const sent = Math.min(n, room);
    pool.freeBulk(pkts, 0, sent);
    return sent;
  };
  return { spec: { portId } as TxPath['spec'], xmit } as unknown as TxPath;
}

test('every packet is sent, dropped by the router, or without room: counted once, and freed', (t) => {
  const burst = fc.oneof(fc.constant(0), fc.constant(BURST), fc.nat(BURST));
  const property = fc.property(
    fc.array(fc.tuple(burst, burst), { maxLength: 20 }),
    fc.array(fc.constantFrom(-1, 0, 7), { minLength: 1, maxLength: 50 }),
    fc.tuple(fc.nat(40), fc.nat(40)),
    (turns, outs, rooms) => {
      const counters = new Float64Array(createLcoreCounters(2));
      const rx = [rxOf(0, turns.map(([n]) => n)), rxOf(7, turns.map(([, n]) => n))]; // prettier-ignore
      let seen = 0;
      let dropped = 0;
      const forward = () => {
        const out = outs[seen++ % outs.length]!;
        if (out < 0) dropped++;
        return out;
      };
      const router = new Router(rx, [txOf(0, rooms[0]), txOf(7, rooms[1])], pool, forward, counters);
      const received = turns.map(() => router.turn());
      t.deepEqual(received, turns.map(([a, b]) => a + b)); // prettier-ignore
      const bursts = turns.flat();
      t.is(seen, bursts.reduce((sum, n) => sum + n, 0)); // prettier-ignore
      t.is(counters[POLLS], bursts.length);
      t.is(counters[EMPTY_POLLS], bursts.filter((n) => n === 0).length);
      t.is(counters[FULL_POLLS], bursts.filter((n) => n === BURST).length);
      const of = (word: number) => counters[portBlock(0) + word]! + counters[portBlock(1) + word]!;
      t.is(of(TX_PACKETS) + of(TX_DROPPED) + dropped, seen);
      t.is(pool.inUse(), 0);
      // an empty turn ends what was busy
      router.turn();
      t.is(counters[BUSY_SINCE], 0);
    },
  );
  fc.assert(property, { numRuns: 100 });
});

test('a sleep is told and counted once, however often its lcore is wanted meanwhile; then the wake-up, after its packets', (t) => {
  const counters = new Float64Array(createLcoreCounters(1));
  const queue = rxOf(0, [...Array<number>(300).fill(0), 2]);
  const told: string[] = [];
  const router = new Router([queue], [txOf(0, 32)], pool, () => 0, counters);
  const waits: (readonly RxPath[])[] = [[], [], [queue]];
  const wait = () => (told.push('wait'), waits.shift()!);
  const interrupts = { wait, spurious: 3, missed: 1 } as unknown as RxInterrupts;
  const idle = sleepUntilInterrupt(router, [queue], interrupts, counters, {
    asleep: () => told.push('asleep'),
    awake: (queues) => told.push(`awake by ${queues.length} after ${counters[portBlock(0) + TX_PACKETS]} packets`),
  });
  for (let i = 0; i < 299; i++) {
    router.turn();
    idle();
  }
  t.deepEqual(told, [], 'one empty poll more is needed');
  router.turn();
  idle();
  idle();
  idle();
  t.deepEqual(told, ['asleep', 'wait', 'wait', 'wait', 'awake by 1 after 2 packets']);
  t.deepEqual([SLEEPS, WAKEUPS, SPURIOUS, MISSED].map((word) => counters[word]), [1, 1, 3, 1]); // prettier-ignore
  t.is(router.emptyPolls[0], 0);
});
