/**
 * rxReady: the event loop is told of packets, sleeps in between, and misses none; what ends it, what it outlives, what it
 * leaves behind. In one file, for threads take long to start from source: the back-end's is the same for all.
 */
import { virtqueues } from '../../support/virtio-port.js';
import { readdirSync } from 'node:fs';
import test from 'ava';
import { rxReady } from '../../../driver/port/rx-ready.js';
import { RxWaiter } from '../../../driver/port/rx-ready-waiter.js';
import { createEventFd, drainFd, signalFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';
import { BROKEN, BROKEN_INDEX, queueState } from '../../../paths/guest/queue.js';
import { sleep, startPeer } from '../../support/peers.js';
import { openFds, until } from '../../support/raw-backend.js';
import { eal, mempool, startPort, take, waiting } from './support/rx-ready-port.js';

test.after.always(() => eal.close());

for (const [layout, args] of [
  ['split', ',packed_vq=0,event_idx=0'],
  ['split, EVENT_IDX', ',packed_vq=0,event_idx=1'],
  ['packed', ',packed_vq=1,event_idx=0'],
  ['packed, EVENT_IDX', ',packed_vq=1,event_idx=1'],
] as const) {
  test.serial(
    `${layout}: one packet, one turn of the loop; then 200 around the sleep decision, none missed`,
    async (t) => {
      const { port, words } = await startPort(t, args);
      const { iteration, next, interrupts } = await waiting(port);
      const came: number[] = [];
      words.order();
      t.deepEqual((await next).value, [0]);
      came.push(...take(port, 0));
      while (came.length < 50) {
        if (came.length % 4 === 0) await sleep(1); // the next one is ordered before its wait, or during it
        const turn = iteration.next();
        if (came.length % 4 === 1) await sleep(1);
        words.order();
        t.deepEqual((await turn).value, [0]);
        const numbers = take(port, 0);
        t.is(numbers.length, 1);
        came.push(...numbers);
      }
      const sending = (async () => {
        for (let i = 0; i < 200; i++) {
          words.order();
          await (i % 3 === 0 ? sleep(i % 5) : new Promise(setImmediate));
        }
      })();
      for await (const queues of iteration) {
        t.deepEqual(queues, [0]);
        came.push(...take(port, 0, 1 + (came.length % 3)));
        if (came.length === 250) break;
      }
      await sending;
      t.deepEqual(came, [...came.keys()]);
      const { sleeps, wakeups, spurious, missed } = interrupts;
      t.log(`${sleeps} sleeps, ${wakeups} wake-ups, ${spurious} spurious interrupts`);
      t.is(missed, 0);
      t.is(wakeups, sleeps);
    },
  );
}

test.serial('of two queues the one with packets is named, and both when both have some', async (t) => {
  const { port, words } = await startPort(t, ',queues=2', { rxQueues: 2 });
  const iteration = rxReady(port);
  for (const queue of [1, 0, 1]) {
    const next = iteration.next();
    words.order(queue);
    t.deepEqual((await next).value, [queue]);
    t.is(take(port, queue).length, 1);
  }
  words.order(0);
  words.order(1);
  const came = new Set<number>();
  while (came.size < 2) {
    for (const queue of (await iteration.next()).value!) if (take(port, queue).length > 0) came.add(queue);
  }
  await iteration.return();
});

test.serial('queues that nobody asked for do not end the wait, nor do signals without packets', async (t) => {
  const { port, words } = await startPort(t, ',queues=2', { rxQueues: 2 });
  const { iteration, next, interrupts } = await waiting(port, { queues: [1] });
  let named = 0;
  void next.then(() => named++);
  words.order(0);
  for (let signals = 1; signals <= 20; signals++) {
    signalFd(virtqueues(port).rx[1]!.interruptFd!);
    await until(() => interrupts.spurious >= signals, 'the signal is seen');
  }
  t.is(take(port, 0).length, 1);
  t.is(named, 0);
  words.order(1);
  t.deepEqual((await next).value, [1]);
  t.is(take(port, 1).length, 1);
  t.is(interrupts.wakeups, 1);
  await iteration.return();
});

test.serial('packets that were left are announced again, and timers run although there always are some', async (t) => {
  const { port, words } = await startPort(t);
  words.order(0, 100);
  let taken = 0;
  let fired: boolean | undefined;
  for await (const queues of rxReady(port)) {
    t.deepEqual(queues, [0]);
    if (fired === undefined) {
      fired = false;
      setTimeout(() => (fired = true), 5);
    }
    if (fired) taken += take(port, 0, 1).length;
    if (taken === 100) break;
  }
  t.true(fired);
});

test.serial('asleep, it takes next to no CPU time', async (t) => {
  const { port, words } = await startPort(t);
  const { iteration, next } = await waiting(port);
  const [began, before] = [performance.now(), process.cpuUsage()];
  await sleep(1000);
  const { user, system } = process.cpuUsage(before);
  const share = (user + system) / 1000 / (performance.now() - began);
  t.log(`${(100 * share).toFixed(1)} % of a CPU, of driver, back-end and test`);
  t.true(share < 0.25);
  words.order();
  t.deepEqual((await next).value, [0]);
  t.is(take(port, 0).length, 1);
  await iteration.return();
});

// ---- its life ------------------------------------------------------------------------------------------------------------

const threads = () => readdirSync('/proc/self/task').length;

test.serial('break, and an exception in the loop, leave no thread and no descriptor', async (t) => {
  const { port, words } = await startPort(t);
  const [fds, tasks] = [openFds(), threads()];
  for (const how of ['break', 'throw']) {
    const loop = async () => {
      words.order();
      for await (const [queue] of rxReady(port)) {
        if (take(port, queue!).length > 0) words.order();
        if (threads() === tasks) continue; // it has not slept yet
        if (how === 'break') break;
        throw new Error('of the program');
      }
    };
    if (how === 'break') await loop();
    else await t.throwsAsync(loop, { message: 'of the program' });
    t.is(openFds(), fds);
    await until(() => threads() === tasks, 'the thread is gone');
    words.order();
  }
});

test.serial('a signal ends the wait at once, and one that was given before keeps it from beginning', async (t) => {
  const { port } = await startPort(t);
  const fds = openFds();
  const ending = new AbortController();
  const { next } = await waiting(port, { signal: ending.signal });
  ending.abort();
  t.deepEqual(await next, { done: true, value: undefined });
  t.deepEqual(await rxReady(port, [0], { signal: ending.signal }).next(), { done: true, value: undefined });
  t.is(openFds(), fds);
});

test.serial('a port that is closed ends the wait, and whoever gets its descriptors next keeps his', async (t) => {
  const { port } = await startPort(t);
  const { next } = await waiting(port);
  port.close();
  const others = Array.from({ length: 32 }, () => createEventFd());
  others.forEach((fd) => signalFd(fd));
  t.deepEqual(await next, { done: true, value: undefined });
  t.true(others.every((fd) => drainFd(fd)));
  others.forEach((fd) => closeFd(fd));
  await t.throwsAsync(rxReady(port).next(), { code: 'ESTATE', message: /is closed/ });
});

test.serial('stop and start, at once and with a pause, while it waits: packets wake it again', async (t) => {
  const { port, words } = await startPort(t);
  const { iteration, next, interrupts } = await waiting(port);
  port.stop();
  port.start();
  await sleep(5);
  port.stop();
  await sleep(5);
  port.start();
  words.order();
  t.deepEqual((await next).value, [0]);
  t.is(take(port, 0).length, 1);
  t.is(interrupts.missed, 0);
  await iteration.return();
});

for (const args of [',packed_vq=0', ',packed_vq=1']) {
  test.serial(`a back-end that goes and comes back while it waits: packets wake it again (${args})`, async (t) => {
    const { port, words, backend } = await startPort(t, args);
    const { iteration, next, interrupts } = await waiting(port);
    backend.stop();
    await until(() => !port.link.up, 'the loss is seen');
    await backend.start();
    await until(() => port.link.up, 'it is back');
    words.order();
    t.deepEqual((await next).value, [0]);
    t.is(take(port, 0).length, 1);
    t.is(interrupts.missed, 0);
    await iteration.return();
  });
}

test.serial(
  'another configuration while it waits: the new queues count, also those that are more than before',
  async (t) => {
    const { port, words } = await startPort(t, ',queues=2');
    const { iteration, next } = await waiting(port);
    port.stop();
    port.configure({ mempool, rxInterrupts: true, rxQueues: 2 });
    port.start();
    words.order(1);
    t.deepEqual((await next).value, [1]);
    t.is(take(port, 1).length, 1);
    port.stop();
    port.configure({ mempool, rxQueues: 2 });
    await t.throwsAsync(iteration.next(), {
      code: 'ECONFIG',
      message: 'port 0 rx queue 0 has no interrupt: configure the port with rxInterrupts: true',
    });
    await t.throwsAsync(rxReady(port, [2]).next(), { code: 'ECONFIG', message: /no rx queue 2: 2 are configured/ });
  },
);

test.serial('a queue that breaks: its signals keep nobody busy, and after a restart it is served', async (t) => {
  const { port, words } = await startPort(t);
  const { iteration, next, interrupts } = await waiting(port);
  const [spec] = virtqueues(port).rx;
  queueState(spec!).words[BROKEN] = BROKEN_INDEX;
  for (let i = 0; i < 50; i++) {
    signalFd(spec!.interruptFd!);
    await sleep(2);
  }
  t.true(interrupts.spurious <= 1, 'it sleeps on after the first');
  port.stop();
  port.start();
  words.order();
  t.deepEqual((await next).value, [0]);
  t.is(take(port, 0).length, 1);
  await iteration.return();
});

test.serial('a thread that dies is an error of the wait, and the next wait has another', async (t) => {
  const fds = openFds();
  const waiter = new RxWaiter();
  await t.throwsAsync(waiter.wait(5 as never), {
    code: 'ELCORE',
    message: /^the thread that waits for packets died: /,
  });
  t.is(openFds(), fds);
  const next = waiter.wait([]);
  waiter.wake();
  t.false(await next);
  t.true(await waiter.wait([]));
  await waiter.end();
  t.is(openFds(), fds);
});

test.serial('a program that does nothing else stays alive, and process.exit() ends it', async (t) => {
  const { backend } = await startPort(t);
  const program = new URL('./support/rx-ready-program.ts', import.meta.url).pathname;
  const argv = ['--import', './tools/ts.mjs', program, backend.path];
  const child = startPeer(t, 'the program', process.execPath, argv);
  await child.waitFor(/waits/, 60_000);
  t.is(await child.end(), 'exit code 7', child.output);
});
