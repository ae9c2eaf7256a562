/** What is tried with net_af_packet, by title, in a network namespace: v0 and v1 are the ends of a veth pair. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { pollFd, POLLERR, POLLIN } from '../../../../native/event.js';
import { RX_OFFLOAD_VLAN_STRIP, TX_OFFLOAD_VLAN_INSERT } from '../../../../driver/port/types.js';
import type { Port } from '../../../../driver/port/port.js';
import {
  RTE_MBUF_F_RX_VLAN,
  RTE_MBUF_F_RX_VLAN_STRIPPED,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_UDP_CKSUM,
  RTE_MBUF_F_TX_VLAN,
} from '../../../../paths/mbuf.js';
import { isRight, udpPacket } from '../../../support/udp.js';
import { frame, ip, isOurs, numberOf, openFds, refused, withBench, type Bench } from './bench.js';
import type { BurstData } from './burst-job.js';

const JOB = new URL('./burst-job.js', import.meta.url);
const VETH = ['link add v0 type veth peer name v1', 'link set v0 up', 'link set v1 up'];
const numbers = (found: readonly { bytes: Uint8Array }[], at = 14) =>
  found.map(({ bytes }) => numberOf(bytes, at)).sort((a, b) => a - b);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);
const frames = (count: number, length = 64) => upTo(count).map((i) => frame(i, length));
const flagsOf = (name: string) => Number(readFileSync(`/sys/class/net/${name}/flags`, 'utf8'));
const textOf = (name: string, file: string) => readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();

/** A frame with a VLAN tag, numbered behind it. */
function tagged(number: number, tci: number, type = 0x8100, length = 68): Uint8Array {
  const inner = frame(number, length - 4);
  const bytes = new Uint8Array(length);
  bytes.set(inner.subarray(0, 12));
  bytes.set([type >> 8, type & 0xff, tci >> 8, tci & 0xff], 12);
  bytes.set(inner.subarray(12), 16);
  return bytes;
}

/** UDP packets of `flows` flows, numbered in their payload. */
const flowsOf = (count: number, flows: number) =>
  upTo(count).map((i) =>
    udpPacket({
      source: { mac: 2, ip: 0x0a090002, port: 1000 + (i % flows) },
      destination: { mac: 1, ip: 0x0a090001, port: 9 },
      payload: new Uint8Array(new Uint32Array([i, 0, 0, 0]).buffer).reverse(),
    }),
  );
const PAYLOAD = 14 + 20 + 8 + 12;

async function both(bench: Bench, args = '', config: Parameters<Bench['port']>[1] = {}): Promise<[Port, Port]> {
  return [
    await bench.port(`net_af_packet0,iface=v0${args}`, config),
    await bench.port(`eth_af_packet1,iface=v1${args}`, config),
  ];
}

/** A job that receives, and sends too, on lcore 1. */
function busy(bench: Bench, port: Port, send: boolean) {
  const { rx, tx } = port.spec();
  const counts = new SharedArrayBuffer(8);
  const data: BurstData = { rx: rx[0]!, tx: tx[0]!, send, counts };
  bench.eal.lcores.launch(1, JOB, 'bursts', data);
  const words = new Int32Array(counts);
  const goesOn = async () => {
    const rounds = Atomics.load(words, 1);
    await bench.until('the job goes on', () => Atomics.load(words, 1) > rounds + 10);
  };
  return { received: () => Atomics.load(words, 0), goesOn };
}

export const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  'packets both ways through a veth pair, over the end of small rings again and again': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench, ',framecnt=16');
      for (let round = 0; round < 12; round++) {
        for (const [from, to] of [
          [a, b],
          [b, a],
        ] as const) {
          assert.equal(bench.send(from, frames(10, 60 + 13 * round)), 10);
          const got = await bench.receive(to, 10, isOurs);
          assert.deepEqual(got.map(({ bytes }) => bytes), frames(10, 60 + 13 * round)); // prettier-ignore
        }
      }
      const bytes = upTo(12).reduce((sum, round) => sum + 10 * (60 + 13 * round), 0);
      const { opackets, obytes, oerrors, ipackets, ibytes, ierrors, imissed } = a.stats();
      assert.deepEqual([opackets, obytes, oerrors, ierrors, imissed], [120, bytes, 0, 0, 0]);
      assert.deepEqual([ipackets, ibytes], [120, bytes]);
      assert.deepEqual(a.xstats().find(({ name }) => name === 'tx_q0_packets')?.value, 120);
      a.resetStats();
      assert.equal(a.stats().opackets, 0);
    }),
  'a ring that is full: packets are missed, and counted, and the next ones come again': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench, ',framecnt=8');
      await bench.receive(b, 0, isOurs);
      b.resetStats();
      bench.send(a, frames(8));
      bench.send(a, frames(8));
      bench.send(a, frames(8));
      assert.deepEqual(numbers(await bench.receive(b, 8, isOurs)), upTo(8));
      assert.equal(b.stats().imissed, 16);
      bench.send(a, frames(5));
      await bench.receive(b, 5, isOurs);
      b.resetStats();
      assert.equal(b.stats().imissed, 0);
    }),
  'a VLAN tag stays in the packet, with its kind; with VLAN_STRIP it comes beside it': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      const sent = [tagged(1, 0x6005), tagged(2, 7, 0x88a8), frame(3)];
      bench.send(a, sent);
      const got = await bench.receive(b, 3, (bytes) => isOurs(bytes) || isOurs(bytes.subarray(4)));
      assert.deepEqual(got.map(({ bytes }) => bytes), sent); // prettier-ignore
      assert.deepEqual(got.map(({ flags }) => flags), [0, 0, 0]); // prettier-ignore
      b.stop();
      b.configure({ mempool: bench.mempool, rxOffloads: RX_OFFLOAD_VLAN_STRIP });
      b.start();
      bench.send(a, sent);
      const [first, , third] = await bench.receive(b, 3, isOurs);
      assert.equal(first!.flags, RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED);
      assert.deepEqual([first!.vlanTci, first!.bytes], [0x6005, frame(1)]);
      assert.equal(third!.flags, 0);
    }),
  'a VLAN tag is inserted where a packet asks for it, also into a chain of small segments': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench, '', { txOffloads: TX_OFFLOAD_VLAN_INSERT });
      const dress = (m: number) => {
        bench.pool.olFlags[m] = RTE_MBUF_F_TX_VLAN;
        bench.pool.vlanTci[m] = 0x2003;
      };
      bench.send(a, [frame(4)], { dress });
      bench.send(a, [frame(5, 300)], { dress, segmentSize: 20 });
      const got = await bench.receive(b, 2, (bytes) => isOurs(bytes.subarray(4)));
      assert.deepEqual(got.map(({ bytes }) => bytes), [tagged(4, 0x2003), tagged(5, 0x2003, 0x8100, 304)]); // prettier-ignore
    }),
  'prepare stops at a packet that asks for a checksum, which this port cannot complete': () =>
    withBench(VETH, async (bench) => {
      const [a] = await both(bench);
      const { pool } = bench;
      const pkts = Uint32Array.of(pool.get(), pool.get());
      pool.olFlags.fill(0, pkts[0], pkts[0]! + 1);
      pool.olFlags[pkts[1]!] = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
      assert.equal(a.tx(0).prepare(pkts, 2), 1);
      pool.freeBulk(pkts, 0, 2);
      assert.throws(() => a.configure({ mempool: bench.mempool, txOffloads: 4 }), { code: 'ESTATE' });
      a.stop();
      assert.throws(() => a.configure({ mempool: bench.mempool, txOffloads: 4 }), { code: 'ECONFIG' });
    }),
  'jumbo frames of many segments, with larger frames and mbufs; the MTU is the interface’s': () =>
    withBench(
      [...VETH, 'link set v0 mtu 9000', 'link set v1 mtu 9000'],
      async (bench) => {
        const [a, b] = await both(bench, ',blocksz=16384,framesz=16384,framecnt=32');
        assert.deepEqual([a.info().mtu, a.info().maxMtu], [9000, 16384 - 80]);
        const sent = [frame(1, 9014), tagged(2, 5, 0x8100, 9018), frame(3, 5000)];
        assert.equal(bench.send(a, sent, { segmentSize: 700 }), 3);
        const got = await bench.receive(b, 3, (bytes) => isOurs(bytes) || isOurs(bytes.subarray(4)));
        assert.deepEqual(got.map(({ bytes }) => bytes), sent); // prettier-ignore
      },
      { dataRoom: 16384, count: 600 },
    ),
  'packets that cannot be sent count as errors: too long for the MTU or a frame, shorter than an Ethernet header': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      const wrong = [frame(1, 1515), tagged(2, 5, 0x8100, 1519), new Uint8Array(13)];
      assert.equal(bench.send(a, [...wrong, frame(3, 1514), tagged(4, 5, 0x8100, 1518)]), 5);
      assert.deepEqual([a.stats().opackets, a.stats().oerrors], [2, 3]);
      await bench.receive(b, 2, (bytes) => isOurs(bytes) || isOurs(bytes.subarray(4)));
      a.setMtu(1000);
      assert.equal(textOf('v0', 'mtu'), '1000');
      bench.send(a, [frame(5, 1015), frame(6, 1014)]);
      assert.deepEqual([a.stats().opackets, a.stats().oerrors], [3, 4]);
      assert.throws(() => a.setMtu(1969), { code: 'ECONFIG', message: /between 68 and 1968/ });
    }),
  'packets longer than a frame are dropped and counted, instead of passed on without their end': () =>
    withBench([...VETH, 'link set v0 mtu 3000', 'link set v1 mtu 3000'], async (bench) => {
      const a = await bench
        .port('net_af_packet0,iface=v0,blocksz=4096,framesz=4096', { mtu: 2000 })
        .catch(() => undefined);
      assert.equal(a, undefined); // frames of 4 KiB do not fit into the mbufs
      const b = await bench.port('net_af_packet1,iface=v1');
      assert.equal(b.info().mtu, 1968); // what fits
      ip('addr add 10.9.0.1/24 dev v0', 'neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0');
      await fromKernel(2800);
      await bench.receive(b, 0, (bytes) => bytes.length > 1500);
      assert.equal(b.stats().ierrors, 1);
    }),
  '1, 2 and 4 queues: every packet comes once, flows stay on a queue, and several queues get some': async () => {
    for (const queues of [1, 2, 4]) {
      await withBench(VETH, async (bench) => {
        const [a, b] = await both(bench, `,qpairs=${queues}`, { rxQueues: queues });
        const sent = flowsOf(400, 64);
        for (let at = 0; at < 400; at += 40) {
          assert.equal(bench.send(a, sent.slice(at, at + 40), { queue: (at / 40) % queues }), 40);
        }
        const got = await bench.receive(b, 400, (bytes) => bytes[12] === 8 && bytes[23] === 17);
        assert.deepEqual(numbers(got, PAYLOAD), upTo(400));
        const byFlow = new Map<number, Set<number>>();
        for (const { bytes, queue } of got) {
          const flow = bytes[35]!;
          byFlow.set(flow, (byFlow.get(flow) ?? new Set()).add(queue));
        }
        assert.ok([...byFlow.values()].every((used) => used.size === 1));
        assert.equal(new Set(got.map(({ queue }) => queue)).size, queues);
      });
    }
  },
  'fewer queues than qpairs, and queues for one direction only: nothing goes to a queue that nobody polls': () =>
    withBench(VETH, async (bench) => {
      const a = await bench.port('net_af_packet0,iface=v0,qpairs=4', { rxQueues: 1, txQueues: 3 });
      const b = await bench.port('net_af_packet1,iface=v1,qpairs=4', { rxQueues: 2, txQueues: 1 });
      for (const queue of [0, 1, 2]) bench.send(a, flowsOf(30, 30), { queue });
      await bench.receive(b, 90, (bytes) => bytes[12] === 8 && bytes[23] === 17);
      bench.send(b, flowsOf(30, 30));
      await bench.receive(a, 30, (bytes) => bytes[12] === 8 && bytes[23] === 17);
    }),
  'two ports on one interface both get its packets': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench, ',qpairs=2', { rxQueues: 2 });
      const c = await bench.port('net_af_packet2,iface=v1,qpairs=2', { rxQueues: 2 });
      bench.send(a, flowsOf(40, 40));
      for (const port of [b, c]) await bench.receive(port, 40, (bytes) => bytes[12] === 8 && bytes[23] === 17);
    }),
  'what the host sends itself is not received, and what it gets has whole checksums': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      ip('addr add 10.9.0.1/24 dev v0', 'neigh add 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0');
      await fromKernel(100);
      const [packet] = await bench.receive(b, 1, (bytes) => bytes[12] === 8 && bytes[23] === 17);
      assert.ok(isRight(packet!.bytes)); // a veth leaves them to the other end
      await bench.receive(a, 0, (bytes) => bytes[12] === 8);
    }),
  'stopped: nothing is received, not even later; started and configured again it goes on': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench, ',qpairs=2');
      bench.send(a, frames(3));
      await bench.receive(b, 3, isOurs);
      bench.send(a, frames(4));
      b.stop();
      assert.equal(b.rx(0).recv(new Uint32Array(4), 4), 0);
      bench.send(a, frames(5));
      const { pool } = bench;
      const m = pool.get();
      assert.equal(b.tx(0).xmit(Uint32Array.of(m), 1), 0);
      pool.free(m);
      b.start();
      await bench.receive(b, 0, isOurs);
      bench.send(a, frames(6));
      await bench.receive(b, 6, isOurs);
      b.stop();
      b.configure({ mempool: bench.mempool, rxQueues: 2 });
      b.start();
      bench.send(a, flowsOf(20, 20));
      await bench.receive(b, 20, (bytes) => bytes[12] === 8);
      const fds = openFds();
      b.stop();
      b.reset();
      assert.equal(openFds(), fds);
    }),
  'the link is the interface’s: down and up again, told within the look': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      const told: string[] = [];
      b.on('link', ({ up }, why) => told.push(`${up} ${why}`));
      ip('link set v0 down');
      await bench.until('both down', () => !a.link.up && !b.link.up);
      assert.equal(bench.send(b, frames(3)), 3);
      assert.equal(bench.send(a, frames(3)), 3); // v0 is down: they are lost, and counted
      assert.equal(a.stats().oerrors, 3);
      assert.equal(a.rx(0).recv(new Uint32Array(4), 4), 0);
      ip('link set v0 up');
      await bench.until('both up', () => a.link.up && b.link.up);
      assert.deepEqual(told, ['false v1 is down', 'true v1 is up']);
      bench.send(a, frames(7));
      assert.deepEqual(numbers(await bench.receive(b, 7, isOurs)), upTo(7)); // and not those from before
    }),
  'an interface that is down when the port starts: packets come once it is up, each of them once': () =>
    withBench(['link add v0 type veth peer name v1', 'link set v0 up'], async (bench) => {
      const b = await bench.port('net_af_packet1,iface=v1,qpairs=2', { rxQueues: 2 });
      assert.equal(b.link.up, false);
      ip('link set v1 up');
      await bench.until('up', () => b.link.up);
      const a = await bench.port('net_af_packet0,iface=v0');
      bench.send(a, flowsOf(40, 40));
      await bench.receive(b, 40, (bytes) => bytes[12] === 8 && bytes[23] === 17);
    }),
  'an interface that goes down and up while an lcore sends and receives on it': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      const job = busy(bench, b, true);
      for (let round = 0; round < 5; round++) {
        await job.goesOn();
        ip('link set v1 down');
        await job.goesOn();
        ip('link set v1 up');
        await bench.until('up', () => b.link.up);
      }
      const before = job.received();
      await bench.until('it receives again', () => bench.send(a, frames(4)) === 4 && job.received() >= before + 4);
      assert.ok(b.stats().oerrors > 0);
      bench.eal.lcores.stop(1);
      bench.eal.lcores.wait(1);
    }),
  'an interface that is deleted while an lcore sends and receives on it: the port is lost, in a sentence': () =>
    withBench(VETH, async (bench) => {
      const [, b] = await both(bench);
      const job = busy(bench, b, true);
      let removed = 0;
      b.on('removed', () => removed++);
      await job.goesOn();
      ip('link del v0');
      await bench.until('lost', () => removed === 1);
      assert.equal(b.link.up, false);
      await job.goesOn();
      assert.ok(bench.logged.some((line) => /port 1 lost its interface v1, which was deleted/.test(line)));
      bench.eal.lcores.stop(1);
      bench.eal.lcores.wait(1);
      b.stop();
      assert.throws(() => b.start(), { code: 'ESTATE', message: /lost its interface v1.*detach the port/ });
      assert.equal(removed, 1);
    }),
  'an interface that is renamed stays the port’s': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      ip('link set v1 down', 'link set v1 name w1', 'link set w1 up');
      await bench.until('up', () => b.link.up);
      bench.send(a, frames(2));
      await bench.receive(b, 2, isOurs);
      b.setMtu(1400);
      assert.equal(textOf('w1', 'mtu'), '1400');
      assert.match(b.info().privateInfo.join(), /w1/);
    }),
  'address, promiscuous and allmulticast mode are the interface’s; modes are given back at the end': () =>
    withBench(VETH, async (bench) => {
      const [a, b] = await both(bench);
      b.setPromiscuous(true);
      b.setAllmulticast(true);
      assert.equal(flagsOf('v1') & 0x300, 0x300);
      assert.ok(b.info().promiscuous && b.info().allmulticast);
      b.setPromiscuous(false);
      assert.equal(flagsOf('v1') & 0x300, 0x200);
      b.filters.setDefaultMac('02:00:00:00:00:77');
      assert.equal(textOf('v1', 'address'), '02:00:00:00:00:77');
      assert.equal(b.mac, '02:00:00:00:00:77');
      assert.throws(() => b.filters.setDefaultMac('01:00:00:00:00:77'), { code: 'ESYSTEM', message: /unicast/ });
      assert.throws(() => b.filters.addMacAddress('02:00:00:00:00:78'), { code: 'ECONFIG', message: /one address/ });
      assert.throws(() => b.filters.setMulticastList(['01:00:5E:00:00:01']), { message: /allmulticast/ });
      assert.throws(() => b.filters.setVlanFilter(5, true), { message: /cannot filter VLANs/ });
      assert.match(b.lacks('rss')!, /kernel spreads/);
      b.close();
      assert.equal(flagsOf('v1') & 0x300, 0);
      void a;
    }),
  'interrupts: the descriptor is readable while packets wait, and an interface that goes down is no interrupt for ever':
    () =>
      withBench(VETH, async (bench) => {
        const [a, b] = await both(bench, '', { rxInterrupts: true });
        const { interrupt } = b.rx(0);
        const fd = b.interrupts.rxFd(0)!;
        assert.equal(interrupt!.fd, fd);
        assert.equal(b.interrupts.rxFd(1), undefined);
        await bench.receive(b, 0, isOurs);
        await bench.until('quiet', () => (b.rx(0).recv(new Uint32Array(8), 0), !interrupt!.enable()));
        bench.send(a, frames(2));
        assert.equal(pollFd(fd, POLLIN, 1000), POLLIN);
        assert.ok(interrupt!.drain() && interrupt!.enable());
        await bench.receive(b, 2, isOurs);
        ip('link set v1 down');
        assert.equal(pollFd(fd, POLLIN, 1000) & POLLERR, POLLERR);
        assert.equal(interrupt!.drain(), false);
        assert.equal(pollFd(fd, POLLIN, 0), 0);
        b.stop();
        assert.equal(interrupt!.fd, undefined);
        assert.equal(interrupt!.enable() || interrupt!.drain(), false);
      }),
  'refusals: no such interface, no Ethernet, mbufs that are too small, more queues than qpairs, a number twice': () =>
    withBench([...VETH, 'tuntap add dev u0 mode tun'], async (bench) => {
      const no = (args: string, code: string, says: RegExp, config?: object) =>
        refused(bench, `net_af_packet0,${args}`, code, says, config);
      await no('iface=nowhere', 'ECONFIG', /there is no interface nowhere.*ip link/);
      await no('iface=u0', 'ECONFIG', /u0 is no Ethernet interface/);
      await no('iface=v0,blocksz=4096,framesz=4096', 'ECONFIG', /do not fit into an mbuf of 2048 bytes/);
      await no('iface=v0', 'ECONFIG', /nb_rx_queues=2 > 1/, { rxQueues: 2 });
      await no('iface=v0,qdisc_bypass=2', 'EDEVARGS', /qdisc_bypass=2/);
      await bench.port('net_af_packet0,iface=v0,qdisc_bypass=0');
      await no('iface=v1', 'ECONFIG', /attached already/);
    }),
  'without CAP_NET_RAW: a sentence that says so': () =>
    withBench(VETH, () => {
      const program =
        "import('./driver/index.ts').then(async ({ attach, createEal }) => { const eal = createEal({ noHuge: true, memoryMiB: 8, pinMain: false, log() {} }); await attach(eal, 'net_af_packet0,iface=v0').catch((error) => console.log(error.code, error.message)); eal.close(); })";
      const drop = ['--bounding-set', '-net_raw', '--inh-caps', '-net_raw'];
      const node = [process.execPath, '--import', './tools/ts.mjs', '-e', program];
      const { stdout, stderr } = spawnSync('setpriv', [...drop, ...node], { encoding: 'utf8' });
      assert.match(stdout, /^ESYSTEM a packet socket cannot be opened .*CAP_NET_RAW/, stderr);
      return Promise.resolve();
    }),
};

/** The kernel sends a UDP packet to 10.9.0.2. */
async function fromKernel(byteLength: number): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve, reject) =>
    socket.send('x'.repeat(byteLength), 9, '10.9.0.2', (error) => (error ? reject(error) : resolve())),
  );
  await new Promise<void>((resolve) => socket.close(resolve));
}
