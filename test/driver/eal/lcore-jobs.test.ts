import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { availableCpus } from '../../../native/cpu.js';
import { VirtioPmdError } from '../../../native/errors.js';
import { Lcores } from '../../../driver/eal/lcore.js';

const jobs = new URL('../../support/lcore-jobs.js', import.meta.url);
const cpu = availableCpus()[0]!;
const lastCpu = availableCpus().at(-1)!;

/** Main lcore 0 and workers 1 and 2. One set for most tests: a worker takes its time to start from source. */
const makeLcores = () =>
  new Lcores(
    new Map([
      [0, [cpu]],
      [1, [lastCpu]],
      [2, [cpu, lastCpu]],
    ]),
    0,
  );
const made = makeLcores();
test.afterEach.always(() => {
  made.stop();
  made.wait(undefined, 20_000);
  made.onMessage = undefined;
});
test.after.always(() => made.close());

/** Blocks until the job of lcore `id` is in its function and does not ask `running()` there. */
function awaitDeaf(lcores: Lcores, id: number): void {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline;) {
    try {
      lcores.quiesce(20);
    } catch (error) {
      if (String(error).includes(`lcore ${id} `)) return;
    }
  }
  throw new Error(`lcore ${id} never began`);
}

/** Blocks until word `index` is not `value`. */
function awaitChange(shared: SharedArrayBuffer, index: number, value: number): void {
  const words = new Int32Array(shared);
  while (Atomics.load(words, index) === value) Atomics.wait(words, index, value, 1);
}

const messages = () => {
  const got: unknown[] = [];
  made.onMessage = (_id, message) => got.push(message);
  return got;
};

test.serial('a job is launched, stopped and waited for without the event loop, and its message is there', (t) => {
  const got = messages();
  const shared = new SharedArrayBuffer(4);
  made.launch(1, jobs, 'count', shared);
  t.is(made.state(1), 'running');
  awaitChange(shared, 0, 0);
  made.stop(1);
  made.wait(1, 5000);
  t.is(made.state(1), 'idle');
  t.deepEqual(got, [{ turns: new Int32Array(shared)[0] }]);
});

test.serial('messages come through the event loop too, and an async job is awaited', async (t) => {
  const got = await new Promise((resolve) => {
    made.onMessage = (id, message) => resolve([id, message]);
    made.launch(2, jobs, 'slowly', undefined);
  });
  t.deepEqual(got, [2, 'slept']);
  made.wait(2, 5000);
});

test.serial('a loop of nothing but running() stops', (t) => {
  made.launch(1, jobs, 'spin', undefined);
  made.quiesce(20_000);
  made.stop();
  made.wait(undefined, 5000);
  t.is(made.state(1), 'idle');
});

test.serial('workers run on the CPUs of their lcore and keep their thread between jobs', (t) => {
  const got = messages();
  for (let i = 0; i < 2; i++) {
    made.launch(1, jobs, 'reportCpus', undefined);
    made.launch(2, jobs, 'reportCpus', undefined);
    made.wait(undefined, 20_000);
  }
  t.deepEqual(got.slice(2), got.slice(0, 2));
  t.deepEqual(got.slice(0, 2), [
    { lcoreId: 1, cpus: [lastCpu] },
    { lcoreId: 2, cpus: [...new Set([cpu, lastCpu])] },
  ]);
});

test.serial('a CPU that does not exist fails the job and names itself', (t) => {
  const own = new Lcores(new Map([[0, [0]], [1, [1000]]]), 0); // prettier-ignore
  t.teardown(() => own.close());
  own.launch(1, jobs, 'spin', undefined);
  const error = t.throws(() => own.wait(1, 20_000));
  t.regex(error.message, /lcore 1 cannot start: sched_setaffinity.*CPU 1000/);
});

test.serial('busy, unknown and main lcores cannot be launched on', (t) => {
  made.launch(1, jobs, 'spin', undefined);
  t.throws(() => made.launch(1, jobs, 'spin', undefined), { code: 'ELCORE', message: /lcore 1 is busy/ });
  t.throws(() => made.launch(7, jobs, 'spin', undefined), {
    code: 'ELCORE',
    message: /no lcore 7; worker lcores are 1, 2/,
  });
  t.throws(() => made.launch(0, jobs, 'spin', undefined), { code: 'ELCORE', message: /main lcore/ });
  t.is(made.state(0), 'running');
  made.stop();
  made.wait(undefined, 5000);
});

test.serial("a job's own error comes back with its code, any other as ELCORE; the lcore can be used again", (t) => {
  const fail = (name: string) => {
    made.launch(1, jobs, name, undefined);
    const error = t.throws(() => made.wait(1, 20_000), { instanceOf: VirtioPmdError });
    return [error.code, error.message];
  };
  t.deepEqual(fail('throwOurs'), ['ESOCKET', 'lcore 1, job throwOurs: /tmp/x.sock: nobody listens']);
  t.deepEqual(fail('throwPlain'), ['ELCORE', 'lcore 1, job throwPlain: something broke']);
  t.is(made.state(1), 'idle');
  t.is(fail('throwLong')[0], 'ELCORE');
  t.regex(fail('nothingOfTheKind')[1]!, /exports no function of that name/);
});

test.serial('a failure that nobody has collected is not lost: the next launch throws it', (t) => {
  made.launch(1, jobs, 'throwPlain', undefined);
  while (made.state(1) === 'running');
  t.is(made.state(1), 'failed');
  t.throws(() => made.launch(1, jobs, 'echo', 1), { message: /something broke/ });
  made.launch(1, jobs, 'echo', 1);
  made.wait(1, 5000);
});

test.serial('errors of several lcores are all in the sentence', (t) => {
  made.launch(1, jobs, 'throwPlain', undefined);
  made.launch(2, jobs, 'throwOurs', undefined);
  const error = t.throws(() => made.wait(undefined, 20_000));
  t.regex(error.message, /something broke; lcore 2, job throwOurs/);
});

for (const [name, pattern] of [
  ['exitThread', /lcore 1: the job ended its thread \(process\.exit\(7\)\)/],
  ['rejectElsewhere', /lcore 1, uncaught exception: nobody caught this/],
] as const) {
  test.serial(`${name}: the thread dies, the error says so, and the lcore gets a new thread`, (t) => {
    const got = messages();
    made.launch(1, jobs, name, undefined);
    t.throws(() => made.wait(1, 20_000), { code: 'ELCORE', message: pattern });
    made.launch(1, jobs, 'echo', 'alive');
    made.wait(1, 20_000);
    t.deepEqual(got, ['alive']);
  });
}

test.serial('wait gives up after its time, naming the lcore', (t) => {
  made.launch(2, jobs, 'spin', undefined);
  t.throws(() => made.wait(2, 20), { code: 'ETIMEOUT', message: 'lcore 2 is still busy with its job after 20 ms' });
  made.stop(2);
  made.wait(2, 5000);
});

test.serial('data that cannot be posted is refused and leaves the lcore idle', (t) => {
  t.throws(() => made.launch(1, jobs, 'echo', () => 1), { code: 'ELCORE', message: /cannot be posted/ });
  t.is(made.state(1), 'idle');
});

test.serial('quiesce: after it no job is still in a turn that saw the old state', (t) => {
  const areas = [1, 2].map((id) => {
    const shared = new SharedArrayBuffer(8);
    made.launch(id, jobs, 'useWhileAllowed', shared);
    return { shared, words: new Int32Array(shared) };
  });
  for (let i = 0; i < 50; i++) {
    for (const { words } of areas) Atomics.store(words, 0, 1);
    for (const { shared } of areas) awaitChange(shared, 1, 0);
    for (const { words } of areas) Atomics.store(words, 0, 0);
    made.quiesce(20_000);
    for (const { words } of areas) t.is(Atomics.load(words, 1), 0);
  }
  made.stop();
  made.wait(undefined, 5000);
});

test.serial('quiesce names the lcore whose loop does not ask, and passes idle, failed and ended ones', (t) => {
  made.quiesce();
  const shared = new SharedArrayBuffer(4);
  made.launch(1, jobs, 'throwPlain', undefined);
  while (made.state(1) === 'running');
  made.quiesce();
  made.launch(2, jobs, 'echo', undefined);
  made.wait(2, 20_000);
  made.launch(2, jobs, 'deaf', shared);
  // a job that has not begun holds nothing, so ask until it has
  awaitDeaf(made, 2);
  t.throws(() => made.quiesce(20), {
    code: 'ELCORE',
    message: /^lcore 2 has not ended a turn of its loop for 20 ms/,
  });
  Atomics.store(new Int32Array(shared), 0, 1);
  Atomics.notify(new Int32Array(shared), 0);
  made.wait(2, 5000);
  t.throws(() => made.wait(1, 5000), { message: /something broke/ });
});

test.serial('close stops what runs; a job that does not stop is named and its thread ended', (t) => {
  const own = makeLcores();
  own.launch(1, jobs, 'spin', undefined);
  own.launch(2, jobs, 'deaf', new SharedArrayBuffer(4));
  awaitDeaf(own, 2);
  t.throws(() => own.close(300), { code: 'ELCORE', message: /^lcore 2: the job did not return within 300 ms/ });
  t.throws(() => own.launch(1, jobs, 'spin', undefined), { code: 'ESTATE' });
  own.close();
});

test.serial('close does not wait for a job that has not begun, and it never begins', async (t) => {
  const own = makeLcores();
  const shared = new SharedArrayBuffer(4);
  own.launch(1, jobs, 'count', shared);
  own.close(0);
  await new Promise((resolve) => setTimeout(resolve, 1000));
  t.is(new Int32Array(shared)[0], 0);
});

const program = fileURLToPath(new URL('./support/lcore-program.ts', import.meta.url));
for (const [mode, out] of [
  ['idle', 'ready\n'],
  ['running', 'ready\nslept\n'],
  ['exit', 'ready\n'],
  ['again', 'ready\nslept\nslept\n'],
] as const) {
  const titles = {
    idle: 'an idle lcore does not keep the process alive',
    running: 'a running job does',
    again: 'a job launched right behind another does',
    exit: 'process.exit ends the process while a job spins',
  };
  test.serial(titles[mode], (t) => {
    const result = spawnSync(process.execPath, ['--import', './tools/ts.mjs', program, mode], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    t.is(result.stdout, out);
    t.is(result.stderr, '');
    t.is(result.status, 0);
  });
}
