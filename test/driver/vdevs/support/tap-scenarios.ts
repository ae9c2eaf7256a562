/** What is tried with net_tap, by title, in a network namespace: the other end is its kernel. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import type { Port } from '../../../../driver/port/port.js';
import * as O from '../../../../driver/port/types.js';
import { pollFd, POLLERR, POLLIN } from '../../../../native/event.js';
import {
  RTE_MBUF_F_RX_L4_CKSUM_MASK,
  RTE_MBUF_F_RX_L4_CKSUM_NONE,
  RTE_MBUF_F_RX_LRO,
  RTE_MBUF_F_TX_IPV4,
  RTE_MBUF_F_TX_TCP_CKSUM,
  RTE_MBUF_F_TX_TCP_SEG,
  RTE_MBUF_F_TX_UDP_CKSUM,
} from '../../../../paths/mbuf.js';
import { PacketHeaders, parseHeaders } from '../../../../paths/packet-headers.js';
import { isRight, udpPacket } from '../../../support/udp.js';
import { ping, pongTo, TAP_MAC } from '../../../support/tap.js';
import { frame, interfaces, ip, refused, withBench, type Bench } from './bench.js';
import type { BurstData } from './burst-job.js';

const JOB = new URL('./burst-job.js', import.meta.url);
const flagsOf = (name: string) => Number(readFileSync(`/sys/class/net/${name}/flags`, 'utf8'));
const textOf = (name: string, file: string) => readFileSync(`/sys/class/net/${name}/${file}`, 'utf8').trim();
const isUdp = (bytes: Uint8Array) => bytes[12] === 8 && bytes[13] === 0 && bytes[23] === 17;
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

/** Gives the kernel's end of a tap 10.9.0.1, and 10.9.0.2 to ours. */
function address(name: string, extra: readonly string[] = []): void {
  ip(`addr add 10.9.0.1/24 dev ${name}`, ...extra);
  neighbour(name);
}

/** Whose address the kernel need not ask for; an interface that goes down forgets it. */
function neighbour(name: string): void {
  ip(`neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev ${name}`);
}

/** The kernel sends a UDP packet to 10.9.0.2 from each of `flows` ports. */
async function fromKernel(flows = 1, byteLength = 64): Promise<void> {
  for (let flow = 0; flow < flows; flow++) {
    const socket = createSocket('udp4');
    await new Promise<void>((resolve) => socket.bind(20_000 + flow, resolve));
    await new Promise<void>((resolve, reject) =>
      socket.send('x'.repeat(byteLength), 9, '10.9.0.2', (error) => (error ? reject(error) : resolve())),
    );
    await new Promise<void>((resolve) => socket.close(resolve));
  }
}

/** A UDP packet for the kernel. */
const toKernel = (payload: string | Uint8Array, source = 7) =>
  udpPacket({
    source: { mac: 2, ip: 0x0a090002, port: source },
    destination: { mac: 1, ip: 0x0a090001, port: 9 },
    payload: typeof payload === 'string' ? new TextEncoder().encode(payload) : payload,
  });

/** What a UDP socket of the kernel gets while `act` runs. */
async function kernelGets(bench: Bench, count: number, act: () => void): Promise<string[]> {
  const socket = createSocket('udp4');
  const got: string[] = [];
  socket.on('message', (message) => got.push(message.toString('latin1')));
  await new Promise<void>((resolve) => socket.bind(9, '10.9.0.1', resolve));
  act();
  const event = bench.until(`${count} packets`, () => got.length >= count);
  await event.finally(() => new Promise<void>((resolve) => socket.close(resolve)));
  return got;
}

const MAC = ',mac=02:00:00:00:00:01';

export const scenarios: Readonly<Record<string, () => Promise<void>>> = {
  'the kernel answers pings; the tap is up while the port is started, and gone when it is closed': () =>
    withBench([], async (bench) => {
      const port = await bench.port(`net_tap0${MAC}`);
      assert.equal(port.mac, '02:00:00:00:00:01');
      assert.equal(textOf('dtap0', 'address'), '02:00:00:00:00:01');
      assert.equal(flagsOf('dtap0') & 1, 1);
      assert.ok(port.link.up);
      address('dtap0');
      const source = [2, 0, 0, 0, 0, 2];
      const requests = upTo(40).map(() => ping(source, 2));
      assert.deepEqual([...requests[0]!.subarray(0, 6)], TAP_MAC);
      assert.equal(bench.send(port, requests), 40);
      await bench.receive(port, 40, (bytes) => pongTo(bytes) === 2);
      const { ipackets, opackets, obytes, oerrors } = port.stats();
      assert.deepEqual([ipackets, opackets, obytes, oerrors], [40, 40, 40 * 74, 0]);
      port.stop();
      assert.equal(flagsOf('dtap0') & 1, 0);
      assert.equal(port.rx(0).recv(new Uint32Array(4), 4), 0);
      port.start();
      neighbour('dtap0');
      bench.send(port, requests);
      await bench.receive(port, 40, (bytes) => pongTo(bytes) === 2);
      port.close();
      assert.deepEqual(interfaces(), ['lo']);
    }),
  'names and addresses: dtap0 and the next, one of iface=, fixed addresses in order': () =>
    withBench([], async (bench) => {
      const [a, b] = [await bench.port('net_tap0,mac=fixed'), await bench.port('eth_tap1,mac=Fixed')];
      const c = await bench.port('net_tap2,iface=mine%d');
      assert.deepEqual(interfaces(), ['dtap0', 'dtap1', 'lo', 'mine0']);
      assert.deepEqual([a.mac, b.mac], ['02:64:74:61:70:30', '02:64:74:61:70:31']);
      assert.equal(c.mac.toLowerCase(), textOf('mine0', 'address'));
      assert.match(c.info().privateInfo.join(), /mine0/);
    }),
  'a packet of several segments, and one that needs several mbufs': () =>
    withBench([], async (bench) => {
      const port = await bench.port(`net_tap0${MAC}`, { rxOffloads: O.RX_OFFLOAD_SCATTER });
      address('dtap0');
      port.setMtu(9000);
      assert.equal(textOf('dtap0', 'mtu'), '9000');
      const payload = 'y'.repeat(8000);
      const got = await kernelGets(bench, 1, () => bench.send(port, [toKernel(payload)], { segmentSize: 333 }));
      assert.equal(got[0], payload);
      await fromKernel(3, 8000);
      const packets = await bench.receive(port, 3, isUdp);
      assert.deepEqual(packets.map(({ bytes, segments }) => [bytes.length, segments, isRight(bytes)]), [[8042, 4, true], [8042, 4, true], [8042, 4, true]]); // prettier-ignore
      bench.send(port, [frame(1, 200)], { segmentSize: 1 });
      assert.equal(port.stats().oerrors, 1); // 200 segments are too many
    }),
  'packets that do not fit are dropped and counted, those that are too long to send, and runts': () =>
    withBench([], async (bench) => {
      const port = await bench.port(`net_tap0${MAC}`);
      address('dtap0', ['link set dtap0 mtu 4000']);
      await fromKernel(2, 3000);
      await fromKernel(1, 2048 - 42);
      await fromKernel(1, 2048 - 41);
      assert.equal((await bench.receive(port, 1, isUdp))[0]!.bytes.length, 2048);
      assert.equal(port.stats().ierrors, 3);
      ip('link set dtap0 mtu 1500');
      await bench.until('the MTU is known', () => (port.link, port.info().mtu === 1500));
      await bench.until('too long', () => {
        bench.send(port, [frame(1, 1523)]);
        return port.stats().oerrors === 1;
      });
      bench.send(port, [frame(2, 1522), new Uint8Array(13), frame(3)]);
      assert.equal(port.stats().oerrors, 2);
    }),
  'an empty mempool: packets wait, and come when there are mbufs': () =>
    withBench(
      [],
      async (bench) => {
        const port = await bench.port(`net_tap0${MAC}`);
        address('dtap0');
        const { pool } = bench;
        const all = new Int32Array(64);
        assert.equal(pool.getBulk(all, 64), 64);
        await fromKernel(2);
        assert.equal(port.rx(0).recv(new Uint32Array(4), 4), 0);
        assert.ok(port.stats().rxNombuf >= 1);
        pool.putBulk(all, 64);
        await bench.receive(port, 2, isUdp);
      },
      { count: 64 },
    ),
  '1, 2 and 4 queues: every packet comes once, several queues get some, and all of them send': async () => {
    for (const queues of [1, 2, 4]) {
      await withBench([], async (bench) => {
        const port = await bench.port(`net_tap0${MAC}`, { rxQueues: queues });
        address('dtap0');
        await fromKernel(64);
        const packets = await bench.receive(port, 64, isUdp);
        assert.equal(new Set(packets.map(({ bytes }) => bytes[34]! * 256 + bytes[35]!)).size, 64);
        assert.equal(new Set(packets.map(({ queue }) => queue)).size, queues);
        const payloads = upTo(queues).map(String);
        const got = await kernelGets(bench, queues, () =>
          payloads.forEach((payload, queue) => bench.send(port, [toKernel(payload, 20 + queue)], { queue })),
        );
        assert.deepEqual(got.sort(), payloads);
        port.stop();
        port.configure({ mempool: bench.mempool, rxQueues: 1 });
        port.start();
        neighbour('dtap0');
        await fromKernel(16);
        await bench.receive(port, 16, isUdp);
      });
    }
  },
  'checksums: whole without offloads, unfinished and flagged with them': () =>
    withBench([], async (bench) => {
      const port = await bench.port(`net_tap0${MAC}`);
      address('dtap0');
      await fromKernel();
      const [whole] = await bench.receive(port, 1, isUdp);
      assert.ok(isRight(whole!.bytes));
      assert.equal(whole!.flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, 0);
      port.stop();
      const rxOffloads = O.RX_OFFLOAD_UDP_CKSUM;
      port.configure({ mempool: bench.mempool, rxOffloads, txOffloads: O.TX_OFFLOAD_UDP_CKSUM });
      port.start();
      neighbour('dtap0');
      await fromKernel();
      const [partial] = await bench.receive(port, 1, isUdp);
      assert.equal(partial!.flags & RTE_MBUF_F_RX_L4_CKSUM_MASK, RTE_MBUF_F_RX_L4_CKSUM_NONE);
      assert.ok(!isRight(partial!.bytes));
      const unfinished = toKernel('finished by the kernel');
      unfinished.fill(0, 40, 42);
      const dress = (m: number) => {
        bench.pool.olFlags[m] = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_UDP_CKSUM;
        bench.pool.l2Len[m] = 14;
        bench.pool.l3Len[m] = 20;
        assert.equal(port.tx(0).prepare(Uint32Array.of(m), 1), 1);
      };
      const got = await kernelGets(bench, 1, () => bench.send(port, [unfinished], { dress }));
      assert.deepEqual(got, ['finished by the kernel']);
    }),
  'TCP of two kernels through two taps, with segmentation and LRO: the data arrive whole, in packets of many segments':
    () =>
      withBench([], async (bench) => {
        const config = {
          rxOffloads: O.RX_OFFLOAD_TCP_CKSUM | O.RX_OFFLOAD_TCP_LRO | O.RX_OFFLOAD_SCATTER,
          txOffloads: O.TX_OFFLOAD_TCP_CKSUM | O.TX_OFFLOAD_TCP_TSO | O.TX_OFFLOAD_MULTI_SEGS,
        };
        const here = await bench.port(`net_tap0${MAC}`, config);
        const there = await bench.port('net_tap1,mac=02:00:00:00:00:02', config);
        address('dtap0');
        spawnSync('ip', ['netns', 'add', 'there']);
        const inThere = (...args: string[]) => ['netns', 'exec', 'there', ...args];
        let server: ChildProcess | undefined;
        try {
          ip('link set dtap1 netns there');
          for (const line of [
            'addr add 10.9.0.2/24 dev dtap1',
            'link set dtap1 up',
            'neigh replace 10.9.0.1 lladdr 02:00:00:00:00:01 dev dtap1',
          ]) {
            const { status, stderr } = spawnSync('ip', ['-n', 'there', ...line.split(' ')], { encoding: 'utf8' });
            assert.equal(status, 0, stderr);
          }
          await bench.until('the link of a tap in another namespace', () => there.link.up);
          const echo = "require('net').createServer((s) => s.pipe(s)).listen(9, () => console.log('ready'))";
          server = spawn('ip', inThere(process.execPath, '-e', echo), { stdio: ['ignore', 'pipe', 'inherit'] });
          await new Promise((resolve) => server!.stdout!.once('data', resolve));
          const size = 4 << 20;
          const client = `let n = 0; const size = ${size}; const data = Buffer.alloc(size, (_, i) => i); for (let i = 0; i < size; i++) data[i] = i * 7 >> 3; const s = require('net').connect(9, '10.9.0.2', () => s.end(data)); s.on('data', (d) => { if (!d.equals(data.subarray(n, n + d.length))) process.exit(2); n += d.length; }); s.on('close', () => process.exit(n === size ? 0 : 3))`;
          const run = spawn(process.execPath, ['-e', client], { stdio: 'inherit' });
          let code: number | null | undefined;
          run.on('exit', (status) => (code = status));
          const counts = { lro: 0 };
          for (const end = Date.now() + 30_000; code === undefined && Date.now() < end;) {
            const moved = forward(bench, here, there, counts) + forward(bench, there, here, counts);
            if (moved === 0) await new Promise((resolve) => setTimeout(resolve, 1));
            else await new Promise((resolve) => setImmediate(resolve));
          }
          if (code === undefined) run.kill('SIGKILL');
          assert.equal(code, 0);
          assert.ok(counts.lro > 10, `${counts.lro} packets of several segments`);
          assert.equal(here.stats().oerrors + there.stats().oerrors, 0);
          assert.throws(() => there.setMtu(1400), { code: 'ESYSTEM', message: /deleted, or renamed|ip link/ });
        } finally {
          server?.kill('SIGKILL');
          if (server !== undefined) await new Promise((resolve) => server!.once('close', resolve));
          there.close();
          spawnSync('ip', ['netns', 'del', 'there']);
        }
      }),
  'a tap that is deleted while an lcore sends and receives on it: the port is lost, in a sentence, and nobody spins':
    () =>
      withBench([], async (bench) => {
        const port = await bench.port(`net_tap0${MAC}`, { rxInterrupts: true });
        const { rx, tx } = port.spec();
        const counts = new SharedArrayBuffer(8);
        const data: BurstData = { rx: rx[0]!, tx: tx[0]!, send: true, counts };
        bench.eal.lcores.launch(1, JOB, 'bursts', data);
        const words = new Int32Array(counts);
        await bench.until('it runs', () => Atomics.load(words, 1) > 10);
        let removed = 0;
        port.on('removed', () => removed++);
        ip('link del dtap0');
        await bench.until('lost', () => removed === 1);
        const before = Atomics.load(words, 1);
        await bench.until('it goes on', () => Atomics.load(words, 1) > before + 10);
        assert.equal(port.link.up, false);
        assert.ok(
          bench.logged.some((line) => /port 0 lost its interface dtap0/.test(line)),
          bench.logged.join('\n'),
        );
        assert.match(port.rxQueueInfo(0).broken!, /its tap was deleted/);
        assert.equal(port.rx(0).interrupt!.fd, undefined);
        bench.eal.lcores.stop(1);
        bench.eal.lcores.wait(1);
        port.stop();
        assert.throws(() => port.start(), { code: 'ESTATE', message: /lost its interface/ });
      }),
  'the interface is set down and up: the link follows, packets count as errors meanwhile, and a rename changes nothing':
    () =>
      withBench([], async (bench) => {
        const port = await bench.port(`net_tap0${MAC}`);
        const told: string[] = [];
        port.on('link', ({ up }, why) => told.push(`${up} ${why}`));
        ip('link set dtap0 down');
        await bench.until('down', () => !port.link.up);
        assert.equal(bench.send(port, upTo(40).map((i) => frame(i))), 40); // prettier-ignore
        assert.deepEqual([port.stats().opackets, port.stats().oerrors], [0, 40]);
        ip('link set dtap0 name other', 'link set other up');
        await bench.until('up', () => port.link.up);
        address('other');
        await fromKernel(3);
        await bench.receive(port, 3, isUdp);
        assert.deepEqual(told, ['false dtap0 is down', 'true other is up']);
        port.stop();
        port.configure({ mempool: bench.mempool, rxQueues: 3 });
        port.start();
        assert.match(port.info().privateInfo.join(), /other.*queues,3/);
      }),
  'interrupts: the descriptor is readable while packets wait, and a tap that is deleted is no interrupt for ever': () =>
    withBench([], async (bench) => {
      const port = await bench.port(`net_tap0${MAC}`, { rxQueues: 2, rxInterrupts: true });
      address('dtap0');
      const { interrupt } = port.rx(0);
      assert.equal(port.interrupts.rxFd(2), undefined);
      assert.notEqual(port.interrupts.rxFd(0), port.interrupts.rxFd(1));
      const fd = interrupt!.fd!;
      assert.equal(fd, port.interrupts.rxFd(0));
      assert.equal(interrupt!.enable(), false);
      await fromKernel(32);
      assert.equal(pollFd(fd, POLLIN, 1000), POLLIN);
      assert.ok(interrupt!.drain() && interrupt!.enable());
      await bench.receive(port, 32, isUdp);
      assert.equal(interrupt!.drain() || interrupt!.enable(), false);
      ip('link del dtap0');
      assert.equal(pollFd(fd, POLLIN, 1000) & POLLERR, POLLERR);
      assert.equal(interrupt!.drain(), false);
      assert.equal(interrupt!.fd, undefined);
    }),
  'address and modes are the interface’s; a list of multicast addresses is taken, as everything is received anyway':
    () =>
      withBench([], async (bench) => {
        const port = await bench.port('net_tap0');
        port.setPromiscuous(true);
        port.setAllmulticast(true);
        assert.equal(flagsOf('dtap0') & 0x300, 0x300);
        port.filters.setDefaultMac('02:00:00:00:00:99');
        assert.deepEqual([port.mac, textOf('dtap0', 'address')], ['02:00:00:00:00:99', '02:00:00:00:00:99']);
        port.filters.setMulticastList(['01:00:5E:00:00:01']);
        assert.deepEqual(port.filters.multicastList, ['01:00:5E:00:00:01']);
      }),
  'an MTU that is configured is the interface’s, and stays over a reset; one that it has is the port’s': () =>
    withBench([], async (bench) => {
      const port = await bench.port('net_tap0', { mtu: 1400 });
      assert.deepEqual([port.info().mtu, textOf('dtap0', 'mtu')], [1400, '1400']);
      port.setMtu(1300);
      port.stop();
      port.reset();
      assert.deepEqual([port.info().mtu, textOf('dtap0', 'mtu')], [1300, '1300']);
      ip('link set dtap0 mtu 1200');
      port.configure({ mempool: bench.mempool, txFreeThresh: 16 });
      assert.equal(port.info().mtu, 1200);
      assert.throws(() => port.setMtu(9711), { code: 'ECONFIG' });
    }),
  'persist: the interface and its address stay; and a tap that exists is opened, as it is': () =>
    withBench([], async (bench) => {
      const first = await bench.port(`net_tap0,iface=stays,persist${MAC}`);
      address('stays');
      first.close();
      assert.deepEqual(interfaces(), ['lo', 'stays']);
      assert.equal(flagsOf('stays') & 1, 1);
      const second = await bench.port('net_tap0,iface=stays');
      assert.equal(second.mac, '02:00:00:00:00:01');
      neighbour('stays');
      await fromKernel();
      await bench.receive(second, 1, isUdp);
      second.close();
      assert.deepEqual(interfaces(), ['lo', 'stays']);
      assert.equal(flagsOf('stays') & 1, 0);
    }),
  'a tap without several queues has one': () =>
    withBench(['tuntap add dev single mode tap vnet_hdr'], async (bench) => {
      const port = await bench.port('net_tap0,iface=single');
      assert.deepEqual([port.info().maxRxQueues, port.info().maxTxQueues], [1, 1]);
    }),
  'refusals: a name that is taken, one of something else, other numbers of queues, LRO without scatter': () =>
    withBench(['link add v0 type veth peer name v1', 'tuntap add dev u0 mode tun'], async (bench) => {
      const no = (args: string, code: string, says: RegExp, config?: object) =>
        refused(bench, `net_tap0${args}`, code, says, config);
      await no(',iface=v0', 'ECONFIG', /v0 is an interface already, and not a tap/);
      await no(',iface=u0', 'ECONFIG', /u0 is an interface already, and not a tap/);
      await no(',iface=a/b', 'EDEVARGS', /cannot name an interface/);
      await no(',iface=sixteen-is-a-lot', 'EDEVARGS', /the kernel takes 15; choose a shorter one/);
      await no(',mac=01:00:00:00:00:01', 'EDEVARGS', /expected fixed, or a unicast MAC address/);
      await no(',remote=v0', 'EDEVARGS', /remote=v0 is not supported.*net_af_packet0,iface=v0/);
      await no('', 'ECONFIG', /1 Rx and 2 Tx queues cannot be/, { rxQueues: 1, txQueues: 2 });
      await no('', 'ECONFIG', /nb_rx_queues=17 > 16/, { rxQueues: 17 });
      await no('', 'ECONFIG', /TCP_LRO makes packets of up to 65557 bytes.*scatter/, {
        rxOffloads: O.RX_OFFLOAD_TCP_LRO,
      });
      await bench.port('net_tap1,iface=mine');
      await no(',iface=mine', 'ECONFIG', /mine is in use by another port or program/);
    }),
  'without CAP_NET_ADMIN: a sentence that says so': () =>
    withBench([], () => {
      const program =
        "import('./driver/index.ts').then(async ({ attach, createEal }) => { const eal = createEal({ noHuge: true, memoryMiB: 8, pinMain: false, log() {} }); await attach(eal, 'net_tap0').catch((error) => console.log(error.code, error.message)); eal.close(); })";
      const drop = ['--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
      const node = [process.execPath, '--import', './tools/ts.mjs', '-e', program];
      const { stdout, stderr } = spawnSync('setpriv', [...drop, ...node], { encoding: 'utf8' });
      assert.match(stdout, /^ESYSTEM a tap cannot be made .*CAP_NET_ADMIN/, stderr);
      return Promise.resolve();
    }),
};

const parsed = new PacketHeaders();
const pkts = new Uint32Array(32);

/** Passes on what came, and asks for what the sender left to do: checksums, and segmentation of long packets. */
function forward({ pool }: Bench, from: Port, to: Port, counts: { lro: number }): number {
  const n = from.rx(0).recv(pkts, 32);
  for (const m of pkts.subarray(0, n)) {
    const flags = pool.olFlags[m]!;
    pool.olFlags[m] = 0;
    if ((flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) !== RTE_MBUF_F_RX_L4_CKSUM_NONE) continue;
    parseHeaders(pool, m, parsed);
    pool.l2Len[m] = parsed.l2Len;
    pool.l3Len[m] = parsed.l3Len;
    pool.l4Len[m] = parsed.l4Len;
    pool.olFlags[m] = RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_TCP_CKSUM;
    if ((flags & RTE_MBUF_F_RX_LRO) === 0) continue;
    counts.lro++;
    pool.olFlags[m]! |= RTE_MBUF_F_TX_TCP_SEG;
  }
  assert.equal(to.tx(0).prepare(pkts, n), n);
  const sent = to.tx(0).xmit(pkts, n);
  pool.freeBulk(pkts, sent, n - sent);
  return n;
}
