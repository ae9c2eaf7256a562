/** Sleeping on queues that are no virtqueues: their descriptor may be absent, be another one at each sleep, or stay readable. */
import test, { type ExecutionContext } from 'ava';
import { RxInterrupts } from '../../../driver/eal/rx-interrupt.js';
import type { QueueInterrupt, RxQueue } from '../../../driver/port/queue.js';
import { createEventFd, drainFd, PollSet, POLLIN, pollFd, signalFd } from '../../../native/event.js';
import { closeFd } from '../../../native/region.js';

const SPEC = { portId: 3, queueId: 1, path: 'mock', mempool: undefined as never, module: 'mock:' };

/** A queue as its module makes it. */
class MockQueue implements RxQueue {
  readonly spec = SPEC;
  packets = 0;
  enables = 0;
  disables = 0;
  /** Undefined: the queue has no descriptor now. */
  fd: number | undefined = createEventFd();
  /** The descriptor stays readable while there are packets. */
  level = false;
  readonly interrupt: QueueInterrupt;

  constructor(t: ExecutionContext) {
    // eslint-disable-next-line @typescript-eslint/no-this-alias
    const queue = this;
    this.interrupt = {
      enable: () => {
        queue.enables++;
        return queue.packets > 0;
      },
      disable: () => void queue.disables++,
      get fd() {
        return queue.fd;
      },
      drain: () => {
        if (queue.fd === undefined) return false;
        return queue.level ? (pollFd(queue.fd, POLLIN, 0) & POLLIN) !== 0 : drainFd(queue.fd);
      },
    };
    t.teardown(() => this.fd !== undefined && closeFd(this.fd));
  }

  recv = () => 0;
  fill = () => 0;

  arrive(): void {
    this.packets++;
    if (this.fd !== undefined) signalFd(this.fd);
  }

  receive(): void {
    this.packets = 0;
    if (this.level) drainFd(this.fd!);
  }
}

/** Does something before each poll(2), until the test ends. */
function beforeSleep(t: ExecutionContext, action: (sleep: number) => void): void {
  const { wait } = PollSet.prototype;
  t.teardown(() => void (PollSet.prototype.wait = wait));
  let sleeps = 0;
  PollSet.prototype.wait = function (timeoutMs) {
    action(sleeps++);
    return wait.call(this, timeoutMs);
  };
}

const counts = ({ sleeps, wakeups, spurious, missed }: RxInterrupts) => ({ sleeps, wakeups, spurious, missed });

for (const level of [false, true]) {
  test.serial(`a packet ends the sleep, and no interrupt is left (${level ? 'level' : 'edge'}-triggered)`, (t) => {
    const queue = new MockQueue(t);
    const other = new MockQueue(t);
    queue.level = level;
    const interrupts = new RxInterrupts();
    beforeSleep(t, () => queue.arrive());
    for (let i = 1; i <= 5; i++) {
      t.deepEqual(interrupts.wait([other, queue], 5000), [queue]);
      t.deepEqual(interrupts.wait([other, queue], 5000), [queue], 'what was not received is there at the next look');
      queue.receive();
      t.deepEqual(counts(interrupts), { sleeps: i, wakeups: i, spurious: 0, missed: 0 });
    }
    t.is(queue.disables, 10, 'each wait ends without a request');
    t.deepEqual(interrupts.wait([other, queue], 0), []);
  });
}

test.serial('interrupts without packets: counted, and the sleep goes on', (t) => {
  const queue = new MockQueue(t);
  const interrupts = new RxInterrupts();
  beforeSleep(t, (sleep) => (sleep < 3 ? void signalFd(queue.fd!) : queue.arrive()));
  t.deepEqual(interrupts.wait([queue], 5000), [queue]);
  t.deepEqual(counts(interrupts), { sleeps: 1, wakeups: 1, spurious: 3, missed: 0 });
});

test.serial('an interrupt that was not sent: the packet is found after a while, and counted', (t) => {
  const queue = new MockQueue(t);
  const interrupts = new RxInterrupts();
  beforeSleep(t, () => void queue.packets++);
  t.deepEqual(interrupts.wait([queue], 5000), [queue]);
  t.deepEqual(counts(interrupts), { sleeps: 1, wakeups: 0, spurious: 0, missed: 1 });
});

test.serial('a queue without a descriptor: the thread sleeps all the same, and is woken for the new one', (t) => {
  const queue = new MockQueue(t);
  const wakeFd = createEventFd();
  t.teardown(() => closeFd(wakeFd));
  const interrupts = new RxInterrupts(wakeFd);
  const old = queue.fd!;
  queue.fd = undefined;
  signalFd(old); // its number is not this queue's any more
  t.deepEqual(interrupts.wait([queue], 20), []);
  t.true(drainFd(old), 'nobody has read it');
  beforeSleep(t, (sleep) => {
    if (sleep > 0) return queue.arrive();
    queue.fd = createEventFd();
    signalFd(wakeFd);
  });
  t.deepEqual(interrupts.wait([queue], 5000), [], 'wanted');
  t.deepEqual(interrupts.wait([queue], 5000), [queue]);
  t.deepEqual(counts(interrupts), { sleeps: 3, wakeups: 1, spurious: 0, missed: 0 });
  closeFd(old);
});

test.serial('another descriptor at each turn of a sleep', (t) => {
  const queue = new MockQueue(t);
  const fds = [queue.fd!, createEventFd(), createEventFd()];
  const interrupts = new RxInterrupts();
  beforeSleep(t, (sleep) => {
    if (sleep === 2) queue.packets++;
    signalFd(fds[sleep]!);
  });
  const { drain } = queue.interrupt;
  Object.assign(queue.interrupt, {
    drain: () => {
      const drained = drain();
      queue.fd = fds[fds.indexOf(queue.fd!) + 1] ?? queue.fd;
      return drained;
    },
  });
  t.deepEqual(interrupts.wait([queue], 5000), [queue]);
  t.deepEqual(counts(interrupts), { sleeps: 1, wakeups: 1, spurious: 2, missed: 0 });
  fds.slice(0, 2).forEach(closeFd);
});

test.serial('a queue that stops while the thread is asleep', (t) => {
  const queue = new MockQueue(t);
  const wakeFd = createEventFd();
  t.teardown(() => closeFd(wakeFd));
  const fd = queue.fd!;
  t.teardown(() => closeFd(fd));
  const interrupts = new RxInterrupts(wakeFd);
  beforeSleep(t, () => {
    signalFd(fd);
    queue.fd = undefined;
    signalFd(wakeFd);
  });
  t.deepEqual(interrupts.wait([queue], 5000), []);
  t.deepEqual(counts(interrupts), { sleeps: 1, wakeups: 0, spurious: 0, missed: 0 });
  t.true(drainFd(fd), 'its descriptor was left alone');
});

test('a queue whose module supplies no interrupt', (t) => {
  const interrupts = new RxInterrupts();
  const queue: RxQueue = { spec: SPEC, recv: () => 0, fill: () => 0 };
  const message = 'port 3 rx queue 1 has no interrupt: configure the port with rxInterrupts: true';
  t.throws(() => interrupts.wait([queue]), { code: 'ECONFIG', message });
});
