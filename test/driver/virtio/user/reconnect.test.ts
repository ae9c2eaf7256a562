/** A back-end that goes and comes back, in both modes: link and events follow, and nothing leaks. */
import { virtqueues } from '../../../support/virtio-port.js';
import { existsSync } from 'node:fs';
import test from 'ava';
import type { Port } from '../../../../driver/port/port.js';
import * as F from '../../../../driver/wire/virtio-features.js';
import * as V from '../../../../driver/wire/vhost-user.js';
import { DROP_RESET } from '../../../../paths/stats.js';
import { queueState, STARTED } from '../../../../paths/guest/queue.js';
import {
  openFds,
  settledFds,
  RAW_FEATURES,
  RAW_PROTOCOL_FEATURES,
  until,
  type Script,
} from '../../../support/raw-backend.js';
import { bench, type Bench } from '../support/raw-port.js';

async function started(b: Bench, args: string, pairs = 1): Promise<{ port: Port; events: string[] }> {
  const port = await b.attach(args);
  const events: string[] = [];
  port.on('link', (link, why) => events.push(`${link.up ? 'up' : 'down'}: ${why}`));
  port.on('reconnect', (count) => events.push(`reconnect ${count}`));
  port.configure({ mempool: b.mempool, rxQueues: pairs });
  port.start();
  return { port, events };
}

const isStarted = (port: Port) => queueState(virtqueues(port).rx[0]!).words[STARTED] === 1;

for (const [mode, args, client] of [
  ['server', ',server=1', true],
  ['client', '', false],
] as const) {
  test.serial(`${mode} mode: down when the back-end goes, up when it is back, with the PMD's lines`, async (t) => {
    const b = bench(t);
    const backend = await b.backend({ client, scripts: [{}] });
    const { port, events } = await started(b, `${args},queues=2`, 2);
    t.true(isStarted(port));
    backend.hangUp();
    await until(() => events.length === 4, 'it is back');
    t.deepEqual(events, [
      'up: port started',
      'down: the back-end has closed the connection',
      'up: the back-end is back',
      'reconnect 1',
    ]);
    t.true(b.lines.includes('error virtio-user port 0 is down'));
    t.true(b.lines.includes(`notice ${mode} mode virtio-user reconnection succeeds!`));
    t.true(isStarted(port));
    // the whole session again, and the second pair enabled as before
    const second = backend.trace(1);
    t.is(second[0], 'SET_OWNER');
    t.true(second.includes('SET_STATUS 15'));
    t.deepEqual(second.slice(-2), ['SET_VRING_ENABLE 2 1', 'SET_VRING_ENABLE 3 1']);
    port.close();
    t.deepEqual(b.eal.leaks(), []);
  });
}

test.serial('bursts do nothing while the back-end is away, and what it held is freed and counted', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ client: true, scripts: [{}] });
  const { port, events } = await started(b, ',server=1');
  const pool = b.eal.mempool(b.mempool);
  const pkts = new Uint32Array(4);
  for (let i = 0; i < 4; i++) {
    pkts[i] = pool.get();
    pool.dataOff[pkts[i]!] = pool.headroom;
    pool.dataLen[pkts[i]!] = 64;
    pool.pktLen[pkts[i]!] = 64;
  }
  t.is(port.tx(0).xmit(pkts, 3), 3);
  backend.refuseConnections(true);
  backend.hangUp();
  await until(() => !port.link.up, 'the loss is seen');
  t.is(port.tx(0).xmit(pkts.slice(3), 1), 0);
  t.is(port.rx(0).recv(pkts, 4), 0);
  backend.refuseConnections(false);
  await until(() => events.includes('reconnect 1'), 'it is back');
  const stats = queueState(virtqueues(port).tx[0]!).stats;
  t.is(stats[DROP_RESET], 3);
  t.is(port.xstats().find(({ name }) => name === 'tx_q0_dropped_reset')!.value, 3);
  t.is(port.tx(0).xmit(pkts.slice(3), 1), 1);
  port.close();
  t.deepEqual(b.eal.leaks(), []);
});

test.serial('client mode with reconnect=0 stays down', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ scripts: [{}] });
  const { port, events } = await started(b, ',reconnect=0');
  backend.hangUp();
  await until(() => events.length === 2, 'the loss is told');
  t.false(port.link.up);
  port.close();
  t.is(backend.trace(1).length, 0);
});

test.serial('link notices the loss without the event loop', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ client: true, scripts: [{}] });
  const { port } = await started(b, ',server=1');
  backend.refuseConnections(true);
  backend.hangUp();
  for (let i = 0; i < 1e6 && port.link.up; i++); // no await: the timer cannot run
  t.false(port.link.up);
});

const HANDSHAKE = 22;
test.serial(
  'a back-end that closes at any message of a reconnect: the port stays down, then comes up, and nothing leaks',
  async (t) => {
    const b = bench(t);
    const faults: Script[] = Array.from({ length: HANDSHAKE }, (_, closeAt) => ({ closeAt }));
    const backend = await b.backend({ client: true, scripts: [{}, ...faults, {}] });
    const { port } = await started(b, ',server=1,packed_vq=1');
    const baseline = await settledFds();
    backend.hangUp();
    // each failure makes the next one wait longer, up to a second
    const good = () => backend.trace(HANDSHAKE + 1).includes('SET_STATUS 15') && port.link.up;
    await until(good, 'the good one is up', 90);
    await until(() => openFds() === baseline, 'no descriptor is left of the bad ones');
    port.close();
    t.deepEqual(b.eal.leaks(), []);
  },
);

test.serial(
  'a new back-end that lacks a negotiated feature: down with the feature named, once; up with the next that has it',
  async (t) => {
    const b = bench(t);
    const poor = { features: RAW_FEATURES & ~F.VIRTIO_F_IN_ORDER };
    const backend = await b.backend({ client: true, scripts: [{}, poor, poor, poor, {}] });
    const { port } = await started(b, ',server=1');
    backend.hangUp();
    await until(() => backend.trace(4).includes('SET_STATUS 15') && port.link.up, 'the good one is up');
    const explained = b.lines.filter((line) => line.includes('stays down'));
    t.is(explained.length, 1);
    t.regex(explained[0]!, /^error virtio-user port 0 stays down: .*does not offer VIRTIO_F_IN_ORDER any more/);
    t.false(backend.trace(1).includes('SET_FEATURES'));
  },
);

test.serial('a new back-end without the MQ that was negotiated stays down too', async (t) => {
  const b = bench(t);
  const poor = { protocolFeatures: RAW_PROTOCOL_FEATURES & ~V.PROTOCOL_F_MQ };
  const backend = await b.backend({ client: true, scripts: [{}, poor, {}] });
  const { port } = await started(b, ',server=1,queues=2', 2);
  backend.hangUp();
  await until(() => backend.trace(2).includes('SET_STATUS 15') && port.link.up, 'the good one is up');
  t.true(b.lines.some((line) => line.includes('does not offer VIRTIO_NET_F_MQ any more')));
});

test.serial('a new back-end that offers more is taken with what was negotiated', async (t) => {
  const b = bench(t);
  const less = { features: RAW_FEATURES & ~F.VIRTIO_F_INDIRECT_DESC & ~F.VIRTIO_NET_F_MQ };
  const backend = await b.backend({ client: true, scripts: [less, {}] });
  const { port, events } = await started(b, ',server=1,queues=2');
  backend.hangUp();
  await until(() => events.includes('reconnect 1'), 'it is back');
  const sent = backend.messages().filter(({ request }) => request === V.SET_FEATURES);
  t.is(V.decodeU64(sent[0]!.payload), V.decodeU64(sent[1]!.payload));
  t.false(backend.trace(1).includes('SET_VRING_CALL 2'));
  t.true(port.link.up);
});

test.serial(
  'stopped, configured anew and started while the back-end is away: it comes up so when it is back',
  async (t) => {
    const b = bench(t);
    const backend = await b.backend({ client: true, scripts: [{}] });
    const { port, events } = await started(b, ',server=1');
    backend.refuseConnections(true);
    backend.hangUp();
    await until(() => !port.link.up, 'the loss is seen');
    port.stop();
    port.configure({ mempool: b.mempool, rxDesc: 128 });
    port.start();
    t.false(port.link.up);
    backend.refuseConnections(false);
    await until(() => events.includes('reconnect 1'), 'it is back');
    t.true(port.link.up);
    t.is(port.rxQueueInfo(0).nbDesc, 128);
    port.close();
    t.deepEqual(b.eal.leaks(), []);
  },
);

test.serial('closed while the back-end is away: the socket file goes, nothing leaks', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ client: true, scripts: [{}] });
  const before = await settledFds();
  const { port } = await started(b, ',server=1');
  backend.refuseConnections(true);
  backend.hangUp();
  await until(() => !port.link.up, 'the loss is seen');
  port.close();
  t.is(openFds(), before);
  t.false(existsSync(b.path));
  t.deepEqual(b.eal.leaks(), []);
});

test.serial('the MAC address of a port without mac= survives a reconnect', async (t) => {
  const b = bench(t);
  const backend = await b.backend({ client: true, scripts: [{}] });
  const { port, events } = await started(b, ',server=1');
  const { mac } = port;
  backend.hangUp();
  await until(() => events.includes('reconnect 1'), 'it is back');
  t.is(port.mac, mac);
  t.is(port.info().mac, mac);
});
