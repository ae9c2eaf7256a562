/** Sleeping until packets arrive, on a back-end of ours in a thread beside it: no wake-up is lost, and none is for nothing. */
import { readFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { RxInterrupts } from '../../../driver/eal/rx-interrupt.js';
import { createEventFd, drainFd, PollSet, signalFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';
import { c } from '../../../native/libc.js';
import { FREE_COUNT, queueState } from '../../../paths/guest/queue.js';
import { NIL } from '../../../paths/mempool.js';
import { pause, RECEIVED, SIGNALLED, STORM, STORM_PAUSE_US } from './support/rx-interrupt-jobs.js';
import { sleepBench, sleepEal } from './support/rx-interrupt-bench.js';
import { wantInterrupts } from '../support/qtest.js';
import { soon } from '../../support/wire.js';

const eal = sleepEal();
test.after.always(() => eal.close());

/** Does something else in place of poll(2), until the test ends. */
function insteadOfPoll(t: ExecutionContext, poll: (wait: (timeoutMs: number) => number, timeoutMs: number) => number) {
  const { wait } = PollSet.prototype;
  t.teardown(() => void (PollSet.prototype.wait = wait));
  PollSet.prototype.wait = function (timeoutMs) {
    return poll((ms) => wait.call(this, ms), timeoutMs);
  };
}

const RINGS = ['packed_vq=0', 'packed_vq=1', 'packed_vq=0,event_idx=1', 'packed_vq=1,event_idx=1'];

for (const ring of RINGS) {
  test.serial(`a sleeper is woken by one packet, and by nothing when the time is up (${ring})`, async (t) => {
    const b = await sleepBench(t, eal, `,${ring}`);
    const interrupts = new RxInterrupts();
    let asked = 0;
    insteadOfPoll(t, (wait, timeoutMs) => {
      if (asked === interrupts.wakeups && asked < 10) b.send(0, 1, 100 * asked++);
      return wait(timeoutMs);
    });
    for (let i = 0; i < 10; i++) {
      t.deepEqual(interrupts.wait(b.queues, 20_000), b.queues);
      t.deepEqual(b.receive(b.queues[0]!), [i]);
    }
    t.is(interrupts.sleeps, 10);
    t.is(interrupts.wakeups, 10);
    t.deepEqual(interrupts.wait(b.queues, 10), []);
    t.is(interrupts.sleeps, 11);
    t.is(interrupts.missed, 0);
  });

  test.serial(`1000 single packets around the moment of falling asleep: each one is received (${ring})`, async (t) => {
    const b = await sleepBench(t, eal, `,${ring}`);
    const interrupts = new RxInterrupts();
    const received: number[] = [];
    Atomics.store(b.words, STORM, 1000);
    b.send(0, 0);
    for (let random = 1; received.length < 1000;) {
      random = (Math.imul(random, 1664525) + 1013904223) >>> 0;
      pause((random >>> 8) % (3 * STORM_PAUSE_US)); // packets come before, while and after we ask
      const ready = interrupts.wait(b.queues, 20_000);
      if (ready.length === 0) break; // lost
      received.push(...b.receive(b.queues[0]!));
      Atomics.store(b.words, RECEIVED, received.length);
    }
    t.deepEqual(
      received,
      Array.from({ length: 1000 }, (_, i) => i),
    );
    t.is(interrupts.missed, 0);
    t.log(`${interrupts.sleeps} sleeps, ${interrupts.wakeups} wake-ups, ${interrupts.spurious} spurious`);
    t.is(interrupts.wakeups, interrupts.sleeps);
  });
}

for (const [ring, count] of [
  ['packed_vq=0', 4],
  ['packed_vq=1,event_idx=1', 10], // more than the set has room for at first
] as const) {
  test.serial(`of ${count} queues only those with packets are returned (${ring})`, async (t) => {
    const b = await sleepBench(t, eal, `,${ring}`, { rxQueues: count });
    const interrupts = new RxInterrupts();
    let asked = 0;
    insteadOfPoll(t, (wait, timeoutMs) => {
      if (asked === interrupts.wakeups) b.send(asked++, 1);
      return wait(timeoutMs);
    });
    for (let queue = 0; queue < count; queue++) {
      t.deepEqual(interrupts.wait(b.queues, 20_000), [b.queues[queue]]);
      t.deepEqual(b.receive(b.queues[queue]!), [0]);
    }
    t.is(interrupts.wakeups, count);
    b.send(0, 1);
    b.send(count - 1, 2);
    const isThere = (queue: number) => interrupts.enable(b.queues[queue]!);
    await soon('packets on two queues', () => isThere(0) && isThere(count - 1), Boolean);
    const { sleeps } = interrupts;
    t.deepEqual(interrupts.wait(b.queues), [b.queues[0], b.queues[count - 1]]);
    t.deepEqual(interrupts.wait(b.queues.slice(1)), [b.queues[count - 1]]);
    t.is(interrupts.sleeps, sleeps, 'who finds packets does not sleep');
    t.is(interrupts.missed, 0);
  });
}

test.serial('no time at all: a look, and no sleep', async (t) => {
  const b = await sleepBench(t, eal);
  const interrupts = new RxInterrupts();
  t.deepEqual(interrupts.wait(b.queues, 0), []);
  t.deepEqual(interrupts.wait([], 0), []);
  b.send(0, 1);
  await soon('a packet', () => interrupts.wait(b.queues, 0).length, Boolean);
  t.is(interrupts.sleeps, 0);
});

test.serial('a queue of a port that was configured without interrupts', async (t) => {
  const b = await sleepBench(t, eal, '', { rxInterrupts: false });
  const interrupts = new RxInterrupts();
  const message = 'port 0 rx queue 0 has no interrupt: configure the port with rxInterrupts: true';
  t.throws(() => interrupts.wait(b.queues, 0), { code: 'ECONFIG', message });
  t.throws(() => interrupts.enable(b.queues[0]!), { code: 'ECONFIG', message });
  t.throws(() => interrupts.disable(b.queues[0]!), { code: 'ECONFIG', message });
});

test.serial(
  'interrupts without packets: counted, the sleep goes on, and there are no more turns than signals',
  async (t) => {
    const b = await sleepBench(t, eal);
    const interrupts = new RxInterrupts();
    const fd = b.queues[0]!.spec.interruptFd!;
    const { wait } = PollSet.prototype;
    t.teardown(() => void (PollSet.prototype.wait = wait));
    let calls = 0;
    let expired = 0;
    PollSet.prototype.wait = function (timeoutMs) {
      calls++;
      const ready = wait.call(this, timeoutMs);
      if (ready === 0) expired++;
      return ready;
    };
    b.signal(fd, 30);
    t.deepEqual(interrupts.wait(b.queues, 300), []);
    t.is(interrupts.sleeps, 1);
    t.true(interrupts.spurious >= 1);
    t.true(interrupts.spurious <= Atomics.load(b.words, SIGNALLED), `${interrupts.spurious} spurious`);
    t.is(calls, interrupts.spurious + expired);
    t.true(expired <= 2, 'a slice of 250 ms, and what was left');
    await soon('the last signal', () => Atomics.load(b.words, SIGNALLED), (n) => n === 30); // prettier-ignore
    drainFd(fd);
    b.send(0, 1, 5000);
    t.is(interrupts.wait(b.queues, 20_000).length, 1);
    t.deepEqual(b.receive(b.queues[0]!), [0]);
  },
);

test.serial('a device that forgets the interrupt: the packet is found all the same, and counted', async (t) => {
  const b = await sleepBench(t, eal);
  const interrupts = new RxInterrupts();
  insteadOfPoll(t, (wait, timeoutMs) => {
    wantInterrupts(b.queues[0]!.spec, false);
    b.send(0, 1);
    return wait(timeoutMs);
  });
  t.deepEqual(interrupts.wait(b.queues, 20_000), b.queues);
  t.deepEqual([interrupts.sleeps, interrupts.wakeups, interrupts.missed], [1, 0, 1]);
});

test.serial(
  'an interrupt right behind the time-out is none that was forgotten, nor a spurious one later',
  async (t) => {
    const b = await sleepBench(t, eal);
    const interrupts = new RxInterrupts();
    let late = true;
    let asked = 0;
    insteadOfPoll(t, (wait, timeoutMs) => {
      if (late && asked++ === 0) b.send(0, 1);
      const ready = wait(timeoutMs);
      return late ? 0 : ready;
    });
    t.deepEqual(interrupts.wait(b.queues, 20_000), b.queues);
    t.deepEqual([interrupts.sleeps, interrupts.wakeups, interrupts.missed], [1, 1, 0]);
    late = false;
    t.deepEqual(b.receive(b.queues[0]!), [0]);
    t.deepEqual(interrupts.wait(b.queues, 10), []);
    t.is(interrupts.spurious, 0);
  },
);

test.serial('an eventfd that is full: the back-end cannot add to it, and need not', async (t) => {
  const b = await sleepBench(t, eal);
  const interrupts = new RxInterrupts();
  const fd = b.queues[0]!.spec.interruptFd!;
  const most = new BigUint64Array([0xffff_ffff_ffff_fffen]);
  t.is(c.write(fd, new Uint8Array(most.buffer), 8), 8);
  t.false(signalFd(fd), 'it is full');
  interrupts.enable(b.queues[0]!);
  b.send(0, 1);
  await soon('a packet', () => interrupts.enable(b.queues[0]!), Boolean);
  t.deepEqual(b.receive(b.queues[0]!), [0]);
  b.send(0, 1, 5000);
  t.is(interrupts.wait(b.queues, 20_000).length, 1);
  t.deepEqual(b.receive(b.queues[0]!), [1]);
  t.true(interrupts.spurious <= 1, 'one read has emptied it');
  t.is(interrupts.missed, 0);
  t.false(drainFd(fd));
});

test.serial(
  'the pool was empty at the last burst, and mbufs come back while the thread is asleep: the ring gets them',
  async (t) => {
    const b = await sleepBench(t, eal);
    const { pool } = b;
    const interrupts = new RxInterrupts();
    const [rx] = b.queues;
    const held: number[] = [];
    for (let m = pool.get(); m !== NIL; m = pool.get()) held.push(m);
    b.send(0, 65); // the last one finds no room in the ring
    const pkts = new Uint32Array(32);
    while (queueState(rx!.spec).words[FREE_COUNT] !== 64) {
      t.is(interrupts.wait(b.queues, 20_000).length, 1);
      held.push(...pkts.subarray(0, rx!.recv(pkts, 32)));
    }
    const { wait } = PollSet.prototype;
    t.teardown(() => void (PollSet.prototype.wait = wait));
    PollSet.prototype.wait = function (timeoutMs) {
      const ready = wait.call(this, timeoutMs);
      for (const m of held.splice(0)) pool.put(m); // as another lcore might at this moment
      return ready;
    };
    t.deepEqual(interrupts.wait(b.queues, 20_000), b.queues);
    t.deepEqual(b.receive(rx!), [64]);
  },
);

test.serial('a stopped port: its descriptor is left alone, whatever it says', async (t) => {
  const b = await sleepBench(t, eal);
  const interrupts = new RxInterrupts();
  const fd = b.queues[0]!.spec.interruptFd!;
  interrupts.enable(b.queues[0]!);
  b.port.stop();
  drainFd(fd);
  signalFd(fd);
  t.deepEqual(interrupts.wait(b.queues, 20), []);
  t.is(interrupts.spurious, 0);
  t.true(drainFd(fd));
});

test.serial('whoever wants the thread ends its sleep; once for however many signals', (t) => {
  const fd = createEventFd();
  t.teardown(() => closeFd(fd));
  const interrupts = new RxInterrupts(fd);
  signalFd(fd);
  signalFd(fd);
  t.deepEqual(interrupts.wait([]), []);
  t.false(drainFd(fd), 'both are taken');
  t.is(interrupts.sleeps, 1);
  t.is(interrupts.spurious, 0);
  t.deepEqual(interrupts.wait([], 5), []);
  t.is(interrupts.sleeps, 2);
});

test.serial('packets and somebody who wants the thread: it is told of the packets', async (t) => {
  const b = await sleepBench(t, eal);
  const fd = createEventFd();
  t.teardown(() => closeFd(fd));
  const interrupts = new RxInterrupts(fd);
  b.send(0, 1);
  await soon('a packet', () => interrupts.enable(b.queues[0]!), Boolean);
  signalFd(fd);
  t.deepEqual(interrupts.wait(b.queues), b.queues);
  b.receive(b.queues[0]!);
  t.deepEqual(interrupts.wait(b.queues), []);
});

test.serial('asleep, a thread consumes next to no processor time', async (t) => {
  const b = await sleepBench(t, eal);
  const own = '/proc/thread-self/schedstat';
  const consumedMs = () => Number(readFileSync(own, 'utf8').split(' ')[0]) / 1e6;
  const before = consumedMs();
  new RxInterrupts().wait(b.queues, 600);
  t.true(consumedMs() - before < 60, `${consumedMs() - before} ms of 600`);
});
