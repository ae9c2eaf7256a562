/** Lcores asleep until packets come: whoever wants them wakes them. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../driver/eal/eal.js';
import { MISSED, PACKETS, READY, SLEEPS, TURNS, WAKEUPS, type SleeperData } from './support/rx-interrupt-jobs.js';
import { JOBS, sleepBench, sleepEal, type SleepBench } from './support/rx-interrupt-bench.js';
import { soon } from '../../support/wire.js';

const openFds = () => readdirSync('/proc/self/fd').length;
const fdsBefore = openFds();
const eal = sleepEal();
test.after.always(() => eal.close());
const SLEEPER = 2;
const DORMOUSE = new URL('./support/lcore-sleep-job.js', import.meta.url);

/** The state of an lcore's thread, as the kernel sees it: S for asleep. */
function threadState(lcoreId: number): string {
  for (const id of readdirSync('/proc/self/task')) {
    const stat = readFileSync(`/proc/self/task/${id}/stat`, 'utf8');
    if (stat.includes(`(lcore-worker-${lcoreId})`)) return stat.slice(stat.lastIndexOf(')') + 2)[0]!;
  }
  return 'none';
}

interface Sleeper {
  readonly words: Int32Array;
  /** Waits until it sleeps, in a turn of its own. */
  asleep(): Promise<void>;
  /** Waits until it has received as many packets in all. */
  received(packets: number): Promise<void>;
}

/** Launches a job that sleeps for ever, for packets of the port or for nothing. It has to have slept when it ends. */
function launchSleeper(t: ExecutionContext, lcores: Eal['lcores'], b?: SleepBench): Sleeper {
  const shared = new SharedArrayBuffer(64);
  const words = new Int32Array(shared);
  if (b === undefined) lcores.launch(SLEEPER, DORMOUSE, 'dormouse', shared);
  else lcores.launch(SLEEPER, JOBS, 'sleeper', { shared, port: b.port.spec(), mempool: b.mempool } satisfies SleeperData); // prettier-ignore
  t.teardown(() => {
    lcores.stop(SLEEPER);
    lcores.wait(SLEEPER, 20_000);
  });
  return {
    words,
    asleep: async () => {
      // between two bursts it may wait for a moment, too, for memory or another thread: not five times in a row
      for (let calm = 0, turn = -1; calm < 5; await sleep(1)) {
        const same = words[TURNS] === turn && turn > 0;
        calm = same && threadState(SLEEPER) === 'S' ? calm + 1 : 0;
        turn = words[TURNS]!;
        t.is(lcores.state(SLEEPER), 'running');
      }
    },
    received: async (packets) => {
      await soon(`${packets} packets`, () => Atomics.load(words, PACKETS), (n) => n === packets); // prettier-ignore
    },
  };
}

test.serial('asleep on no queue at all: stop wakes it', async (t) => {
  const sleeper = launchSleeper(t, eal.lcores);
  await sleeper.asleep();
  eal.lcores.stop(SLEEPER);
  eal.lcores.wait(SLEEPER, 20_000);
  t.is(eal.lcores.state(SLEEPER), 'idle');
  t.is(sleeper.words[SLEEPS], 1);
  t.is(sleeper.words[TURNS], 1);
});

test.serial('a stop from before the sleep counts, and a wake that nobody asked for is one turn more', async (t) => {
  for (let i = 0; i < 20; i++) {
    const { words } = launchSleeper(t, eal.lcores);
    if (i % 2 === 0) await soon('its first turn', () => Atomics.load(words, TURNS), Boolean);
    eal.lcores.stop(SLEEPER);
    eal.lcores.wait(SLEEPER, 20_000);
    t.true(words[SLEEPS]! <= 2);
  }
  const { words, asleep } = launchSleeper(t, eal.lcores);
  await asleep();
  const turns = words[TURNS]!;
  eal.lcores.wake();
  await soon('a turn', () => words[TURNS], (n) => n === turns + 1); // prettier-ignore
  await asleep();
  eal.lcores.quiesce(20_000);
});

test.serial('port stop, packets, start, over and over while asleep: packets wake it each time', async (t) => {
  const b = await sleepBench(t, eal);
  const sleeper = launchSleeper(t, eal.lcores, b);
  for (let i = 0; i < 10; i++) {
    await sleeper.asleep();
    b.port.stop();
    if (i % 2 === 0) await sleeper.asleep();
    if (i % 3 === 0) b.send(0, 1); // the device has buffers: it is there before the start
    b.port.start();
    await sleeper.asleep();
    b.send(0, i % 3 === 0 ? 1 : 2);
    await sleeper.received(2 * (i + 1));
  }
  t.is(sleeper.words[MISSED], 0);
  t.true(sleeper.words[WAKEUPS]! >= 10);
});

for (const ring of ['packed_vq=0', 'packed_vq=1,event_idx=1']) {
  test.serial(
    `the back-end ends and comes back while the lcore is asleep: packets wake it again (${ring})`,
    async (t) => {
      const b = await sleepBench(t, eal, `,${ring}`);
      const sleeper = launchSleeper(t, eal.lcores, b);
      for (let round = 1; round <= 2; round++) {
        await sleeper.asleep();
        b.send(0, 5);
        await sleeper.received(10 * round - 5);
        b.stopSource();
        await soon('the loss', () => b.port.link.up, (up) => !up); // prettier-ignore
        await sleeper.asleep();
        b.startSource();
        await soon('the back-end has the device', () => b.port.link.up && Atomics.load(b.words, READY) === 1, Boolean);
        await sleeper.asleep();
        b.send(0, 5, 1000);
        await sleeper.received(10 * round);
      }
      t.is(sleeper.words[MISSED], 0);
    },
  );
}

test.serial('process.exit of the main thread ends the process while a lcore is asleep', (t) => {
  const program = fileURLToPath(new URL('./support/lcore-sleep-program.ts', import.meta.url));
  const result = spawnSync(process.execPath, ['--import', './tools/ts.mjs', program], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  t.is(result.stderr, '');
  t.is(result.stdout, 'turns: 1\n');
  t.is(result.status, 3);
});

test.serial('a hundred Eals leave no descriptor behind', (t) => {
  const lcores = new Map([0, 1, 2, 3].map((id) => [id, [0]] as const));
  const make = () => createEal({ noHuge: true, memoryMiB: 16, lcores: new Map(lcores), log: () => undefined, pinMain: false }); // prettier-ignore
  make().close();
  const before = openFds();
  for (let i = 0; i < 100; i++) {
    const one = make();
    t.true(openFds() > before, 'each lcore has its eventfd');
    one.close();
    one.close();
  }
  t.is(openFds(), before);
});

test.serial(
  'port.stop, port.close and eal.close, each while the lcore is asleep: they return, and no descriptor is left',
  async (t) => {
    const b = await sleepBench(t, eal);
    const sleeper = launchSleeper(t, eal.lcores, b);
    await sleeper.asleep();
    b.port.stop();
    await sleeper.asleep();
    b.port.close();
    await sleeper.asleep();
    t.is(eal.lcores.state(SLEEPER), 'running');
    eal.close();
    t.true(sleeper.words[SLEEPS]! >= 3);
    t.is(sleeper.words[PACKETS], 0);
    await soon(`no more than ${fdsBefore} descriptors`, openFds, (n) => n <= fdsBefore);
  },
);
