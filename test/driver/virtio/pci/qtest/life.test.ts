/** What happens to a port on QEMU's device in the course of its life: stops, resets, links, announcements, and its end. */
import { virtqueues } from '../../../../support/virtio-port.js';
import { readCapabilities } from '../../../../../driver/virtio/pci/capabilities.js';
import type { Bar } from '../../../../../driver/virtio/pci/function.js';
import { QtestMachine } from '../../../../../driver/virtio/pci/qtest/machine.js';
import { signalFd } from '../../../../../native/event.js';
import { viewsOf } from '../../../../../native/region.js';
import { layoutOf } from '../../../../../paths/guest/queue.js';
import { sleep } from '../../../../support/peers.js';
import {
  frame,
  macOf,
  pingPong,
  receiveFrames,
  sendFrame,
  startMachine,
  startPort,
  stream,
} from '../../../support/qtest.js';
import { soon } from '../../../../support/wire.js';
import { lacks, needs } from '../../../../support/needs.js';

const test = needs(lacks('qemu-system-x86_64'));

const RARP = [0x80, 0x35];

for (const device of ['', 'packed=on', 'disable-legacy=off,disable-modern=on']) {
  test.serial(
    `port stop and start ten times, reset and configured anew: frames go on (${device || 'split'})`,
    async (t) => {
      const machine = await startMachine(t, { devices: [device] });
      const [wire] = machine.wires;
      const port = await startPort(t, machine);
      for (let i = 0; i < 10; i++) {
        await pingPong(t, port, wire!, [64, 1514]);
        port.port.stop();
        wire!.send(frame(100, i)); // into the Rx ring, whose owner does not look
        port.port.start();
        await soon(
          'what came meanwhile',
          () => receiveFrames(port).length,
          (n) => n === 1,
        );
      }
      port.port.stop();
      port.port.reset();
      port.port.start();
      await stream(t, port, wire!, 300);
      port.port.stop();
      port.port.configure({ mempool: port.mempool, rxDesc: 64, txDesc: 64 });
      port.port.start();
      await stream(t, port, wire!, 300);
      port.port.close();
      t.deepEqual(port.eal.leaks(), []);
    },
  );
}

test.serial("the link goes down and up with QEMU's, and the port says so", async (t) => {
  for (const device of ['', 'disable-legacy=off,disable-modern=on']) {
    const machine = await startMachine(t, { devices: [device] });
    const qmp = await machine.qmp();
    const port = await startPort(t, machine);
    const seen: boolean[] = [];
    port.port.on('link', ({ up }) => seen.push(up));
    await qmp.execute('set_link', { name: 'n0', up: false });
    await soon(
      'link down',
      () => seen.length,
      (n) => n === 1,
    );
    t.false(port.port.link.up);
    await qmp.execute('set_link', { name: 'n0', up: true });
    await soon(
      'link up',
      () => seen.length,
      (n) => n === 2,
    );
    t.deepEqual(seen, [false, true]);
    await pingPong(t, port, machine.wires[0]!, [64, 1514]);
  }
});

test.serial('an announcement that QEMU asks for: a RARP packet of ours, and the acknowledgement', async (t) => {
  const machine = await startMachine(t);
  const qmp = await machine.qmp();
  const port = await startPort(t, machine);
  await qmp.execute('announce-self', { initial: 50, max: 50, rounds: 1, step: 0 });
  const mac = macOf(port.port);
  // QEMU sends one of 60 bytes by itself
  const isOurs = (bytes: Uint8Array) =>
    bytes.length === 64 &&
    bytes[12] === RARP[0] &&
    bytes[13] === RARP[1] &&
    mac.every((byte, i) => bytes[6 + i] === byte);
  const packet = await machine.wires[0]!.take('our RARP packet', isOurs);
  t.deepEqual([...packet.subarray(0, 6)], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  t.deepEqual([...packet.subarray(22, 28)], mac);
  t.deepEqual([...packet.subarray(32, 38)], mac);
  // the acknowledged device takes its question back
  const status = statusField(machine.socket, machine.ram);
  await soon('VIRTIO_NET_S_ANNOUNCE taken back', status, (value) => (value & 2) === 0);
  t.is(port.port.stats().oerrors, 0);
});

/** Reads virtio_net_config.status of 04.0 behind the driver's back. */
function statusField(socket: string, ram: string): () => number {
  const machine = QtestMachine.open(socket, ram);
  // as function.test.ts finds it for this device: the first memory window, BAR 4 behind BAR 1
  const config = {
    readConfig: (offset: number, width: 1 | 2 | 4) => {
      machine.write('io', 0xcf8, 4, 0x80002000 + (offset & 0xfc));
      return machine.read('io', 0xcfc + (offset & 3), width);
    },
  };
  const base = config.readConfig(0x20, 4) & ~15;
  const bar: Bar = {
    kind: 'memory',
    byteLength: 0x4000,
    read: () => 0,
    write: () => {},
    doorbell: () => ({ kind: 'none' }),
  };
  const { offset } = readCapabilities({ ...config, bar: () => bar }).modern!.device;
  return () => machine.read('memory', (base >>> 0) + offset + 6, 2);
}

test.serial(
  'device_del while frames go round: the port says once that its device was removed, and closes without a leak',
  async (t) => {
    const machine = await startMachine(t, { machine: 'pc', devices: ['id=nic'] });
    const qmp = await machine.qmp();
    const port = await startPort(t, machine);
    await pingPong(t, port, machine.wires[0]!, [64]);
    let removed = 0;
    port.port.on('removed', () => removed++);
    const sent = (async () => {
      for (let i = 0; removed === 0; i++) {
        machine.wires[0]!.send(frame(64, i));
        await sendFrame(port, frame(64, i)).catch(() => undefined);
        receiveFrames(port);
        await sleep(1);
      }
    })();
    await qmp.execute('device_del', { id: 'nic' });
    QtestMachine.open(machine.socket, machine.ram).write('io', 0xae08, 4, 1 << 4);
    await qmp.event('DEVICE_DELETED');
    await soon(
      'removed',
      () => removed,
      (n) => n === 1,
    );
    await sent;
    t.false(port.port.link.up);
    await sleep(200); // the timer of a port that is gone has nothing to say
    t.is(removed, 1);
    port.port.stop();
    port.port.close();
    t.deepEqual(port.eal.leaks(), []);
  },
);

test.serial('QEMU is killed: the port goes down as with a device that was pulled', async (t) => {
  const machine = await startMachine(t);
  const port = await startPort(t, machine);
  await pingPong(t, port, machine.wires[0]!, [64]);
  const events: string[] = [];
  port.port.on('removed', () => events.push('removed')).on('link', ({ up }) => events.push(up ? 'up' : 'down'));
  machine.qemu.kill();
  await soon(
    'removed',
    () => events,
    (all) => all.includes('removed'),
  );
  t.deepEqual(events.sort(), ['down', 'removed']);
  port.port.close();
  t.deepEqual(port.eal.leaks(), []);
});

test.serial('closed and attached again, by whoever comes next', async (t) => {
  const machine = await startMachine(t, { devices: ['packed=on'] });
  for (const devargs of ['', ',packed_vq=0', ',mrg_rxbuf=0']) {
    const port = await startPort(t, machine, { devargs });
    await pingPong(t, port, machine.wires[0]!, [64, 1514]);
    port.port.close();
    port.eal.close();
  }
});

for (const device of ['', 'disable-legacy=off,disable-modern=off']) {
  test.serial(
    `a ring that makes the device ask for a reset: the port does so, and frames go on (${device || 'modern'})`,
    async (t) => {
      const machine = await startMachine(t, { devices: [device] });
      const port = await startPort(t, machine);
      await pingPong(t, port, machine.wires[0]!, [64]);
      const [spec] = virtqueues(port.port).tx;
      const avail = (spec!.ringOff + layoutOf(spec!).driver) >> 1;
      const { u16 } = viewsOf(spec!.mapping);
      // a descriptor that the ring does not have: QEMU calls that an error of the guest's
      u16[avail + 2 + (u16[avail + 1]! & (spec!.size - 1))] = 0xfff0;
      u16[avail + 1]! += 1;
      if (spec!.doorbell.kind === 'eventfd') signalFd(spec!.doorbell.fd);
      await soon(
        'a reset',
        () => port.lines,
        (lines) => lines.some((line) => line.startsWith('warning') && line.includes('DEVICE_NEEDS_RESET')),
      );
      t.regex(machine.qemu.log, /Guest says index 65520 is available/);
      t.true(port.port.link.up);
      await stream(t, port, machine.wires[0]!, 300);
      port.port.close();
      t.deepEqual(port.eal.leaks(), []);
    },
  );
}
