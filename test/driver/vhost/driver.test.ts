/** Sockets of the back-end: both modes, reconnects, many connections, and the embedded job. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { RxInterrupts } from '../../../driver/eal/rx-interrupt.js';
import type { LcoreContext } from '../../../driver/eal/types.js';
import {
  SUPPORTED_FEATURES,
  VHOST_COUNTERS,
  VhostDriver,
  vhostCounterBytes,
  vhostJob,
  type VhostJobData,
} from '../../../driver/vhost/index.js';
import * as wire from '../../../driver/wire/vhost-user.js';
import {
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_RING_PACKED,
  VIRTIO_NET_F_MRG_RXBUF,
} from '../../../driver/wire/virtio-features.js';
import { isVirtioPmdError } from '../../../native/errors.js';
import { closeFd, createRegion, destroyRegion } from '../../../native/region.js';
import { acceptUnix, connectUnix, listenUnix } from '../../../native/socket.js';
import { createMempool, Mempool } from '../../../paths/mempool.js';
import { Backend, openFds, RawFrontend } from './support/raw-frontend.js';
import { RawGuest } from './support/raw-guest.js';

function socketPath(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return join(directory, 's');
}

test('server: a file that exists is left alone, with one sentence that says what to do', (t) => {
  const path = socketPath(t);
  writeFileSync(path, 'precious');
  const backend = new Backend(path);
  const error = t.throws(() => backend.driver.start());
  t.true(isVirtioPmdError(error, 'ESOCKET'));
  t.regex(error!.message, /^failed to bind to .*; remove it and try again$/);
  backend.driver.close();
  t.true(existsSync(path));
});

test('server: a directory that does not exist, a path that is too long', (t) => {
  t.throws(() => new Backend('/nonexistent/s').driver.start(), {
    message: /failed to bind to \/nonexistent\/s: bind: no such file/,
  });
  t.throws(() => new Backend(`/tmp/${'x'.repeat(120)}`).driver.start(), { message: /too long/ });
});

test('options out of range', (t) => {
  for (const queues of [0, 129, 1.5, NaN]) {
    t.throws(() => new VhostDriver('/tmp/x', { queues }, {}), { message: /1 to 128 queue pairs/ });
  }
  for (const handshakeTimeoutMs of [0, -1, NaN]) {
    t.throws(() => new VhostDriver('/tmp/x', { handshakeTimeoutMs }, {}), { message: /more than 0 is expected/ });
  }
});

test('close removes the socket file and may be called again; start only once', (t) => {
  const path = socketPath(t);
  const backend = new Backend(path);
  backend.driver.start();
  t.throws(() => backend.driver.start(), { message: /started already/ });
  t.true(existsSync(path));
  backend.driver.close();
  backend.driver[Symbol.dispose]();
  backend.driver.poll();
  t.false(existsSync(path));
});

test('a connection is a device of its own; beyond the limit they are closed at once', (t) => {
  const path = socketPath(t);
  const before = openFds();
  const backend = new Backend(path, { maxDevices: 3 });
  backend.driver.start();
  const fronts = Array.from({ length: 5 }, () => {
    const front = new RawFrontend(backend);
    front.send(wire.SET_OWNER);
    front.send(wire.GET_FEATURES);
    return front;
  });
  t.is(backend.driver.devices.length, 3);
  t.is(new Set(backend.driver.devices.map((device) => device.id)).size, 3);
  t.true(fronts[3]!.closed);
  t.true(fronts[4]!.closed);
  t.regex(backend.complaints, /all 3 devices of this socket are in use/);
  fronts[0]!.negotiate(SUPPORTED_FEATURES);
  fronts[0]!.close();
  t.is(backend.driver.devices.length, 2);
  const next = new RawFrontend(backend);
  t.is(next.get(wire.GET_FEATURES), SUPPORTED_FEATURES);
  for (const front of [...fronts, next]) front.close();
  backend.driver.close();
  t.is(openFds(), before);
});

test('connections that never introduce themselves make room for new ones, the oldest first', (t) => {
  const path = socketPath(t);
  const before = openFds();
  const backend = new Backend(path, { maxDevices: 3 });
  backend.driver.start();
  const guest = new RawFrontend(backend);
  guest.send(wire.SET_OWNER);
  guest.get(wire.GET_FEATURES); // and then its guest sits in the firmware
  const silent = new RawFrontend(backend);
  const half = new RawFrontend(backend);
  half.send(wire.SET_OWNER);
  t.is(backend.driver.devices.length, 3);
  const next = new RawFrontend(backend);
  t.true(silent.closed);
  t.false(half.closed);
  t.regex(backend.complaints, /in use: the oldest connection without a handshake is closed for a new one/);
  next.send(wire.SET_OWNER);
  next.get(wire.GET_FEATURES);
  const last = new RawFrontend(backend);
  t.true(half.closed);
  last.get(wire.GET_FEATURES);
  last.send(wire.SET_OWNER);
  const refused = new RawFrontend(backend);
  t.true(refused.closed, 'nobody is left who could go');
  t.is(guest.get(wire.GET_FEATURES), SUPPORTED_FEATURES);
  for (const front of [guest, silent, half, next, last, refused]) front.close();
  backend.driver.close();
  t.is(openFds(), before);
});

test.serial(
  'connections that introduce themselves and share no memory make room once they have been silent, the oldest first',
  async (t) => {
    const path = socketPath(t);
    const before = openFds();
    const backend = new Backend(path, { maxDevices: 3, handshakeTimeoutMs: 300 });
    backend.driver.start();
    const introduced = () => {
      const front = new RawFrontend(backend);
      front.send(wire.SET_OWNER);
      front.get(wire.GET_FEATURES);
      return front;
    };
    const guest = introduced();
    guest.negotiate(SUPPORTED_FEATURES);
    t.is(guest.setMemory(), 0n);
    const parked = [introduced(), introduced()];
    const early = new RawFrontend(backend);
    t.true(early.closed, 'they may be about to begin');
    await new Promise((resolve) => setTimeout(resolve, 400));
    parked[0]!.get(wire.GET_FEATURES);
    const next = new RawFrontend(backend);
    t.deepEqual([next.closed, parked[0]!.closed, parked[1]!.closed, guest.closed], [false, false, true, false]);
    t.regex(
      backend.complaints,
      /the oldest connection without memory that was silent for 300 ms is closed for a new one/,
    );
    for (const front of [guest, ...parked, early, next]) front.close();
    backend.driver.close();
    t.is(openFds(), before);
  },
);

test.serial('a guest whose last message took long to handle is no handshake that is never completed', async (t) => {
  const path = socketPath(t);
  const backend = new Backend(path, { handshakeTimeoutMs: 100 });
  backend.driver.start();
  const guest = new RawFrontend(backend);
  guest.send(wire.SET_OWNER);
  backend.log.push = () => {
    for (const until = performance.now() + 2; performance.now() < until;); // longer than one poll may take
    return 0;
  };
  guest.get(wire.GET_FEATURES);
  await new Promise((resolve) => setTimeout(resolve, 200));
  t.false(guest.closed);
  guest.close();
  backend.driver.close();
});

test.serial('a handshake and a message that are never completed are waited for so long and no longer', async (t) => {
  const path = socketPath(t);
  const before = openFds();
  const backend = new Backend(path, { handshakeTimeoutMs: 1000 });
  backend.driver.start();
  const guest = new RawFrontend(backend);
  guest.send(wire.SET_OWNER);
  guest.get(wire.GET_FEATURES);
  const cut = new RawFrontend(backend);
  cut.send(wire.SET_OWNER);
  cut.get(wire.GET_FEATURES);
  const silent = new RawFrontend(backend);
  const dripping = new RawFrontend(backend);
  const message = wire.encodeMessage(wire.SET_FEATURES, wire.VERSION, wire.encodeU64(0n));
  cut.sendBytes(message.subarray(0, 13));
  for (let i = 0; i < 10; i++) {
    try {
      dripping.sendBytes(message.subarray(i, i + 1));
    } catch {
      break; // closed
    }
    backend.driver.poll();
    await new Promise((resolve) => setTimeout(resolve, 150));
  }
  t.deepEqual([silent.closed, dripping.closed, cut.closed, guest.closed], [true, true, true, false]);
  t.regex(backend.complaints, /no SET_OWNER and GET_FEATURES came within 1000 ms; connection closed/);
  t.regex(backend.complaints, /a message was not completed within 1000 ms; connection closed/);
  await new Promise((resolve) => setTimeout(resolve, 1200));
  t.is(guest.get(wire.GET_FEATURES), SUPPORTED_FEATURES, 'it may be silent for as long as it likes');
  for (const front of [guest, silent, dripping, cut]) front.close();
  backend.driver.close();
  t.is(openFds(), before);
});

test('a thousand connections that say nothing leave nothing behind', (t) => {
  const path = socketPath(t);
  const before = openFds();
  const backend = new Backend(path);
  backend.driver.start();
  for (let i = 0; i < 1000; i++) {
    const fd = connectUnix(path);
    backend.driver.poll();
    closeFd(fd);
    backend.driver.poll();
  }
  t.is(backend.driver.devices.length, 0);
  t.is(openFds(), before + 1);
  backend.driver.close();
});

test('features can be withheld', (t) => {
  const backend = new Backend(socketPath(t), {
    disabledFeatures: VIRTIO_NET_F_MRG_RXBUF | VIRTIO_F_RING_PACKED,
    disabledProtocolFeatures: wire.PROTOCOL_F_STATUS,
    queues: 128,
  });
  backend.driver.start();
  const front = new RawFrontend(backend);
  t.is(front.get(wire.GET_FEATURES), SUPPORTED_FEATURES & ~VIRTIO_NET_F_MRG_RXBUF & ~VIRTIO_F_RING_PACKED);
  t.is(front.get(wire.GET_PROTOCOL_FEATURES) & wire.PROTOCOL_F_STATUS, 0n);
  t.is(front.get(wire.GET_QUEUE_NUM), 128n);
  front.close();
  backend.driver.close();
});

/** Polls until `done`, for at most five seconds. */
async function pollUntil(backend: Backend, done: () => boolean): Promise<boolean> {
  for (let i = 0; i < 500 && !done(); i++) {
    backend.driver.poll();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return done();
}

test('client: waits for a front-end to listen, and for the next one after a loss', async (t) => {
  const path = socketPath(t);
  const before = openFds();
  const backend = new Backend(path, { client: true });
  backend.driver.start();
  t.regex(backend.complaints, /failed to connect: connect: no such file or directory/);
  for (let round = 0; round < 2; round++) {
    const listener = listenUnix(path);
    t.true(await pollUntil(backend, () => backend.driver.devices.length === 1));
    const front = new RawFrontend(backend, acceptUnix(listener));
    t.is(front.get(wire.GET_FEATURES), SUPPORTED_FEATURES);
    front.close();
    t.is(backend.driver.devices.length, 0);
    closeFd(listener);
    rmSync(path);
  }
  t.is(backend.log.filter((line) => /failed to connect/.test(line)).length, 1, 'said once, not each second');
  backend.driver.close();
  t.is(openFds(), before);
});

test('client without reconnect tries once, and says so when nobody listens', (t) => {
  const path = socketPath(t);
  const backend = new Backend(path, { client: true, reconnect: false });
  t.throws(() => backend.driver.start(), { code: 'ESOCKET', message: /cannot connect to/ });
  const listener = listenUnix(path);
  for (let i = 0; i < 5; i++) backend.driver.poll();
  t.is(backend.driver.devices.length, 0);
  t.notThrows(() => backend.driver.start(), 'a second start is a second attempt');
  closeFd(listener);
  backend.driver.close();
});

test('the embedded job loops packets back until it is told to stop, and gives everything back', (t) => {
  const path = socketPath(t);
  const before = openFds();
  const mapping = createRegion('host', 512 * 2176, false);
  const mempool = createMempool({
    name: 'host',
    mapping,
    base: 0,
    count: 512,
    headroom: 128,
    dataRoom: 2048,
    cacheSize: 32,
    deviceAddress: BigInt,
  });
  const counters = new SharedArrayBuffer(vhostCounterBytes);
  const count = new Float64Array(counters);

  // the front-end takes one step each time the job asks whether to go on
  const front = { channel: undefined as RawFrontend | undefined };
  const received: Uint8Array[] = [];
  function* guestSteps() {
    while (!existsSync(path)) yield;
    // the job polls by itself; this stand-in for a back-end does nothing when it is asked to
    const raw = new RawFrontend({ path, driver: { poll: () => undefined } } as unknown as Backend);
    front.channel = raw;
    const split = SUPPORTED_FEATURES & ~VIRTIO_F_RING_PACKED & ~VIRTIO_F_EVENT_IDX;
    const guest = new RawGuest(raw, {
      rx: 'virtio_recv_mergeable_pkts',
      tx: 'virtio_xmit_pkts',
      size: 64,
      mergeable: true,
      inOrder: false,
    });
    raw.negotiate(split, 0n);
    raw.send(wire.SET_MEM_TABLE, wire.encodeMemoryTable([raw.memoryRegion()]), [raw.memory.fd]);
    for (const index of [0, 1]) {
      raw.send(wire.SET_VRING_NUM, wire.encodeVringState({ index, num: 64 }));
      raw.send(wire.SET_VRING_ADDR, raw.ringAddr(index, 64, guest.ringOff[index]!));
      raw.send(wire.SET_VRING_KICK, wire.encodeVringFd(index, false));
      raw.send(wire.SET_VRING_ENABLE, wire.encodeVringState({ index, num: 1 }));
    }
    for (let i = 0; i < 200; i++) {
      guest.send(new Uint8Array(100).fill(i));
      received.push(...guest.receive());
      yield;
    }
    while (received.length < 200) {
      received.push(...guest.receive());
      yield;
    }
    t.is(guest.leaked(), 0);
    raw.close();
    while (count[VHOST_COUNTERS.devices] !== 0) yield;
  }
  const steps = guestSteps();
  const deadline = Date.now() + 20_000;
  const context: LcoreContext = {
    lcoreId: 1,
    running: () => !steps.next().done && Date.now() < deadline,
    mempool: (spec) => new Mempool(spec, 1),
    rxInterrupt: new RxInterrupts(),
    post: () => undefined,
  };
  const data: VhostJobData = { path, mode: 'loopback', mempool, counters };
  vhostJob(context, data);
  t.is(received.length, 200);
  t.true(received.every((bytes, i) => bytes.length === 100 && bytes[50] === i));
  t.is(count[VHOST_COUNTERS.rxPackets], 200);
  t.is(count[VHOST_COUNTERS.txPackets], 200);
  t.is(count[VHOST_COUNTERS.connections], 1);
  t.false(existsSync(path));
  t.is(new Mempool(mempool, 0).inUse(), 0);
  destroyRegion(mapping);
  t.is(openFds(), before);
});
