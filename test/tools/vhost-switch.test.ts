/** The switch: its table of addresses, where packets go, its command line and its signals. */
import { spawnSync } from 'node:child_process';
import { existsSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import type { VhostDevice } from '../../driver/vhost/index.js';
import { createRegion, destroyRegion } from '../../native/region.js';
import { createMempool, Mempool } from '../../paths/mempool.js';
import { AGEING_SECONDS, TABLE_SIZE, ForwardingTable } from '../../tools/vhost-switch/forwarding-table.js';
import { flowHash } from '../../tools/vhost-switch/flow-hash.js';
import { parseOptions } from '../../tools/vhost-switch/options.js';
import { statsScreen } from '../../tools/vhost-switch/stats-screen.js';
import { Switch } from '../../tools/vhost-switch/switch.js';
import { startPeer, temporaryDirectory } from '../support/peers.js';

test('addresses: learnt, moved, aged, never groups, forgotten with their port', (t) => {
  const table = new ForwardingTable();
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
      const table = new ForwardingTable();
      for (let i = 0; i < TABLE_SIZE * 2; i++) table.learn(0x0200, (i * 2654435761) >>> 0, 1, 1);
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
  /** By packet of `gets`: the ring it came to. */
  readonly rxQueues: number[] = [];
  numberOfQueues = 2;
  readonly path = '/tmp/fake';
  room = Infinity;
  /** By ring: packets that count as dropped for what the guest wrote. */
  refused: number[] = [];

  constructor(
    readonly id: number,
    readonly pool: Mempool,
  ) {}

  isRunning(): boolean {
    return true;
  }

  dropped(queue: number): number {
    return this.refused[queue] ?? 0;
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
      this.rxQueues.push(_queue);
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

test('floods to guests without room: what is dropped and what is successful add up to what was sent', (t) => {
  const leaked = withSwitch(false, 4, (fabric, [a, b, c, d]) => {
    b!.room = c!.room = 0;
    d!.room = 3;
    for (let i = 0; i < 40; i++) a!.send(255, 1);
    fabric.turn(0);
    fabric.turn(0);
    const port = fabric.ports[0]!;
    // three of each burst of 32 and 8 reached one guest of three
    t.deepEqual([port.txTotal, port.txDropped], [40, 34]);
    const screen = statsScreen(fabric.ports);
    for (const [, total, dropped, successful] of screen.matchAll(
      /total: \t\t(\d+)\n.*dropped: \t\t(\d+)\n.*successful: \t\t(\d+)/g,
    )) {
      t.is(Number(dropped) + Number(successful), Number(total));
    }
    t.notRegex(screen, /-\d/);
  });
  t.is(leaked, 0);
});

test('a packet for nobody is dropped, not successful', (t) => {
  const leaked = withSwitch(false, 1, (fabric, [a]) => {
    a!.send(255, 1);
    fabric.turn(0);
    const { txTotal, txDropped } = fabric.ports[0]!;
    t.deepEqual([txTotal, txDropped], [1, 1]);
  });
  t.is(leaked, 0);
});

test('what a guest wrote wrong is on the screen: chains that are no packets, packets that fit no buffers', (t) => {
  const leaked = withSwitch(false, 2, (fabric, [a, b]) => {
    a!.refused = [0, 5];
    b!.refused = [1, 0];
    a!.send(255, 1);
    fabric.turn(0);
    const screen = statsScreen(fabric.ports);
    t.regex(screen, /TX total: \t\t6\nTX dropped: \t\t5\nTX successful: \t\t1\n/);
    t.regex(screen, /RX total: \t\t1\nRX dropped: \t\t1\nRX successful: \t\t0\n/);
  });
  t.is(leaked, 0);
});

test('flows are spread over all Rx queues of a guest, each flow stays in one', (t) => {
  const leaked = withSwitch(false, 2, (fabric, [a, b]) => {
    b!.numberOfQueues = 8;
    fabric.refresh(b as unknown as VhostDevice);
    for (let round = 0; round < 3; round++) {
      for (let from = 1; from <= 60; from++) a!.send(255, from);
      fabric.turn(0);
      fabric.turn(0);
    }
    const queues = new Map<string, Set<number>>();
    b!.gets.forEach((packet, i) => {
      const seen = queues.get(packet) ?? new Set();
      queues.set(packet, seen.add(b!.rxQueues[i]!));
    });
    t.is(queues.size, 60);
    t.true([...queues.values()].every((seen) => seen.size === 1));
    t.deepEqual([...new Set(b!.rxQueues)].sort(), [0, 2, 4, 6]);
  });
  t.is(leaked, 0);
});

test('the hash of a flow: ports count for TCP and UDP, not for fragments, nothing beyond the packet is read', (t) => {
  const frame = (change: (bytes: Uint8Array) => void, length = 60) => {
    const bytes = new Uint8Array(length + 64).fill(0xee, length);
    bytes.set([0x08, 0x00, 0x45], 12);
    bytes[23] = 17;
    bytes.set([10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2], 26);
    change(bytes);
    return flowHash(bytes, 0, length);
  };
  const plain = frame(() => {});
  t.is(
    frame(() => {}),
    plain,
  );
  t.not(
    frame((b) => (b[37] = 9)),
    plain,
    'a port',
  );
  t.not(
    frame((b) => (b[29] = 9)),
    plain,
    'an address',
  );
  t.is(
    frame((b) => (b[5] = 9)),
    plain,
    'no MAC address',
  );
  const fragment = (port: number) =>
    frame((b) => {
      b[20] = 0x20;
      b[37] = port;
    });
  t.is(fragment(1), fragment(2));
  const other = (port: number) =>
    frame((b) => {
      b[23] = 1;
      b[37] = port;
    });
  t.is(other(1), other(2), 'ICMP has no ports');
  const short = (filler: number) => frame((b) => b.fill(filler, 36), 36);
  t.is(short(1), short(2), 'ports that were cut off');
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
    [[], /--socket-file is missing/],
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

test('the program: a socket file that another program has put in the place of its own stays', async (t) => {
  const path = join(temporaryDirectory(t), 's');
  const first = startPeer(t, 'vhost-switch', process.execPath, [...main, '--socket-file', path]);
  await first.waitFor(/binding succeeded/);
  unlinkSync(path);
  const second = startPeer(t, 'vhost-switch', process.execPath, [...main, '--socket-file', path]);
  await second.waitFor(/binding succeeded/);
  process.kill(first.pid, 'SIGTERM');
  t.is(await first.end(), 'exit code 0');
  t.true(existsSync(path), "the second one's socket is still there");
  process.kill(second.pid, 'SIGTERM');
  t.is(await second.end(), 'exit code 0');
  t.false(existsSync(path));
});

test('the program: --client on a path that can never work ends with a sentence; on one that may, it waits', async (t) => {
  const directory = temporaryDirectory(t);
  const file = join(directory, 'file');
  writeFileSync(file, '');
  const run = (path: string) =>
    spawnSync(process.execPath, [...main, '--client', '--socket-file', path], { encoding: 'utf8', timeout: 60_000 });
  for (const [path, says] of [
    [file, /it is no socket/],
    [directory, /it is no socket/],
    [join(directory, 'missing', 's'), /there is no directory/],
    [join(file, 's'), /ENOTDIR|not a directory/i],
    [join(directory, 'x'.repeat(120)), /107 bytes/],
  ] as const) {
    const { status, stderr } = run(path);
    t.is(status, 1, path);
    t.regex(stderr, /^error\[ESOCKET\]: [^\n]*\n$/);
    t.regex(stderr, says);
  }
  const waiting = startPeer(t, 'vhost-switch', process.execPath, [
    ...main,
    '--client',
    '--socket-file',
    join(directory, 's'),
  ]);
  await waiting.waitFor(/reconnecting/);
  process.kill(waiting.pid, 'SIGTERM');
  t.is(await waiting.end(), 'exit code 0');
});

test('the program: filters that a port on it has, as the README says', async (t) => {
  const path = join(temporaryDirectory(t), 's');
  const peer = startPeer(t, 'vhost-switch', process.execPath, [...main, '--socket-file', path]);
  await peer.waitFor(/binding succeeded/);
  const commands = [
    'set promisc 0 on',
    'set allmulti 0 on',
    'mac_addr add 0 02:00:00:00:00:09',
    'vlan set filter on 0',
    'quit',
  ];
  const args = ['--import', './tools/ts.mjs', 'tools/testpmd/main.ts', '--no-pci'];
  const port = ['--vdev', `net_virtio_user0,path=${path},cq=1`, '--', '-i'];
  const { stdout, stderr } = spawnSync(process.execPath, [...args, ...port], {
    encoding: 'utf8',
    input: `${commands.join('\n')}\n`,
    timeout: 120_000,
  });
  t.regex(stdout, /set promisc 0 on\n(testpmd> )?set allmulti 0 on\n(testpmd> )?mac_addr/);
  t.regex(stdout + stderr, /VIRTIO_NET_F_CTRL_MAC_ADDR is not offered/);
  t.regex(stdout + stderr, /VIRTIO_NET_F_CTRL_VLAN is not offered/);
  process.kill(peer.pid, 'SIGTERM');
  t.is(await peer.end(), 'exit code 0');
});
