/** The examples with ports at both ends of a socket, each as a process of its own: our virtio_user ports are its guests. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { createEal } from '../../driver/eal/eal.js';
import { attach } from '../../driver/port/attach.js';
import type { Port } from '../../driver/port/port.js';
import { packetFrom, readPacket } from '../../paths/mbuf.js';
import type { Mempool } from '../../paths/mempool.js';
import type { Peer } from '../../tools/bench/common/peer.js';
import { pcapFile } from '../driver/vdevs/support/captures.js';
import { readAll } from '../driver/vdevs/support/read-all.js';
import { needs } from '../support/needs.js';
import { eventually, startPeer, temporaryDirectory } from '../support/peers.js';
import { configureTap, ping, pongTo, TAP_LAUNCHER, TAP_MAC, whyNoTap } from '../support/tap.js';

const tapTest = needs(whyNoTap());
const root = fileURLToPath(new URL('../..', import.meta.url));
const nodeOf = (name: string, ...argv: readonly string[]) => [
  process.execPath,
  ...['--import', './tools/ts.mjs', join(root, 'docs/examples', name), ...argv],
];
const VM_MAC = [2, 0, 0, 0, 0, 9];
/** An Ethernet frame of `length` bytes that says which one it is. */
const frame = (to: readonly number[], from: readonly number[], tag: number, length = 60) =>
  Uint8Array.from({ length }, (_, i) => [...to, ...from, 0x88, 0xb5, tag >> 8, tag & 0xff][i] ?? (tag + i) & 0xff);

/** A virtual machine: a virtio_user port, polled by hand. */
class Guest {
  private readonly pkts = new Uint32Array(32);

  constructor(
    private readonly port: Port,
    private readonly pool: Mempool,
  ) {}

  get isUp(): boolean {
    return this.port.link.up;
  }

  send(bytes: Uint8Array): boolean {
    this.pkts[0] = packetFrom(this.pool, bytes);
    if (this.port.tx(0).xmit(this.pkts, 1) === 1) return true;
    this.pool.free(this.pkts[0]);
    return false;
  }

  receive(): Uint8Array[] {
    const n = this.port.rx(0).recv(this.pkts, 32);
    const packets = [...this.pkts.subarray(0, n)].map((m) => readPacket(this.pool, m));
    this.pool.freeBulk(this.pkts, 0, n);
    return packets;
  }
}

/** Boots a guest on each socket of a running example. */
async function boot(t: ExecutionContext, example: Peer, sockets: readonly string[]): Promise<Guest[]> {
  const eal = createEal({ noHuge: true, memoryMiB: 32, pinMain: false, log: () => undefined });
  t.teardown(() => eal.close());
  const mempool = eal.createMempool({ count: 4096 });
  const listening = () => {
    if (example.ended !== undefined) throw new Error(`${example.name} ended: ${example.output}`);
    // of its network namespace; the flag says that somebody listens
    const unix = readFileSync(`/proc/${example.pid}/net/unix`, 'utf8').split('\n');
    return sockets.every((socket) => unix.some((line) => line.includes(' 00010000 ') && line.endsWith(` ${socket}`)));
  };
  await eventually('the sockets', listening, Boolean, 60_000);
  const ports = sockets.map(async (socket, i) => {
    const port = await attach(eal, `net_virtio_user${i},path=${socket}`, { log: () => undefined });
    port.configure({ mempool });
    port.start();
    return port;
  });
  const guests = (await Promise.all(ports)).map((port) => new Guest(port, eal.mempool(mempool)));
  await eventually('the links', () => guests.every(({ isUp }) => isUp), Boolean, 60_000);
  return guests;
}

/** Sends again and again until `to` has received what `good` likes. */
function passes(what: string, from: Guest, bytes: Uint8Array, to: Guest, good: (packet: Uint8Array) => boolean) {
  const turn = () => {
    from.send(bytes);
    return to.receive().find(good);
  };
  return eventually(what, turn, (packet) => packet !== undefined, 60_000);
}

const same = (a: Uint8Array) => (b: Uint8Array) => Buffer.compare(a, b) === 0;

async function ends(t: ExecutionContext, example: Peer): Promise<void> {
  process.kill(example.pid, 'SIGTERM');
  t.is(await example.end(), 'exit code 0', example.output);
}

test.serial('replay.ts waits for a guest, sends it the whole file, and ends', async (t) => {
  const directory = temporaryDirectory(t);
  const [file, socket] = [join(directory, 'in.pcap'), join(directory, 's')];
  const packets = Array.from({ length: 700 }, (_, i) => frame(TAP_MAC, VM_MAC, i, 60 + ((i * 37) % 1400)));
  writeFileSync(file, pcapFile(packets));
  const [node, ...argv] = nodeOf('replay.ts', file, socket);
  const replay = startPeer(t, 'replay.ts', node!, argv);
  const [guest] = await boot(t, replay, [socket]);
  const got: Uint8Array[] = [];
  // without the event loop: the packets of a back-end that has gone are gone too
  for (const deadline = Date.now() + 60_000; got.length < packets.length && Date.now() < deadline;) {
    got.push(...guest!.receive());
  }
  t.deepEqual(got.map((bytes) => Buffer.from(bytes)), packets.map((bytes) => Buffer.from(bytes))); // prettier-ignore
  t.is(await replay.end(), 'exit code 0', replay.output);
  t.regex(replay.output, /700 packets/);
});

test.serial('logger.ts forwards both ways, and writes what passes', async (t) => {
  const directory = temporaryDirectory(t);
  const out = join(directory, 'out.pcap');
  const sockets = ['a', 'b'].map((name) => join(directory, name));
  const devices = sockets.map((socket, i) => `net_vhost${i},iface=${socket}`);
  const [node, ...argv] = nodeOf('logger.ts', ...devices, out);
  const logger = startPeer(t, 'logger.ts', node!, argv);
  const [a, b] = (await boot(t, logger, sockets)) as [Guest, Guest];
  const [there, back] = [frame(TAP_MAC, VM_MAC, 1, 1514), frame(VM_MAC, TAP_MAC, 2)];
  t.deepEqual(await passes('there', a, there, b, () => true), there);
  t.deepEqual(await passes('and back', b, back, a, () => true), back);
  await ends(t, logger);
  const { packets, trouble } = readAll(out);
  t.is(trouble, undefined);
  t.true(packets.some(same(there)) && packets.some(same(back)));
  t.true(packets.every((packet) => same(there)(packet) || same(back)(packet)));
});

test.serial('hub.ts hands a packet of one guest to all others, on one socket', async (t) => {
  const socket = join(temporaryDirectory(t), 's');
  const [node, ...argv] = nodeOf('hub.ts', socket);
  const hub = startPeer(t, 'hub.ts', node!, argv);
  const [a, b, c] = (await boot(t, hub, [socket, socket, socket])) as [Guest, Guest, Guest];
  const bytes = frame(TAP_MAC, VM_MAC, 3, 200);
  t.deepEqual(await passes('to the second', a, bytes, b, () => true), bytes);
  await eventually('to the third', () => c.receive(), (packets) => packets.some(same(bytes))); // prettier-ignore
  t.deepEqual(a.receive(), [], 'not back');
  await ends(t, hub);
  t.regex(hub.output, /^guest \d+ sent [1-9]/m);
});

/** What an interface of another process's namespace has received, by /proc/net/dev. */
function received(pid: number, name: string): number {
  const line = readFileSync(`/proc/${pid}/net/dev`, 'utf8').split('\n').find((one) => one.trim().startsWith(name)); // prettier-ignore
  return Number(line?.trim().split(/[\s:]+/)[2]);
}

tapTest.serial('bridge.ts: a guest pings the kernel; what is for its own side stays there', async (t) => {
  const socket = join(temporaryDirectory(t), 's');
  const [command, ...argv] = [...TAP_LAUNCHER, ...nodeOf('bridge.ts', socket, 't0')];
  const bridge = startPeer(t, 'bridge.ts', command!, argv);
  const [guest] = (await boot(t, bridge, [socket])) as [Guest];
  configureTap(bridge.pid, '02:00:00:00:00:09', [9, 10, 11, 12]);
  const answer = await passes('an answer', guest, ping(VM_MAC, 9), guest, (packet) => pongTo(packet) === 9);
  t.deepEqual([...answer!.subarray(0, 12)], [...VM_MAC, ...TAP_MAC]);
  const other = [2, 0, 0, 0, 0, 8];
  /** Sends packets, and a ping behind them. @returns how many of all of them came to the kernel, once it has answered */
  const reaching = async (x: number, ...packets: readonly Uint8Array[]) => {
    const before = received(bridge.pid, 't0');
    for (const packet of [...packets, ping(VM_MAC, x)]) t.true(guest.send(packet));
    const answered = (got: readonly Uint8Array[]) => got.some((packet) => pongTo(packet) === x);
    await eventually('an answer', () => guest.receive(), answered);
    return received(bridge.pid, 't0') - before;
  };
  await reaching(10); // pings from before are through
  t.is(await reaching(11, frame([255, 255, 255, 255, 255, 255], other, 4)), 2, 'now the bridge knows where `other` is');
  t.is(await reaching(12, frame(other, VM_MAC, 5), frame(other, VM_MAC, 6)), 1, 'the ping alone');
  await ends(t, bridge);
});
