/** Interrupts of Rx queues on QEMU's device, by way of MSI-X: vector i + 1 for queue i, and when there is none. */
import test from 'ava';
import { drainFd } from '../native/event.js';
import { sleep } from './support/peers.js';
import { awaitFrames, frame, requireQemu, startMachine, startPort, wantInterrupts } from './support/qtest.js';
import { soon } from './support/wire.js';

for (const device of [
  'event_idx=off',
  'event_idx=off,packed=on',
  'event_idx=off,disable-legacy=off,disable-modern=on',
]) {
  test.serial(`a frame signals the eventfd of its Rx queue, if that is wanted (${device})`, async (t) => {
    if (!requireQemu(t)) return;
    const machine = await startMachine(t, { devices: [device] });
    const [wire] = machine.wires;
    const port = await startPort(t, machine, { rxInterrupts: 1 });
    const fd = port.transport!.rxInterruptFd!(0)!;
    const [spec] = port.port.spec().rx;
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

test.serial('a device with fewer vectors than Rx queues says how many it needs', async (t) => {
  if (!requireQemu(t)) return;
  const machine = await startMachine(t, { devices: ['vectors=1', 'vectors=0'] });
  await t.throwsAsync(startPort(t, machine, { rxInterrupts: 1 }), {
    code: 'ECONFIG',
    message: /1 MSI-X vectors, 2 are needed/,
  });
  // the function went with the port that could not be made
  const one = await startPort(t, machine);
  t.true(one.port.link.up);
  const none = await machine.open(',addr=05.0');
  t.is(none.vectors, 0);
  none.setVectors([]);
  t.throws(() => none.setVectors([1]), { code: 'ECONFIG', message: /has 0 MSI-X vectors, 1 are wanted/ });
});
