/** What a device does to a port by itself: it asks for a reset, changes its configuration, wants an announcement, goes away. */
import { virtioPort, virtqueues } from '../../support/virtio-port.js';
import test, { type ExecutionContext } from 'ava';
import { rarpPacket } from '../../../driver/virtio/announce.js';
import { pciArgs, pciSchema, parseDevargs } from '../../../driver/devargs/devargs.js';
import { createEal } from '../../../driver/eal/eal.js';
import type { Port } from '../../../driver/port/port.js';
import * as F from '../../../driver/wire/virtio-features.js';
import { queueState, STARTED } from '../../../paths/guest/queue.js';
import { FAKE_OFFER, FakeTransport, type FakeOptions } from '../../support/mock-transport.js';

/** A fake device on a bus that can be pulled, whose configuration can change. */
class PciLike extends FakeTransport {
  override readonly finalLoss = 'was removed: detach the port, and attach it again';
  status16 = 1;
  override readConfig(offset: number, length: number): Uint8Array {
    const config = new Uint8Array(64).fill(0xff);
    new DataView(config.buffer).setUint16(6, this.status16, true);
    return config.slice(offset, offset + length);
  }
}

function pciPort(t: ExecutionContext, options: FakeOptions = {}) {
  const eal = createEal({ noHuge: true, memoryMiB: 32, log: () => undefined, pinMain: false });
  const mempool = eal.createMempool({ count: 1024 });
  const device = new PciLike(options);
  const lines: string[] = [];
  const links: boolean[] = [];
  const args = pciArgs('0000:00:03.0', parseDevargs('', pciSchema, 'test'));
  const log = (level: string, line: string) => void lines.push(`${level} ${line}`);
  const port = virtioPort({ eal, id: 0, devargs: '0000:00:03.0', args, transport: device, log });
  port.on('link', (link) => links.push(link.up));
  t.teardown(() => {
    port.close();
    eal.close();
  });
  port.configure({ mempool });
  return { eal, mempool, device, port, lines, links };
}

const look = (port: Port) => port.link; // reading it looks after the device

test('DEVICE_NEEDS_RESET: reset, set up as before, and packets may flow again', (t) => {
  const { device, port, lines, links, eal, mempool } = pciPort(t);
  port.start();
  const before = device.trace.length;
  device.events.push('needs-reset');
  t.true(look(port).up);
  const trace = device.trace.slice(before);
  t.is(trace[0], 'status 0x0');
  t.true(trace.includes('status 0xf'));
  t.is(trace.at(-1), 'notify 0');
  t.deepEqual(links, [true, false, true]);
  t.true(lines.some((line) => /warning port 0: the device asks for a reset/.test(line)));
  t.is(queueState(virtqueues(port).rx[0]!).words[STARTED], 1);
  t.is(eal.mempool(mempool).inUse(), 256);
});

test('DEVICE_NEEDS_RESET while stopped: the device is set up, no burst gets through', (t) => {
  const { device, port } = pciPort(t);
  device.events.push('needs-reset');
  look(port);
  t.is(device.trace.filter((call) => call.startsWith('status')).at(-1), 'status 0xf');
  t.is(queueState(virtqueues(port).rx[0]!).words[STARTED], 0);
});

test('DEVICE_NEEDS_RESET and the device does not come up again: FAILED is written, the link stays down', (t) => {
  const { device, port, lines } = pciPort(t);
  port.start();
  device.offered = 0n;
  device.events.push('needs-reset');
  t.false(look(port).up);
  t.regex(device.trace.at(-1)!, /^status 0x8[0-9a-f]$/);
  t.true(lines.some((line) => /^error port 0 stays down after the device asked for a reset/.test(line)));
  t.is(queueState(virtqueues(port).rx[0]!).words[STARTED], 0);
});

test('link down and up in the configuration: an event each', (t) => {
  const { device, port, links } = pciPort(t);
  port.start();
  device.status16 = 0;
  device.events.push('config');
  t.false(look(port).up);
  device.status16 = 1;
  device.events.push('config');
  t.true(look(port).up);
  t.deepEqual(links, [true, false, true]);
});

test('ANNOUNCE: a RARP packet on Tx queue 0 and an acknowledgement; the queue is open to lcores again', (t) => {
  const { device, port, eal, mempool } = pciPort(t, { offered: FAKE_OFFER | F.VIRTIO_NET_F_GUEST_ANNOUNCE });
  port.start();
  const held = eal.mempool(mempool).inUse();
  device.status16 = 3;
  device.events.push('config');
  look(port);
  t.is(device.trace.at(-1), 'control 3/0');
  t.is(eal.mempool(mempool).inUse(), held + 1);
  t.is(port.stats().opackets, 1);
  t.is(port.stats().obytes, 64);
  t.is(queueState(virtqueues(port).tx[0]!).words[STARTED], 1);
  const pkts = new Uint32Array([eal.mempool(mempool).get()]);
  eal.mempool(mempool).dataLen[pkts[0]!] = 60;
  t.is(port.tx(0).xmit(pkts, 1), 1); // goes on where the injected packet left off
});

test('the RARP packet: broadcast, from and about our address', (t) => {
  const mac = Uint8Array.of(2, 1, 2, 3, 4, 5);
  const packet = rarpPacket(mac);
  t.is(packet.length, 64);
  t.deepEqual(
    [...packet.subarray(0, 22)],
    [255, 255, 255, 255, 255, 255, 2, 1, 2, 3, 4, 5, 0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3],
  );
  t.deepEqual([...packet.subarray(22, 28)], [...mac]);
  t.deepEqual([...packet.subarray(32, 38)], [...mac]);
});

test('the device is pulled: told once, bursts stop, the port can be stopped and closed and nothing else', (t) => {
  const { device, port, lines, eal, mempool } = pciPort(t);
  let removed = 0;
  port.on('removed', () => removed++);
  port.start();
  device.events.push('lost');
  t.false(look(port).up);
  t.false(look(port).up);
  t.is(removed, 1);
  t.is(lines.filter((line) => /device 0000:00:03.0 was removed/.test(line)).length, 1);
  t.is(queueState(virtqueues(port).rx[0]!).words[STARTED], 0);
  port.stop();
  t.throws(() => port.configure({ mempool, mtu: 1400 }), { code: 'ESTATE', message: /was removed: detach the port/ });
  t.throws(() => port.start(), { code: 'ESTATE', message: /was removed/ });
  t.notThrows(() => port.info());
  port.close();
  t.deepEqual(eal.leaks(), []);
});
