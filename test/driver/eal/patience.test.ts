/** A thread that waits for a CPU is told from one that hangs. */
import { spawn } from 'node:child_process';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { availableCpus } from '../../../native/cpu.js';
import { isVirtioPmdError } from '../../../native/errors.js';
import { Lcores } from '../../../driver/eal/lcore.js';
import { Patience, type ThreadTimes } from '../../../driver/eal/patience.js';
import { lacks, needs } from '../../support/needs.js';

const tasksetTest = needs(lacks('taskset'));

/** A thread with mock times, on a mock clock. */
function madeUp(timeoutMs: number) {
  const clock = { now: 0 };
  const times: { -readonly [K in keyof ThreadTimes]: ThreadTimes[K] } = { ran: 0, waited: 0, runnable: true };
  const patience = new Patience(
    () => 1,
    timeoutMs,
    () => ({ ...times }),
    () => clock.now,
  );
  return { patience, clock, times };
}

test('a thread that runs all the time has had its time when the time is over', (t) => {
  const { patience, clock, times } = madeUp(1000);
  for (; clock.now < 1000; clock.now = times.ran += 100) t.is(patience.left(), 1000 - clock.now);
  patience.left(); // the first look: it may be that it waits
  clock.now = times.ran += 100;
  t.true(patience.left() <= 0);
  t.false(patience.starved);
});

test('a thread that sleeps has had its time, too', (t) => {
  const { patience, clock, times } = madeUp(1000);
  times.runnable = false;
  clock.now = 1000;
  t.true(patience.left() <= 0);
});

test('a thread that is gone is not waited for', (t) => {
  const clock = { now: 0 };
  const patience = new Patience(
    () => 0,
    1000,
    () => undefined,
    () => clock.now,
  );
  t.is(patience.left(), 1000);
  clock.now = 1000;
  t.true(patience.left() <= 0);
});

test('one long wait for a CPU, which the kernel counts only when it is over', (t) => {
  const { patience, clock, times } = madeUp(1000);
  for (clock.now = 1000; clock.now < 20_000; clock.now += 100) t.true(patience.left() > 0, `${clock.now} ms`);
  times.waited = clock.now;
  t.is(patience.left(), 1000);
});

test('no end of patience: it ends a minute late, and blames the machine', (t) => {
  const { patience, clock } = madeUp(1000);
  clock.now = 60_999;
  t.true(patience.left() > 0);
  clock.now = 61_000;
  t.true(patience.left() <= 0);
  t.true(patience.starved);
  t.regex(patience.account, /had a CPU for 0 ms of 61000, the machine is too busy: give it a CPU/);
});

test('without a limit, nothing is looked at', (t) => {
  const patience = new Patience(
    () => t.fail() as never,
    Infinity,
    () => t.fail() as never,
  );
  t.is(patience.left(), Infinity);
});

test('whatever a thread gets: it is given up when what it got, and slept, is the timeout, give or take two looks', (t) => {
  const turn = fc.record({ what: fc.constantFrom('ran', 'waited', 'slept'), ms: fc.integer({ min: 1, max: 300 }) });
  fc.assert(
    fc.property(fc.array(turn, { minLength: 50, maxLength: 400 }), (turns) => {
      const { patience, clock, times } = madeUp(2000);
      let own = 0;
      for (const { what, ms } of turns) {
        clock.now += ms;
        if (what !== 'slept') times[what as 'ran' | 'waited'] += ms;
        if (what !== 'waited') own += ms;
        times.runnable = what !== 'slept';
        if (patience.left() > 0) {
          if (own >= 2600) return false;
        } else return patience.starved || own >= 2000;
      }
      return true;
    }),
  );
  t.pass();
});

// a real one, among processes that take its CPU

const cpu = availableCpus().at(-1)!;
const jobs = new URL('../../support/lcore-jobs.js', import.meta.url);

function crowd(t: ExecutionContext, count: number): void {
  const children = Array.from({ length: count }, () =>
    spawn('taskset', ['-c', String(cpu), process.execPath, '-e', 'for (;;);'], { stdio: 'ignore' }),
  );
  t.teardown(() => children.forEach((child) => child.kill('SIGKILL')));
}

tasksetTest.serial(
  'an lcore that needs 0.3 s of CPU to stop, on a CPU with six others: wait and close are patient',
  (t) => {
    const lcores = new Lcores(
      new Map([
        [0, availableCpus()],
        [1, [cpu]],
      ]),
      0,
    );
    const shared = new SharedArrayBuffer(8);
    const words = new Int32Array(shared);
    lcores.launch(1, jobs, 'stopAfterWork', { shared, cpuMs: 300 });
    while (Atomics.load(words, 0) === 0) Atomics.wait(words, 0, 0, 100);
    crowd(t, 6);
    Atomics.wait(words, 1, 0, 2000); // until they are there
    const begin = performance.now();
    lcores.close(400);
    t.log(`${Math.round(performance.now() - begin)} ms`);
    t.is(Atomics.load(words, 1), 1, 'the job has ended by itself');
  },
);

tasksetTest.serial('one that hangs is given up there too', (t) => {
  const lcores = new Lcores(
    new Map([
      [0, availableCpus()],
      [1, [cpu]],
    ]),
    0,
  );
  const shared = new SharedArrayBuffer(8);
  const words = new Int32Array(shared);
  lcores.launch(1, jobs, 'stopAfterWork', { shared, cpuMs: Infinity });
  while (Atomics.load(words, 0) === 0) Atomics.wait(words, 0, 0, 100);
  crowd(t, 4);
  lcores.stop(1);
  const late = t.throws(() => lcores.wait(1, 200));
  t.true(isVirtioPmdError(late, 'ETIMEOUT'));
  const error = t.throws(() => lcores.close(200));
  t.true(isVirtioPmdError(error, 'ELCORE'));
  t.regex(error!.message, /^lcore 1: the job did not return within 200 ms of being stopped: it must call/);
});
