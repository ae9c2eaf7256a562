/** The switch: its table of addresses, where packets go, its command line and its signals. */
import { spawnSync } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { VhostDevice } from '../driver/vhost/index.js';
import { createRegion, destroyRegion } from '../native/region.js';
import { createMempool, Mempool } from '../paths/mempool.js';
import { AGEING_SECONDS, MAC_TABLE_SIZE, MacTable } from '../tools/vhost-switch/mac-table.js';
import { parseOptions } from '../tools/vhost-switch/options.js';
import { statsScreen } from '../tools/vhost-switch/stats-screen.js';
import { Switch } from '../tools/vhost-switch/switch.js';
import { startPeer, temporaryDirectory } from './support/peers.js';

test('addresses: learnt, moved, aged, never groups, forgotten with their port', (t) => {
  const table = new MacTable();
  t.is(table.lookup(0x0200, 1, 0), -1);
  table.learn(0x0200, 1, 3, 0);
  t.is(table.lookup(0x0200, 1, AGEING_SECONDS - 1), 3);
  t.is(table.lookup(0x0200, 1, AGEING_SECONDS), -1);
  table.learn(0x0200, 1, 4, 10);
  t.is(table.lookup(0x0200, 1, AGEING_SECONDS), 4);
  table.learn(0x0100, 1, 5, 10);
  t.is(table.lookup(0x0100, 1, 10), -1);
  t.is(table.lookup(0xffff, 0xffffffff, 10), -1);
  table.learn(0, 0, 6, 10);
  t.is(table.lookup(0, 0, 10), 6, 'the address of all zeros is one like others');
  table.forget(4);
  t.is(table.lookup(0x0200, 1, 10), -1);
});

test('a flood of addresses stays within the table and pushes out the oldest', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat(0xffffffff), { minLength: 1, maxLength: 200 }), (lows) => {
      const table = new MacTable();
      for (let i = 0; i < MAC_TABLE_SIZE * 2; i++) table.learn(0x0200, (i * 2654435761) >>> 0, 1, 1);
      lows.forEach((low, i) => table.learn(0x0600, low, i % 8, 2 + i));
      // the last eight are younger than whatever else there is, so each has a place
      return lows.slice(-8).every((low, i, last) => {
        const port = (lows.length - last.length + last.lastIndexOf(low)) % 8;
        return table.lookup(0x0600, low, 300) === port && i >= 0;
      });
    }),
    { numRuns: 20 },
  );
  t.pass();
});

/** A device whose guest is two arrays. */
class FakeDevice {
  readonly sends: number[] = [];
  readonly gets: string[] = [];
  readonly rings = [0, 1];
  readonly path = '/tmp/fake';
  room = Infinity;

  constructor(
    readonly id: number,
    readonly pool: Mempool,
  ) {}

  isRunning(): boolean {
    return true;
  }

  dequeueBurst(_queue: number, _pool: Mempool, pkts: Uint32Array, n: number): number {
    const taken = this.sends.splice(0, n);
    pkts.set(taken);
    return taken.length;
  }

  enqueueBurst(_queue: number, pool: Mempool, pkts: Uint32Array, n: number): number {
    const taken = Math.min(n, this.room);
    for (let i = 0; i < taken; i++) {
      const at = pool.dataStart(pkts[i]!);
      this.gets.push(`${pool.u8[at + 5]}<-${pool.u8[at + 11]}`);
    }
    return taken;
  }

  /** A packet from address `from` to `to` (255: broadcast). */
  send(to: number, from: number): void {
    const { pool } = this;
    const m = pool.get();
    pool.dataOff[m] = 128;
    pool.dataLen[m] = pool.pktLen[m] = 60;
    const at = pool.dataStart(m);
    pool.u8.fill(0, at, at + 60);
    pool.u8.fill(to === 255 ? 0xff : 0, at, at + 6);
    pool.u8[at] = to === 255 ? 0xff : 2;
    pool.u8[at + 5] = to;
    pool.u8[at + 6] = 2;
    pool.u8[at + 11] = from;
    this.sends.push(m);
  }
}

function withSwitch(loopback: boolean, guests: number, body: (fabric: Switch, devices: FakeDevice[]) => void): number {
  const mapping = createRegion('switch', 256 * 2176, false);
  const options = { name: 'switch', mapping, base: 0, count: 256, headroom: 128, dataRoom: 2048, cacheSize: 8 };
  const pool = new Mempool(createMempool({ ...options, deviceAddress: BigInt }), 0);
  const fabric = new Switch(pool, loopback);
  const devices = Array.from({ length: guests }, (_, id) => new FakeDevice(id, pool));
  for (const device of devices) fabric.add(device as unknown as VhostDevice);
  body(fabric, devices);
  const leaked = pool.inUse();
  destroyRegion(mapping);
  return leaked;
}

test('unknown and broadcast go everywhere but back, known ones to their port alone', (t) => {
  const leaked = withSwitch(false, 3, (fabric, [a, b, c]) => {
    a!.send(255, 1);
    fabric.turn(0);
    t.deepEqual([a!.gets, b!.gets, c!.gets], [[], ['255<-1'], ['255<-1']]);
    b!.send(1, 2);
    fabric.turn(0);
    t.deepEqual([a!.gets, c!.gets.length], [['1<-2'], 1]);
    c!.send(9, 3);
    fabric.turn(0);
    t.deepEqual([a!.gets.at(-1), b!.gets.at(-1)], ['9<-3', '9<-3']);
    // to an address on the sender's own port: nowhere
    a!.send(7, 1);
    a!.send(1, 7);
    fabric.turn(0);
    t.is(b!.gets.filter((packet) => packet === '1<-7').length, 0);
    // a guest that leaves takes its addresses with it
    fabric.remove(b as unknown as VhostDevice);
    a!.send(2, 1);
    fabric.turn(0);
    t.is(c!.gets.at(-1), '2<-1');
  });
  t.is(leaked, 0);
});

test('a guest without room loses its packets and nobody else does; they are counted', (t) => {
  const leaked = withSwitch(false, 3, (fabric, [a, b, c]) => {
    b!.room = 1;
    for (let i = 0; i < 40; i++) a!.send(255, 1);
    fabric.turn(0);
    fabric.turn(0);
    t.is(c!.gets.length, 40);
    t.is(b!.gets.length, 2);
    const port = fabric.ports[1]!;
    t.deepEqual([port.rxTotal, port.rxDropped], [40, 38]);
    t.regex(statsScreen(fabric.ports), /RX total: \t\t40\nRX dropped: \t\t38\nRX successful: \t\t2/);
  });
  t.is(leaked, 0);
});

test('a single port gets its own packets back', (t) => {
  const leaked = withSwitch(true, 1, (fabric, [a]) => {
    a!.send(5, 1);
    fabric.turn(0);
    t.deepEqual(a!.gets, ['5<-1']);
  });
  t.is(leaked, 0);
});

test('options: each mistake is one sentence that names it', (t) => {
  const socket = ['--socket-file', '/tmp/a'];
  t.like(parseOptions([...socket, '--socket-file', '/tmp/b', '--client', '--stats', '2', '-l', '1']), {
    socketFiles: ['/tmp/a', '/tmp/b'],
    client: true,
    stats: 2,
    cpu: 1,
    mergeable: true,
  });
  for (const [argv, says] of [
    [[], /--socket-file PATH is needed/],
    [['--bogus'], /--bogus/],
    [[...socket, '--stats', 'x'], /--stats x: a number from 0/],
    [[...socket, '--mergeable', '2'], /--mergeable 2/],
    [[...socket, '--queues', '0'], /--queues 0/],
    [[...socket, 'extra'], /unexpected argument 'extra'/],
    [[...socket, ...socket], /given twice/],
  ] as const) {
    t.throws(() => parseOptions(argv), { code: 'EOPTION', message: says });
  }
});

const main = ['--import', './tools/ts.mjs', 'tools/vhost-switch/main.ts'];

test('the program: help and version, exit 2 for a wrong option, exit 1 for a socket that exists', (t) => {
  const run = (...args: string[]) => spawnSync(process.execPath, [...main, ...args], { encoding: 'utf8' });
  t.regex(run('--help').stdout, /--socket-file PATH/);
  t.regex(run('--version').stdout, /^vhost-switch \(virtio-pmd\) \d+\.\d+\.\d+\n$/);
  const wrong = run('--bogus');
  t.is(wrong.status, 2);
  t.regex(wrong.stderr, /^error\[EOPTION\]: [^\n]*--bogus[^\n]*\n$/);
  const path = join(temporaryDirectory(t), 's');
  writeFileSync(path, '');
  const taken = run('--socket-file', path);
  t.is(taken.status, 1);
  t.regex(taken.stderr, /^error\[E\w+\]: failed to bind to [^\n]*remove it and try again\n$/);
});

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`the program: ${signal} removes the sockets and ends with exit code 0`, async (t) => {
    const directory = temporaryDirectory(t);
    const sockets = [join(directory, 'a'), join(directory, 'b')];
    const args = [...main, ...sockets.flatMap((path) => ['--socket-file', path]), '--stats', '1'];
    const peer = startPeer(t, 'vhost-switch', process.execPath, args);
    await peer.waitFor(/Device statistics/);
    t.true(sockets.every(existsSync));
    process.kill(peer.pid, signal);
    t.is(await peer.end(), 'exit code 0');
    t.false(sockets.some(existsSync));
  });
}
