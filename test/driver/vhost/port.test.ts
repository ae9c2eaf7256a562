/** net_vhost: what the port tells, how guests come and go, what is counted. Its packets: see also handover and interop. */
import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { parseVhost } from '../../../driver/devargs/vhost.js';
import { RxInterrupts } from '../../../driver/eal/rx-interrupt.js';
import { attach } from '../../../driver/port/attach.js';
import { hotplugAdd, hotplugRemove } from '../../../driver/port/hotplug.js';
import type { Port } from '../../../driver/port/port.js';
import { RX_OFFLOAD_VLAN_STRIP, TX_OFFLOAD_VLAN_INSERT } from '../../../driver/port/types.js';
import { RTE_MBUF_F_RX_VLAN_STRIPPED, RTE_MBUF_F_TX_VLAN } from '../../../paths/mbuf.js';
import { RECIPES } from '../../../tools/common/recipes.js';
import { soon } from '../../support/wire.js';
import { frame, Pair } from './support/pair.js';

const isUp = (port: Port) => soon('the link', () => port.link.up, Boolean);
const isDown = (port: Port) => soon('no link', () => !port.link.up, Boolean);

/** Sends packets from `from` to `to` on a queue. @returns their bytes as they arrive */
function pass(pair: Pair, from: Port, to: Port, packets: readonly number[][], queue = 0): number[][] {
  const pkts = Uint32Array.from(packets, (bytes) => pair.packet(bytes));
  const sent = from.tx(queue).xmit(pkts, pkts.length);
  pair.pool.freeBulk(pkts, sent, pkts.length - sent);
  from.tx(queue).cleanup();
  const got = new Uint32Array(64);
  const n = to.rx(queue).recv(got, 64);
  return [...got.subarray(0, n)].map((m) => pair.bytes(m));
}

test.serial('the port exists at once, without a guest: MAC, link, information, zeros', async (t) => {
  const pair = Pair.make(t);
  const back = await pair.back(',queues=2');
  t.is(back.mac, '56:48:4F:53:54:00');
  t.false(back.link.up);
  t.like(back.info(), { driver: 'net_vhost', maxRxQueues: 2, maxTxQueues: 2, promiscuous: true, allmulticast: true });
  t.like(back.info(), { maxMacAddrs: 1, maxRxPktLen: 0xffffffff, minRxBufSize: 0, maxMtu: 65535 });
  t.deepEqual(Object.fromEntries(back.info().privateInfo), {
    ...{ iface_name: pair.path, flags: '0x0', features: '0x0', max_queues: '2', vid: '-1', started: '1' },
    ...{ dev_attached: '0', vlan_strip: '0', rx_sw_csum: '0', tx_sw_csum: '0' },
  });
  t.true(back.xstats().every(({ value }) => value === 0));
  t.is(back.rx(0).recv(new Uint32Array(4), 4), 0);
  const m = pair.packet(frame(1));
  t.is(back.tx(0).xmit(Uint32Array.of(m), 1), 0);
  pair.pool.free(m);
  t.is(back.stats().oerrors, 0, 'nobody was there to miss it');
  t.is(back.tx(0).cleanup(), 0);
  t.true(existsSync(pair.path));
  back.close();
  t.false(existsSync(pair.path), 'the socket goes with the port');
  t.deepEqual(pair.eal.leaks(), []);
});

for (const { name, devargs, rx } of RECIPES) {
  test.serial(`packets both ways with our own front-end: ${name}`, async (t) => {
    const pair = Pair.make(t);
    const back = await pair.back();
    const front = await pair.front(`,${devargs}`);
    await isUp(back);
    t.is(front.path().rx, rx);
    const packets = Array.from({ length: 32 }, (_, i) => frame(i));
    for (let turn = 0; turn < 20; turn++) {
      front.rx(0).fill();
      t.deepEqual(pass(pair, front, back, packets), packets);
      t.deepEqual(pass(pair, back, front, packets), packets);
    }
    t.like(back.stats(), { ipackets: 640, opackets: 640, ibytes: 640 * 60, obytes: 640 * 60, ierrors: 0, oerrors: 0 });
    front.close();
    await isDown(back);
    t.like(back.stats(), { ipackets: 640, opackets: 640 }, 'kept when the guest goes');
    back.close();
    t.deepEqual(pair.eal.leaks(), []);
  });
}

test.serial(
  "xstats: ethdev's, then the 21 of rte_vhost for each Rx ring, then for each Tx ring; a reset begins at 0",
  async (t) => {
    const pair = Pair.make(t);
    const back = await pair.back(',queues=2', { rxQueues: 2 });
    const front = await pair.front(',queues=2', { rxQueues: 2 });
    await isUp(back);
    t.deepEqual(pass(pair, front, back, [frame(7)], 1), [frame(7)]);
    const names = back.xstats().map(({ name }) => name);
    const first = names.indexOf('rx_q0_good_packets');
    t.deepEqual(names.slice(first, first + 21), [
    ...['good_packets', 'good_bytes', 'multicast_packets', 'broadcast_packets', 'undersize_packets', 'size_64_packets'],
    ...['size_65_127_packets', 'size_128_255_packets', 'size_256_511_packets', 'size_512_1023_packets'],
    ...['size_1024_1518_packets', 'size_1519_max_packets', 'guest_notifications', 'guest_notifications_offloaded'],
    ...['guest_notifications_error', 'guest_notifications_suppressed', 'iotlb_hits', 'iotlb_misses'],
    ...['inflight_submitted', 'inflight_completed', 'mbuf_alloc_failed'],
  ].map((name) => `rx_q0_${name}`)); // prettier-ignore
    t.true(names.indexOf('rx_q1_good_packets') < names.indexOf('tx_q0_good_packets'));
    const value = (name: string) => back.xstats().find((one) => one.name === name)?.value;
    t.deepEqual([value('rx_q1_good_packets'), value('rx_q1_packets'), value('rx_good_packets')], [1, 1, 1]);
    back.resetStats();
    t.deepEqual([value('rx_q1_good_packets'), value('rx_q1_packets'), value('rx_good_packets')], [1, 0, 0]);
    back.resetXstats();
    t.deepEqual([value('rx_q1_good_packets'), value('rx_q1_packets'), value('rx_good_packets')], [0, 0, 0]);
    pass(pair, front, back, [frame(7)], 1);
    t.deepEqual([value('rx_q1_good_packets'), value('rx_q1_packets'), value('rx_good_packets')], [1, 1, 1]);
  },
);

test.serial('events: link and queue states, log lines of DPDK, in order', async (t) => {
  const pair = Pair.make(t);
  const back = await pair.back();
  const told: string[] = [];
  back.on('link', ({ up, speed }) => told.push(`link ${up} ${speed}`));
  back.on('queueState', (kind, queue, enabled) => told.push(`${kind} ${queue} ${enabled}`));
  const front = await pair.front();
  await isUp(back);
  front.close();
  await isDown(back);
  t.deepEqual(told.slice(0, 3), ['tx 0 true', 'rx 0 true', 'link true 10000']);
  t.deepEqual([...told.slice(3)].sort(), ['link false 10000', 'rx 0 false', 'tx 0 false']);
  const lines = pair.log.join('\n');
  for (const line of ['vring0 is enabled', 'vring1 is enabled', 'vring0 is disabled', 'vring1 is disabled']) {
    t.true(lines.includes(`info: VHOST_PMD: ${line}`), line);
  }
  t.regex(lines, /info: VHOST_PMD: Vhost device \d+ created/);
  t.regex(lines, /info: VHOST_PMD: Vhost device \d+ destroyed/);
});

test.serial(
  'stopped, nothing moves and the guest keeps its link; started again, its packets are still there',
  async (t) => {
    const pair = Pair.make(t);
    const back = await pair.back();
    const front = await pair.front();
    await isUp(back);
    back.stop();
    t.deepEqual(pass(pair, front, back, [frame(1), frame(2)]), []);
    t.deepEqual(pass(pair, back, front, [frame(3)]), []);
    t.true(front.link.up);
    back.start();
    t.deepEqual(pass(pair, front, back, [frame(4)]), [frame(1), frame(2), frame(4)]);
    back.stop();
    back.configure({ mempool: pair.pool.spec, rxOffloads: RX_OFFLOAD_VLAN_STRIP });
    back.start();
    t.true(back.link.up, 'configured anew with the same guest');
    t.deepEqual(pass(pair, front, back, [frame(5)]), [frame(5)]);
  },
);

test.serial('a guest that goes and comes ten times; without mbufs its packets wait, counted', async (t) => {
  const pair = Pair.make(t);
  const back = await pair.back();
  for (let i = 0; i < 10; i++) {
    const front = await pair.front(i % 2 ? ',packed_vq=1' : '');
    await isUp(back);
    t.deepEqual(pass(pair, front, back, [frame(i)]), [frame(i)]);
    front.close();
    await isDown(back);
  }
  t.is(back.stats().ipackets, 10);
  const front = await pair.front();
  await isUp(back);
  const m = pair.packet(frame(9));
  t.is(front.tx(0).xmit(Uint32Array.of(m), 1), 1);
  const all = new Int32Array(4096);
  pair.pool.flushCache();
  const taken = pair.pool.getBulk(all, 4096);
  t.is(back.rx(0).recv(new Uint32Array(4), 4), 0);
  t.true(back.stats().rxNombuf > 0);
  for (let i = 0; i < taken; i++) pair.pool.put(all[i]!);
  const got = new Uint32Array(4);
  t.is(back.rx(0).recv(got, 4), 1);
  t.deepEqual(pair.bytes(got[0]!), frame(9));
});

test.serial("a full guest: the rest stays the caller's and counts as missed", async (t) => {
  const pair = Pair.make(t);
  const back = await pair.back();
  await pair.front(',queue_size=32');
  await isUp(back);
  const pkts = Uint32Array.from({ length: 40 }, (_, i) => pair.packet(frame(i)));
  const sent = back.tx(0).xmit(pkts, 40);
  t.is(sent, 32);
  t.is(back.stats().oerrors, 8);
  t.deepEqual(pair.bytes(pkts[32]!), frame(32), 'the first one that was not taken');
  pair.pool.freeBulk(pkts, 33, 7);
});

test.serial('VLAN: tags stripped on Rx, inserted on Tx; one without room for a tag is freed, not sent', async (t) => {
  const pair = Pair.make(t);
  const config = { rxOffloads: RX_OFFLOAD_VLAN_STRIP, txOffloads: TX_OFFLOAD_VLAN_INSERT };
  const back = await pair.back('', config);
  const front = await pair.front();
  await isUp(back);
  const tagged = [...frame(1).slice(0, 12), 0x81, 0, 0x20, 0x05, ...frame(1).slice(12)];
  const m = pair.packet(tagged);
  front.tx(0).xmit(Uint32Array.of(m), 1);
  const got = new Uint32Array(4);
  t.is(back.rx(0).recv(got, 4), 1);
  t.is(pair.pool.vlanTci[got[0]!], 0x2005);
  t.true((pair.pool.olFlags[got[0]!]! & RTE_MBUF_F_RX_VLAN_STRIPPED) !== 0);
  t.deepEqual(pair.bytes(got[0]!), frame(1));

  const pkts = Uint32Array.from({ length: 3 }, (_, i) => pair.packet(frame(i)));
  for (const i of [0, 1]) {
    pair.pool.olFlags[pkts[i]!] = RTE_MBUF_F_TX_VLAN;
    pair.pool.vlanTci[pkts[i]!] = 0x2005;
  }
  pair.pool.dataOff[pkts[0]!] = 0;
  t.is(back.tx(0).xmit(pkts, 3), 3);
  t.is(front.rx(0).recv(got, 4), 2);
  t.deepEqual(pair.bytes(got[0]!), tagged);
  t.deepEqual(pair.bytes(got[1]!), frame(2));
});

test.serial('client mode: connects to a front-end that listens, and again after each loss', async (t) => {
  const pair = Pair.make(t);
  const back = await pair.back(',client=1');
  for (let i = 0; i < 2; i++) {
    const front = await pair.front(',server=1');
    await isUp(back);
    await isUp(front);
    t.deepEqual(pass(pair, front, back, [frame(i)]), [frame(i)]);
    front.close();
    await isDown(back);
  }
});

test.serial('the front-end comes back by itself after the port was closed and made again', async (t) => {
  const pair = Pair.make(t);
  let back = await pair.back();
  const front = await pair.front(',packed_vq=1');
  await isUp(back);
  back.close();
  await isDown(front);
  back = await pair.back();
  await isUp(back);
  await isUp(front);
  t.deepEqual(pass(pair, front, back, [frame(1)]), [frame(1)]);
});

for (const args of ['', ',packed_vq=1', ',event_idx=1', ',packed_vq=1,event_idx=1']) {
  test.serial(
    `rxReady: the event loop sleeps on the kicks of a guest, of the next one, over a stop: ${args.slice(1) || 'split'}`,
    async (t) => {
      const pair = Pair.make(t);
      const back = await pair.back('', { rxInterrupts: true });
      const interrupts = new RxInterrupts();
      const end = new AbortController();
      const got: number[] = [];
      const pkts = new Uint32Array(32);
      const listening = (async () => {
        for await (const [queue] of back.rxReady(undefined, { signal: end.signal, interrupts })) {
          const n = back.rx(queue!).recv(pkts, 32);
          for (const m of pkts.subarray(0, n)) got.push(pair.bytes(m)[20]!);
        }
      })();
      const sent: number[] = [];
      for (let guest = 0; guest < 2; guest++) {
        const front = await pair.front(args);
        await isUp(back);
        for (let i = 0; i < 100; i++) {
          if (i === 50) {
            back.stop();
            back.start();
          }
          const tag = sent.length & 0xff;
          front.tx(0).xmit(Uint32Array.of(pair.packet(frame(tag))), 1);
          front.tx(0).cleanup();
          sent.push(tag);
          await sleep(i % 4);
        }
        await soon('all packets', () => got.length === sent.length, Boolean);
        front.close();
        await isDown(back);
      }
      end.abort();
      await listening;
      t.deepEqual(got, sent);
      t.is(interrupts.missed, 0);
      t.true(interrupts.wakeups > 20, `${interrupts.wakeups} wake-ups`);
      back.close();
      t.deepEqual(pair.eal.leaks(), []);
    },
  );
}

test.serial('hotplug: by name, with a guest that is there and sends; two ports with two sockets', async (t) => {
  const pair = Pair.make(t);
  const first = await pair.back();
  const second = await hotplugAdd(pair.eal, 'vdev', 'eth_vhost1', `iface=${pair.path}1`, { log: () => undefined });
  t.is(second.mac, '56:48:4F:53:54:01');
  second.configure({ mempool: pair.pool.spec });
  second.start();
  const front = await pair.attach(`net_virtio_user1,path=${pair.path}1`);
  await isUp(second);
  front.tx(0).xmit(Uint32Array.of(pair.packet(frame(1))), 1);
  hotplugRemove(pair.eal, 'vdev', 'eth_vhost1');
  await isDown(front);
  t.false(existsSync(`${pair.path}1`));
  t.false(first.link.up);
});

test.serial(
  'refusals: no iface, unknown keys, capabilities that are not there, a socket that cannot be made',
  async (t) => {
    const refuse = (args: string, message: RegExp) => t.throws(() => parseVhost(`net_vhost0,${args}`), { code: 'EDEVARGS', message }); // prettier-ignore
    refuse('', /"iface" is missing/);
    refuse('iface=/tmp/x,queue=2', /unknown key "queue"; did you mean "queues"/);
    for (const queues of ['0', '129', '1025', 'abc']) refuse(`iface=/tmp/x,queues=${queues}`, /from 1 to 128/);
    refuse('iface=/tmp/x,iommu-support=1', /addresses are not translated by an IOMMU/);
    refuse('iface=/tmp/x,postcopy-support=1', /migrate with pre-copy/);
    refuse('iface=/tmp/x,tso=1', /no segmentation is offered/);
    refuse('iface=/tmp/x,linear-buffer=1', /chain of mbufs/);
    refuse('iface=/tmp/x,dequeue-zero-copy=1', /from 16.11 to 20.08/);
    refuse('iface=/dev/vduse/x', /VDUSE/);
    t.like(parseVhost('eth_vhost3,iface=/tmp/x,queues=0x10,client=1,tso=0'), {
      name: 'eth_vhost3',
      queues: 16,
      client: true,
    });

    const pair = Pair.make(t);
    writeFileSync(pair.path, '');
    const port = await attach(pair.eal, `net_vhost0,iface=${pair.path}`, { log: () => undefined });
    t.throws(() => port.configure({ mempool: pair.pool.spec }), {
      code: 'ESOCKET',
      message: /remove it and try again/,
    });
    t.throws(() => port.start(), { code: 'ESTATE' });
    port.close();
    t.true(existsSync(pair.path), "another's file stays");
    t.throws(() => port.filters.setPromiscuous(false), { code: 'ECONFIG', message: /receives everything/ });
    t.throws(() => port.rss.rssConf(), { code: 'ECONFIG', message: /the guest chooses the queue/ });
  },
);
