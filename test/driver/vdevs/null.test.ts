/** net_null: packets from nowhere, and into nothing. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { drivers } from '../../../driver/drivers.js';
import { attach } from '../../../driver/port/attach.js';
import { openRx } from '../../../driver/port/queue.js';
import { NIL } from '../../../paths/mempool.js';
import { readPacket } from '../../../paths/mbuf.js';
import { vdevEal } from './support/vdev-ports.js';

test.serial('packets of 64 bytes for ever; what is sent is freed; counters of each queue', async (t) => {
  const { eal, pool, start } = vdevEal(t);
  const port = await start('net_null0', { rxQueues: 2, txQueues: 3 });
  const pkts = new Uint32Array(64);
  for (let turn = 0; turn < 100; turn++) {
    t.is(port.rx(1).recv(pkts, 64), 64);
    t.is(port.tx(2).xmit(pkts, 64), 64);
  }
  t.is(pool.pktLen[pkts[0]!], 64);
  t.is(pool.port[pkts[0]!], port.id);
  t.like(port.stats(), { ipackets: 6400, opackets: 6400, ibytes: 409600, obytes: 409600, rxNombuf: 0 });
  const xstats = new Map(port.xstats().map(({ name, value }) => [name, value]));
  t.deepEqual([xstats.get('rx_q0_packets'), xstats.get('rx_q1_packets'), xstats.get('tx_q2_bytes')], [0, 6400, 409600]);
  const queues = [...xstats.keys()].filter((name) => /_q\d/.test(name));
  t.deepEqual(queues.slice(0, 4), ['rx_q0_packets', 'rx_q0_bytes', 'rx_q0_errors', 'rx_q1_packets']);
  t.is(queues.at(-1), 'tx_q2_bytes');
  port.resetStats();
  t.like(port.stats(), { ipackets: 0, obytes: 0 });
  port.close();
  t.deepEqual(eal.leaks(), []);
});

test.serial('the link is up at 10 Gb/s while the port is started; stopped queues do nothing', async (t) => {
  const { start, pool } = vdevEal(t);
  const port = await start('eth_null0');
  t.deepEqual(port.link, { up: true, speed: 10000 });
  t.like(port.info(), { driver: 'net_null', maxRxQueues: 1024, maxTxQueues: 1024, promiscuous: true });
  t.regex(port.mac, /^.[26AE](:[0-9A-F]{2}){5}$/, 'local, and unicast');
  const other = await start('net_null1');
  t.not(other.mac, port.mac);
  port.stop();
  t.false(port.link.up);
  const pkts = Uint32Array.of(pool.get());
  t.is(port.rx(0).recv(pkts, 1), 0);
  t.is(port.tx(0).xmit(pkts, 1), 0, 'the caller keeps it');
  pool.freeBulk(pkts, 0, 1);
  port.start();
  t.is(port.rx(0).recv(pkts, 1), 1);
  pool.freeBulk(pkts, 0, 1);
});

test.serial('size= and copy=: the length, and zeros', async (t) => {
  const { pool, start } = vdevEal(t);
  const port = await start('net_null0,size=2048,copy=1');
  const pkts = new Uint32Array(2);
  const dirty = Uint32Array.of(pool.get(), pool.get());
  for (const m of dirty) pool.u8.fill(0xee, pool.bufOff(m), pool.bufOff(m) + pool.stride);
  pool.freeBulk(dirty, 0, 2);
  t.is(port.rx(0).recv(pkts, 2), 2);
  t.deepEqual(readPacket(pool, pkts[1]!), new Uint8Array(2048));
  t.is(pool.u8[pool.dataStart(pkts[1]!) - 1], 0xee, 'and nothing in front of it');
  pool.freeBulk(pkts, 0, 2);
});

test.serial('packets that do not fit into the mbufs are refused when the port is configured', async (t) => {
  const { start } = vdevEal(t, { dataRoom: 1600 });
  await t.throwsAsync(start('net_null0,size=1601'), {
    code: 'ECONFIG',
    message: /packets of size=1601 do not fit into the mbufs of .*, which hold 1600 bytes; use larger mbufs/,
  });
  await t.notThrowsAsync(start('net_null1,size=1601,no-rx=1'), 'nothing is received');
});

test.serial('no-rx=1: nothing is received', async (t) => {
  const { start, pool } = vdevEal(t);
  const port = await start('net_null0,no-rx=1');
  t.is(port.rx(0).recv(new Uint32Array(8), 8), 0);
  t.is(port.tx(0).xmit(Uint32Array.of(pool.get()), 1), 1);
  t.like(port.stats(), { ipackets: 0, opackets: 1 });
  t.is(port.rxQueueInfo(0).burstMode, 'eth_null_no_rx');
});

test.serial('fewer mbufs than a burst: those that are there, and the missing ones are counted', async (t) => {
  const { eal, pool, start } = vdevEal(t, { count: 40 });
  const port = await start('net_null0');
  const pkts = new Uint32Array(1000);
  t.is(port.rx(0).recv(pkts, 32), 32);
  const held = pkts.slice(0, 32);
  t.is(port.rx(0).recv(pkts, 32), 8);
  t.is(port.rx(0).recv(pkts, 32), 0);
  t.is(port.stats().rxNombuf, 24 + 32);
  t.is(pool.get(), NIL);
  pool.freeBulk(pkts, 0, 8);
  pool.freeBulk(held, 0, 32);
  t.is(port.rx(0).recv(pkts, 1000), 40, 'a burst of any size');
  pool.freeBulk(pkts, 0, 40);
  t.deepEqual(eal.leaks(), []);
});

test.serial('packets of several segments are freed with all of them, in debug mode too', async (t) => {
  const { eal, pool, start } = vdevEal(t, { debug: true });
  const port = await start('net_null0');
  const pkts = new Uint32Array(2);
  t.is(port.rx(0).recv(pkts, 2), 2);
  pool.next[pkts[0]!] = pkts[1]!;
  pool.nbSegs[pkts[0]!] = 2;
  pool.pktLen[pkts[0]!] = 128;
  t.is(port.tx(0).xmit(pkts, 1), 1);
  t.like(port.stats(), { opackets: 1, obytes: 128 });
  port.close();
  t.deepEqual(eal.leaks(), []);
  t.throws(() => pool.free(pkts[0]!), { code: 'ESTATE', message: /^debug:/ });
});

test.serial('a port that is attached has its queues on this thread', async (t) => {
  const { eal, mempool, pool } = vdevEal(t);
  const port = await attach(eal, 'net_null0');
  port.configure({ mempool });
  port.start();
  const pkts = new Uint32Array(4);
  t.is(port.rx(0).recv(pkts, 4), 4);
  t.is(port.tx(0).xmit(pkts, 4), 4);
  const [rx] = port.spec().rx;
  t.is(openRx(rx!, pool).recv(pkts, 4), 4);
  pool.freeBulk(pkts, 0, 4);
  for (const driver of drivers.filter(({ bus, names }) => bus === 'vdev' && names[0] !== 'net_virtio_user')) {
    t.true(existsSync(fileURLToPath(driver.queueModule!).replace(/\.js$/, '.ts')), driver.names[0]);
  }
  port.close();
});
