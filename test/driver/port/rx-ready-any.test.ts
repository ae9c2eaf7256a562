/** rxReady on queues that are no virtqueues: it reads their descriptors at each sleep, and wakes when queues come and go. */
import test, { type ExecutionContext } from 'ava';
import { createEal } from '../../../driver/eal/eal.js';
import { RxInterrupts } from '../../../driver/eal/rx-interrupt.js';
import type { PortHost } from '../../../driver/port/device.js';
import { Port } from '../../../driver/port/port.js';
import { loadQueues } from '../../../driver/port/queue.js';
import { createEventFd } from '../../../native/event.js';
import { openFds, until } from '../../support/raw-backend.js';
import { Loop } from './support/loop-device.js';

async function loopPort(t: ExecutionContext) {
  const eal = createEal({ noHuge: true, memoryMiB: 32, pinMain: false, log: () => undefined });
  t.teardown(() => eal.close());
  const mempool = eal.createMempool({ count: 512 });
  let device: Loop;
  const open = (host: PortHost) => (device = new Loop(host, { interrupts: true }));
  const port = new Port({ eal, id: 0, name: 'net_loop0', devargs: 'net_loop0', open, log: () => undefined });
  port.configure({ mempool, rxQueues: 2, rxInterrupts: true });
  await loadQueues(port.spec().rx);
  port.start();
  const pool = eal.mempool(mempool);
  const send = (queue: number) => void port.tx(queue).xmit(Uint32Array.of(pool.get()), 1);
  const receive = (queue: number) => {
    const pkts = new Uint32Array(8);
    const n = port.rx(queue).recv(pkts, 8);
    pool.freeBulk(pkts, 0, n);
    return n;
  };
  const interrupts = new RxInterrupts();
  const iteration = port.rxReady(undefined, { interrupts });
  /** Begins to wait, and resolves when it sleeps. */
  const asleep = async () => {
    const { sleeps } = interrupts;
    const next = iteration.next();
    await until(() => interrupts.sleeps > sleeps, 'it sleeps');
    await new Promise((resolve) => setTimeout(resolve, 20));
    return { next };
  };
  return { eal, mempool, port, device: device!, send, receive, interrupts, iteration, asleep };
}

test.serial('packets end the wait, for the queue that has them', async (t) => {
  const { port, send, receive, interrupts, iteration, asleep } = await loopPort(t);
  for (const queue of [1, 0, 1]) {
    const { next } = await asleep();
    send(queue);
    t.deepEqual((await next).value, [queue]);
    t.is(receive(queue), 1);
  }
  t.deepEqual([interrupts.wakeups, interrupts.spurious, interrupts.missed], [3, 0, 0]);
  await iteration.return();
  port.close();
});

test.serial(
  'a descriptor that goes, and another that comes: the event of the queue ends the sleep on the old one',
  async (t) => {
    const { device, port, send, receive, interrupts, iteration, asleep } = await loopPort(t);
    const told: unknown[] = [];
    port.on('queueState', (...args) => told.push(args));
    const { next } = await asleep();
    device.setFd(0, 0);
    device.host.emit('queueState', 'rx', 0, false);
    await new Promise((resolve) => setTimeout(resolve, 20));
    device.setFd(0, createEventFd());
    device.host.emit('queueState', 'rx', 0, true);
    await new Promise((resolve) => setTimeout(resolve, 20));
    send(0);
    t.deepEqual((await next).value, [0]);
    t.is(receive(0), 1);
    t.deepEqual([interrupts.wakeups, interrupts.spurious, interrupts.missed], [1, 0, 0]);
    t.deepEqual(told, [['rx', 0, false], ['rx', 0, true]]); // prettier-ignore
    await iteration.return();
  },
);

test.serial('stop and start while it waits; then another configuration; then close', async (t) => {
  const { mempool, port, send, receive, interrupts, asleep } = await loopPort(t);
  const { next } = await asleep();
  port.stop();
  port.start();
  send(1);
  t.deepEqual((await next).value, [1]);
  t.is(receive(1), 1);
  const second = await asleep();
  port.stop();
  port.configure({ mempool, rxInterrupts: true });
  port.start();
  send(0);
  t.deepEqual((await second.next).value, [0]);
  t.is(receive(0), 1);
  t.is(interrupts.missed, 0);
  const third = await asleep();
  const fds = openFds();
  port.close();
  t.deepEqual(await third.next, { done: true, value: undefined });
  t.true(openFds() < fds);
});

test.serial('a port that was configured without interrupts', async (t) => {
  const { mempool, port } = await loopPort(t);
  port.stop();
  port.configure({ mempool });
  const message = 'port 0 rx queue 0 has no interrupt: configure the port with rxInterrupts: true';
  await t.throwsAsync(port.rxReady().next(), { code: 'ECONFIG', message });
});
