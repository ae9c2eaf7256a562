/** When an lcore of l3fwd-power polls, lingers, pauses and sleeps. */
import test from 'ava';
import fc from 'fast-check';
import {
  allEmptyFor,
  countEmptyPolls,
  idleHint,
  lcoreHint,
  MIN_ZERO_POLL_COUNT,
  MINIMUM_SLEEP_TIME,
  SUSPEND_THRESHOLD,
} from '../../../tools/l3fwd-power/heuristics.js';

const count = fc.oneof(fc.integer({ min: 0, max: 400 }), fc.integer({ min: 0, max: 0xffffffff }));
const counts = fc.array(count, { minLength: 1, maxLength: 16 });

test("the sample's numbers: nothing up to 10 empty polls, 1 us below 300, 300 us from there on", (t) => {
  t.deepEqual([0, 1, 9, 10].map(idleHint), [0, 0, 0, 0]);
  t.deepEqual([11, 12, 298, 299].map(idleHint), [1, 1, 1, 1]);
  t.deepEqual([300, 301, 0xffffffff].map(idleHint), [300, 300, 300]);
  t.deepEqual([MIN_ZERO_POLL_COUNT, MINIMUM_SLEEP_TIME, SUSPEND_THRESHOLD], [10, 1, 300]);
});

test('an lcore sleeps when each of its queues was empty 300 times, and not before', (t) => {
  fc.assert(
    fc.property(counts, (polls) => {
      const sleeps = lcoreHint(polls) >= SUSPEND_THRESHOLD;
      return sleeps === polls.every((n) => n >= 300) && lcoreHint(polls) === Math.min(...polls.map(idleHint));
    }),
  );
  t.pass();
});

test('one queue with packets keeps the whole lcore polling', (t) => {
  fc.assert(
    fc.property(counts, fc.nat(15), fc.integer({ min: 1, max: 32 }), (polls, which, received) => {
      const busy = polls.map((n, i) => countEmptyPolls(n, i === which % polls.length ? received : 0));
      return lcoreHint(busy) === 0 && !allEmptyFor(busy, 0);
    }),
  );
  t.pass();
});

test('empty polls are counted in a row, and stop at what 32 bits hold', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(2), { maxLength: 600 }), (bursts) => {
      const counted = bursts.reduce(countEmptyPolls, 0);
      const lastPackets = bursts.findLastIndex((n) => n > 0);
      return counted === bursts.length - 1 - lastPackets;
    }),
  );
  const words = Uint32Array.of(0xfffffffe);
  for (let i = 0; i < 3; i++) words[0] = countEmptyPolls(words[0]!, 0);
  t.is(words[0], 0xffffffff);
});

test('a pause begins after more than --max-empty-polls empty polls of every queue', (t) => {
  t.false(allEmptyFor([512], 512));
  t.true(allEmptyFor([513], 512));
  t.false(allEmptyFor([513, 512], 512));
  fc.assert(fc.property(counts, count, (polls, most) => allEmptyFor(polls, most) === polls.every((n) => n > most)));
});
