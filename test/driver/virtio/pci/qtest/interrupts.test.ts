/** Interrupts of Rx queues on QEMU's device, by way of MSI-X: vector i + 1 for queue i, and when there is none. */
import { virtqueues } from '../../../../support/virtio-port.js';
import type { ExecutionContext } from 'ava';
import { RxInterrupts } from '../../../../../driver/eal/rx-interrupt.js';
import { drainFd } from '../../../../../native/event.js';
import { sleep } from '../../../../support/peers.js';
import {
  awaitFrames,
  frame,
  receiveFrames,
  startMachine,
  startPort,
  wantInterrupts,
  type PortRequest,
  type QtestPort,
} from '../../../support/qtest.js';
import { soon, type Wire } from '../../../../support/wire.js';
import { lacks, needs } from '../../../../support/needs.js';

const test = needs(lacks('qemu-system-x86_64'));

const LEGACY = 'disable-legacy=off,disable-modern=on';

for (const device of ['event_idx=off', 'event_idx=off,packed=on', `event_idx=off,${LEGACY}`]) {
  test.serial(`a frame signals the eventfd of its Rx queue, if that is wanted (${device})`, async (t) => {
    const machine = await startMachine(t, { devices: [device] });
    const [wire] = machine.wires;
    const port = await startPort(t, machine, { rxInterrupts: true });
    const [spec] = virtqueues(port.port).rx;
    const fd = spec!.interruptFd!;
    wire!.send(frame(64, 0));
    await awaitFrames(port, 1);
    await sleep(20);
    t.false(drainFd(fd), 'polling is silent');
    wantInterrupts(spec!, true);
    for (let i = 1; i < 5; i++) {
      wire!.send(frame(64, i));
      await soon('interrupt', () => drainFd(fd), Boolean);
      t.is((await awaitFrames(port, 1)).length, 1);
    }
    wantInterrupts(spec!, false);
    wire!.send(frame(64, 9));
    await awaitFrames(port, 1);
    await sleep(20);
    t.false(drainFd(fd));
  });
}

/**
 * Waits for one frame after the other until QEMU has been slower than we were with some of them. The first one is awaited
 * otherwise: the thread that passes interrupts on may still be loading.
 */
async function sleepForFrames(t: ExecutionContext, port: QtestPort, wire: Wire): Promise<void> {
  const interrupts = new RxInterrupts();
  const queues = [port.port.rx(0)];
  interrupts.enable(queues[0]!);
  wire.send(frame(64, 99));
  await soon('the first interrupt', () => drainFd(virtqueues(port.port).rx[0]!.interruptFd!), Boolean);
  t.is((await awaitFrames(port, 1)).length, 1);
  for (let i = 0; i < 5000 && (i < 20 || interrupts.sleeps < 3); i++) {
    const sent = frame(64 + (i & 63), i);
    wire.send(sent);
    t.is(interrupts.wait(queues, 20_000).length, 1);
    t.deepEqual(receiveFrames(port), [sent]);
  }
  t.true(interrupts.sleeps > 0);
  t.is(interrupts.wakeups, interrupts.sleeps);
  t.is(interrupts.missed, 0);
  t.is(interrupts.wait(queues, 1).length, 0, 'and for none in the end');
}

for (const [device, devargs] of [
  ['packed=off', ',event_idx=1'],
  ['packed=on', ',packed_vq=1'],
  ['packed=on', ',packed_vq=1,event_idx=1'],
  [LEGACY, ''],
] as const) {
  test.serial(`a thread that sleeps is woken by each frame (${device}${devargs})`, async (t) => {
    const machine = await startMachine(t, { devices: [device] });
    const port = await startPort(t, machine, { rxInterrupts: true, devargs });
    await sleepForFrames(t, port, machine.wires[0]!);
  });
}

/** Configures the port anew, from stopped to started. */
function reconfigure({ port, mempool }: QtestPort, config: Partial<PortRequest>): void {
  port.stop();
  port.configure({ mempool, ...config });
  port.start();
}

test.serial('a port configured with, without and again with interrupts', async (t) => {
  const machine = await startMachine(t);
  const [wire] = machine.wires;
  const port = await startPort(t, machine, { rxInterrupts: true });
  await sleepForFrames(t, port, wire!);
  reconfigure(port, {});
  t.is(virtqueues(port.port).rx[0]!.interruptFd, undefined);
  t.throws(() => new RxInterrupts().wait([port.port.rx(0)], 0), {
    code: 'ECONFIG',
    message: 'port 0 rx queue 0 has no interrupt: configure the port with rxInterrupts: true',
  });
  wire!.send(frame(64, 1));
  t.is((await awaitFrames(port, 1)).length, 1);
  reconfigure(port, { rxInterrupts: true });
  await sleepForFrames(t, port, wire!);
});

for (const [devices, addr, message] of [
  [['vectors=1'], '', /has 1 MSI-X vectors, 2 are needed \(one for .* each of 1 Rx queues\): .* \(QEMU: vectors=4\)$/],
  [['', 'vectors=0'], ',addr=05.0', /has no MSI-X vectors .*\(Multiple intr vector not supported\): .*vectors=4\)$/],
] as const) {
  test.serial(
    `a device with too few vectors says how many it takes, and goes on without (${devices.join()})`,
    async (t) => {
      const machine = await startMachine(t, { devices });
      const port = await startPort(t, machine, { devargs: addr });
      t.throws(() => reconfigure(port, { rxInterrupts: true }), { code: 'ECONFIG', message });
      reconfigure(port, {});
      machine.wires.at(-1)!.send(frame(64, 3));
      t.deepEqual(await awaitFrames(port, 1), [frame(64, 3)]);
    },
  );
}

test.serial('a function without vectors takes none and refuses one', async (t) => {
  const machine = await startMachine(t, { devices: ['vectors=0'] });
  const none = await machine.open();
  t.is(none.vectors, 0);
  none.setVectors([]);
  t.throws(() => none.setVectors([1]), { code: 'ECONFIG', message: /has 0 MSI-X vectors, 1 are needed/ });
});
