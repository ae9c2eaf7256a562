/** net_pcap as a port: from file to file, files that cannot be used, and a process that is killed while it writes. */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { attach } from '../../../driver/port/attach.js';
import { beginFile, captureState, newCaptureState } from '../../../driver/vdevs/pcap/state.js';
import { troubleOf } from '../../../driver/vdevs/pcap/trouble.js';
import { CaptureWriter } from '../../../driver/vdevs/pcap/writer.js';
import { packetFrom, readPacket } from '../../../paths/mbuf.js';
import { ERRORS, PACKETS, STATS_COUNT } from '../../../paths/stats.js';
import { root } from '../../../tools/bench/common/peer.js';
import { eventually, isInstalled, temporaryDirectory } from '../../support/peers.js';
import { soon } from '../../support/wire.js';
import { packetOf, pcapFile, pcapngFile } from './support/captures.js';
import { readAll } from './support/read-all.js';
import { openIn, vdevEal, type EalOptions } from './support/vdev-ports.js';

const JOBS = new URL('./support/pass-on-job.js', import.meta.url);

/** An Eal, and a directory with a capture file `in`. */
function bench(t: ExecutionContext, packets: readonly Uint8Array[], options: EalOptions = {}) {
  const directory = temporaryDirectory(t);
  const [input, output] = [join(directory, 'in'), join(directory, 'out')];
  writeFileSync(input, pcapFile(packets));
  return { ...vdevEal(t, options), directory, input, output };
}

const some = Array.from({ length: 100 }, (_, i) => packetOf(14 + i * 13, i));

test.serial('from file to file: the same packets, counters, no descriptors and no mbufs left', async (t) => {
  const { eal, pool, start, input, output, directory } = bench(t, some);
  const port = await start(`net_pcap5,rx_pcap=${input},tx_pcap=${output}`);
  t.is(openIn(directory).length, 2);
  const pkts = new Uint32Array(32);
  for (let n; (n = port.rx(0).recv(pkts, 32)) > 0;) t.is(port.tx(0).xmit(pkts, n), n);
  const bytes = some.reduce((sum, packet) => sum + packet.length, 0);
  t.like(port.stats(), { ipackets: 100, ibytes: bytes, opackets: 100, obytes: bytes, ierrors: 0, oerrors: 0 });
  t.is(port.mac, '02:70:63:61:70:05');
  t.deepEqual(port.link, { up: true, speed: 10000 });
  t.is(pool.port[pkts[0]!], port.id);
  t.deepEqual(readAll(output).packets, some, 'written while the port is open');
  port.stop();
  t.deepEqual(openIn(directory), []);
  port.start();
  port.close();
  t.deepEqual(openIn(directory), []);
  t.deepEqual(eal.leaks(), []);
});

test.serial("the file's header is that of DPDK: nanoseconds, and a snapshot length of 65535", async (t) => {
  const { start, output } = bench(t, []);
  const before = BigInt(Date.now()) * 1_000_000n;
  const from = await start('net_null0');
  const port = await start(`net_pcap0,tx_pcap=${output}`);
  const pkts = new Uint32Array(1);
  from.rx(0).recv(pkts, 1);
  port.tx(0).xmit(pkts, 1);
  const file = readFileSync(output);
  t.is(file.subarray(0, 24).toString('hex'), '4d3cb2a1020004000000000000000000ffff000001000000');
  const time = BigInt(file.readUInt32LE(24)) * 1_000_000_000n + BigInt(file.readUInt32LE(28));
  t.true(time > before - 1_000_000_000n && time < before + 60_000_000_000n, 'the time is now');
  t.true(file.readUInt32LE(28) < 1e9);
});

test.serial(
  'a finished file stays finished; a port that is started again begins it again, and writes anew',
  async (t) => {
    const { start, receiveAll, pool, input, output } = bench(t, some);
    const port = await start(`net_pcap0,rx_pcap=${input},tx_pcap=${output}`);
    const told: unknown[] = [];
    port.on('queueState', (...args) => told.push(args));
    const lookedAgain = () => new Promise((resolve) => setTimeout(resolve, 120));
    await lookedAgain();
    t.deepEqual(told, []);
    t.deepEqual(receiveAll(port), some);
    t.deepEqual(receiveAll(port), []);
    await lookedAgain();
    t.deepEqual(told, [['rx', 0, false]], 'the end of the file, once');
    port.tx(0).xmit(Uint32Array.of(packetFrom(pool, some[3]!)), 1);
    t.is(readAll(output).packets.length, 1);
    port.stop();
    const changed = some.slice(0, 5).toReversed();
    writeFileSync(input, pcapngFile([{ kind: 'section', big: true }, { kind: 'interface', linktype: 1, snaplen: 0 }, ...changed.map((packet) => ({ kind: 'enhanced', id: 0, packet }) as const)])); // prettier-ignore
    port.start();
    t.is(statSync(output).size, 24);
    t.deepEqual(receiveAll(port), changed, 'another file of this name, even in the other format');
    t.is(port.stats().ipackets, 105, 'counters go on');
    await lookedAgain();
    t.is(told.length, 2, 'and again');
  },
);

test.serial(
  'configured anew with more and with fewer queues: files of the queues in use are open, and no others',
  async (t) => {
    const { mempool, start, receiveAll, directory, input, output } = bench(t, some);
    const port = await start(`net_pcap0,rx_pcap=${input},rx_pcap=${input},tx_pcap=${output},tx_pcap=${output}2`);
    for (const queues of [1, 2, 1]) {
      t.is(openIn(directory).length, 2 * queues);
      t.deepEqual(receiveAll(port, queues - 1), some);
      t.is(port.stats().ipackets, some.length, 'counters of these queues');
      port.stop();
      port.configure({ mempool, rxQueues: queues === 1 ? 2 : 1 });
      t.deepEqual(openIn(directory), []);
      port.start();
    }
    port.stop();
    port.reset();
    port.start();
    t.deepEqual(receiveAll(port, 1), some);
    port.close();
    t.deepEqual(openIn(directory), []);
  },
);

test.serial('packets longer than an mbuf have segments, and are written in one piece', async (t) => {
  const long = [packetOf(2048, 1), packetOf(2049, 2), packetOf(9000, 3), packetOf(65535, 4), packetOf(60, 5)];
  const { eal, pool, start, input, output } = bench(t, long);
  const port = await start(`net_pcap0,rx_pcap=${input},tx_pcap=${output}`);
  const pkts = new Uint32Array(8);
  t.is(port.rx(0).recv(pkts, 8), 5);
  t.deepEqual([...pkts.subarray(0, 5)].map((m) => pool.nbSegs[m]), [1, 2, 5, 32, 1]); // prettier-ignore
  t.deepEqual([...pkts.subarray(0, 5)].map((m) => Buffer.from(readPacket(pool, m))), long); // prettier-ignore
  t.is(port.tx(0).xmit(pkts, 5), 5);
  t.deepEqual(readAll(output).packets, long);
  const huge = packetFrom(pool, packetOf(70_000, 6));
  t.is(port.tx(0).xmit(Uint32Array.of(huge), 1), 1);
  t.deepEqual(readAll(output).packets[5], packetOf(65535, 6), 'as the snapshot length says');
  port.close();
  t.deepEqual(eal.leaks(), []);
});

test.serial('mbufs whose columns are wrong: nothing outside of them is read, and no loop is endless', async (t) => {
  const { pool, start, output } = bench(t, []);
  const port = await start(`net_pcap0,tx_pcap=${output}`);
  const last = pool.count - 1;
  const mbufs = Array.from({ length: pool.count }, () => pool.get());
  pool.dataOff[last] = 65535;
  pool.dataLen[last] = 65535;
  pool.pktLen[last] = 4000;
  t.is(port.tx(0).xmit(Uint32Array.of(last), 1), 1);
  const other = mbufs.find((m) => m !== last)!;
  pool.next[other] = other; // a circle
  pool.pktLen[other] = 100;
  pool.dataLen[other] = 0;
  t.is(port.tx(0).xmit(Uint32Array.of(other), 1), 1);
  const lengths = readAll(output).packets.map((packet) => packet.length);
  t.deepEqual(lengths, [4000, 100]);
});

test.serial('without mbufs the next packet waits: rx_nombuf counts, and nothing is lost', async (t) => {
  const packets = [packetOf(100, 1), packetOf(5000, 2), packetOf(100, 3)];
  const { eal, pool, start, receiveAll, input } = bench(t, packets, { count: 16 });
  const port = await start(`net_pcap0,rx_pcap=${input}`);
  const held = Array.from({ length: 14 }, () => pool.get());
  const pkts = new Uint32Array(4);
  t.is(port.rx(0).recv(pkts, 4), 1, 'the second one needs three mbufs');
  t.is(port.rx(0).recv(pkts.subarray(1), 3), 0);
  t.is(port.stats().rxNombuf, 2);
  pool.putBulk(Int32Array.from(held), 14);
  t.deepEqual(receiveAll(port), packets.slice(1));
  pool.freeBulk(pkts, 0, 1);
  t.deepEqual(eal.leaks(), []);
});

test.serial('infinite_rx=1: a file again and again, whatever its size', async (t) => {
  const { start, pool, input } = bench(t, some);
  const large = Array.from({ length: 300 }, (_, i) => packetOf(1400, i));
  writeFileSync(`${input}2`, pcapFile(large));
  writeFileSync(`${input}3`, pcapngFile([{ kind: 'section', big: true }, { kind: 'interface', linktype: 1, snaplen: 0 }, { kind: 'simple', packet: some[9]! }])); // prettier-ignore
  const files = [some, large, [some[9]!]];
  const port = await start(`net_pcap0,infinite_rx=1,rx_pcap=${input},rx_pcap=${input}2,rx_pcap=${input}3`, {
    ...{ rxQueues: 3, txQueues: 1 },
  });
  const pkts = new Uint32Array(64);
  for (const [queue, packets] of files.entries()) {
    let at = 0;
    for (let turn = 0; at < 1000; turn++) {
      t.true(turn < 2000);
      const n = port.rx(queue).recv(pkts, 64);
      for (const m of pkts.subarray(0, n))
        t.deepEqual(Buffer.from(readPacket(pool, m)), packets[at++ % packets.length]);
      pool.freeBulk(pkts, 0, n);
    }
  }
  t.is(port.rxQueueInfo(0).burstMode, 'eth_pcap_rx_infinite');
});

test.serial('infinite_rx=1 needs a packet that can be received', async (t) => {
  const { eal, input } = bench(t, []);
  const refused = { code: 'ECONFIG', message: /in: has no packets: infinite_rx=1 needs one at least/ };
  await t.throwsAsync(attach(eal, `net_pcap0,rx_pcap=${input},infinite_rx=1`), refused);
  writeFileSync(input, pcapFile([packetOf(13, 1)]));
  await t.throwsAsync(attach(eal, `net_pcap0,rx_pcap=${input},infinite_rx=1`), refused);
});

test.serial(
  'a file that loses its packets while it is received for ever: nothing more, and no endless loop',
  async (t) => {
    const { start, receiveAll, input, lines } = bench(t, some);
    const port = await start(`net_pcap0,rx_pcap=${input},infinite_rx=1`);
    port.stop();
    writeFileSync(input, pcapFile([packetOf(5, 1), packetOf(0, 2)]));
    port.start();
    t.deepEqual(receiveAll(port), []);
    t.like(port.stats(), { ierrors: 2 });
    t.deepEqual(lines, []);
  },
);

test.serial(
  'one Rx file: what is sent is dropped and counts as sent, as in DPDK; one Tx file: nothing is received',
  async (t) => {
    const { start, pool, input, output } = bench(t, some);
    const rx = await start(`net_pcap0,rx_pcap=${input},rx_pcap=${input}`, { rxQueues: 2 });
    t.is(rx.tx(1).xmit(Uint32Array.of(packetFrom(pool, some[7]!)), 1), 1);
    t.like(rx.stats(), { opackets: 1, obytes: some[7]!.length });
    t.is(rx.txQueueInfo(0).burstMode, 'eth_tx_drop');
    t.like(rx.info(), { maxRxQueues: 2, maxTxQueues: 2 });
    const tx = await start(`net_pcap1,tx_pcap=${output}`);
    t.is(tx.rx(0).recv(new Uint32Array(4), 4), 0);
    t.is(tx.rxQueueInfo(0).burstMode, 'eth_null_rx');
    tx.stop();
    t.throws(() => tx.configure({ mempool: pool.spec, rxQueues: 2 }), {
      code: 'ECONFIG',
      message: /nb_rx_queues=2 > 1/,
    });
    t.is(rx.tx(0).xmit(new Uint32Array(0), 0), 0);
  },
);

test.serial('runts and packets that are not Ethernet are dropped, and count as errors', async (t) => {
  const { start, receiveAll, input, lines } = bench(t, [packetOf(13, 1), packetOf(14, 2), packetOf(0, 3)]);
  const port = await start(`net_pcap0,rx_pcap=${input}`);
  t.deepEqual(receiveAll(port), [packetOf(14, 2)]);
  t.like(port.stats(), { ipackets: 1, ierrors: 2 });
  port.stop();
  const interfaces = [1, 113].map((linktype) => ({ kind: 'interface', linktype, snaplen: 0 }) as const);
  const packets = [0, 1, 1, 0].map((id, i) => ({ kind: 'enhanced', id, packet: packetOf(60, i) }) as const);
  writeFileSync(input, pcapngFile([{ kind: 'section', big: false }, ...interfaces, ...packets]));
  port.start();
  t.deepEqual(receiveAll(port), [packetOf(60, 0), packetOf(60, 3)]);
  t.like(port.stats(), { ipackets: 3, ierrors: 4 });
  port.stop();
  t.deepEqual(lines, [
    `warning: port 0: net_pcap0: rx_pcap=${input} has packets of interfaces that are not Ethernet: they are dropped, and counted as errors`,
  ]);
});

test.serial('a file that was cut: its packets, and one warning for each start', async (t) => {
  const { start, receiveAll, input, lines } = bench(t, some);
  writeFileSync(input, pcapFile(some).subarray(0, -1));
  const port = await start(`net_pcap0,rx_pcap=${input}`);
  t.deepEqual(receiveAll(port), some.slice(0, -1));
  await soon('the warning', () => lines.length, (n) => n > 0); // prettier-ignore
  for (let i = 0; i < 3; i++) t.true(port.link.up, 'looks again');
  const warning = `warning: port 0: net_pcap0: rx_pcap=${input} ends in the middle of a packet: what comes before it is received`;
  t.deepEqual(lines, [warning]);
  port.stop();
  port.start();
  t.deepEqual(receiveAll(port), some.slice(0, -1));
  port.stop();
  t.deepEqual(lines, [warning, warning]);
});

test.serial('files that cannot be used are refused when the port is attached, and none stays open', async (t) => {
  const { eal, directory, input, output } = bench(t, some);
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  mkdirSync(join(directory, 'd'));
  for (const [args, message] of [
    [`rx_pcap=${directory}/none`, /none: there is no such file: expected a capture file/],
    [`rx_pcap=${directory}/d`, /d: is a directory: expected a capture file/],
    [`rx_pcap=${directory}/fifo`, /fifo: is a FIFO: expected a capture file/],
    [`rx_pcap=${input},rx_pcap=${directory}/none`, /none: there is no such file/],
    [`rx_pcap=${input},tx_pcap=${directory}/d`, /d: is a directory: expected a file/],
    [`tx_pcap=${directory}/fifo`, /fifo: is a FIFO or a socket: expected a file/],
    [`tx_pcap=${directory}/none/out`, /out: its directory does not exist: make it first/],
    ['tx_pcap=/dev/full', /full: cannot be written to \(ENOSPC\): free some space, or name another file/],
    [`rx_pcap=${input},tx_pcap=${input}`, /in: is in use by this port already, and would be overwritten/],
    [`tx_pcap=${output},tx_pcap=${directory}/../${directory.split('/').at(-1)}/out`, /out: is in use by this port/],
  ] as const) {
    await t.throwsAsync(attach(eal, `net_pcap0,${args}`), { code: 'ECONFIG', message });
    t.deepEqual(openIn(directory), []);
  }
  t.deepEqual(readAll(input).packets, some, 'it was not emptied');
  const port = await attach(eal, `net_pcap0,rx_pcap=${input},tx_pcap=/dev/null`);
  t.deepEqual(openIn(directory), [], 'open while it is started');
  port.close();
});

test.serial('a FIFO with a reader does not take what is sent either', async (t) => {
  const { eal, directory } = bench(t, []);
  const fifo = join(directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const reader = openSync(fifo, 'r+');
  t.teardown(() => closeSync(reader));
  await t.throwsAsync(attach(eal, `net_pcap0,tx_pcap=${fifo}`), {
    code: 'ECONFIG',
    message: /is a FIFO: expected a file/,
  });
});

test.serial('a file that went away: start says so and leaves nothing open; later it works', async (t) => {
  const { start, receiveAll, directory, input, output } = bench(t, some);
  const port = await start(`net_pcap0,tx_pcap=${output},rx_pcap=${input}`);
  port.stop();
  rmSync(input);
  t.throws(() => port.start(), { code: 'ECONFIG', message: /in: there is no such file/ });
  t.false(port.started);
  t.deepEqual(openIn(directory), []);
  writeFileSync(input, pcapFile(some));
  port.start();
  t.deepEqual(receiveAll(port), some);
});

test.serial(
  'a file that is removed while it is written: a warning, tx_errors, and a new one at the next start',
  async (t) => {
    const { start, pool, output, lines } = bench(t, []);
    const port = await start(`net_pcap0,tx_pcap=${output}`);
    const send = () => port.tx(0).xmit(Uint32Array.of(packetFrom(pool, some[0]!)), 1);
    send();
    rmSync(output);
    await soon('the warning', () => lines.length, (n) => n > 0); // prettier-ignore
    t.is(send(), 1, 'the mbufs do not pile up');
    t.like(port.stats(), { opackets: 1, oerrors: 1 });
    t.deepEqual(lines, [
      `warning: port 0: net_pcap0: tx_pcap=${output} was removed: packets are dropped, and counted as errors, until the port is started again`,
    ]);
    port.stop();
    t.false(existsSync(output));
    port.start();
    send();
    t.is(readAll(output).packets.length, 1);
    t.like(port.stats(), { opackets: 2, oerrors: 1 });
  },
);

test.serial('a full disk: a sentence, errors, whole packets in the file, and it goes on when there is space', (t) => {
  const { pool, output } = bench(t, []);
  writeFileSync(output, pcapFile([]));
  const fds = ['/dev/full', output].map((path) => openSync(path, 'r+'));
  t.teardown(() => fds.forEach(closeSync));
  const state = captureState(newCaptureState());
  const stats = new Float64Array(STATS_COUNT);
  const writer = new CaptureWriter(state, pool, stats);
  const send = () => {
    const m = packetFrom(pool, some[50]!);
    writer.begin();
    writer.add(m);
    writer.add(m);
    writer.flush();
    pool.free(m);
  };
  beginFile(state, fds[0]!, 24);
  state.doubles[0] = 24;
  send();
  t.is(troubleOf(state), 'cannot be written to (ENOSPC): packets are dropped, and counted as errors, until it can');
  t.deepEqual([stats[PACKETS], stats[ERRORS]], [0, 2]);
  beginFile(state, fds[1]!, 24);
  state.doubles[0] = 24;
  send();
  t.deepEqual([stats[PACKETS], stats[ERRORS]], [2, 2]);
  t.deepEqual(readAll(output).packets, [some[50], some[50]]);
});

test.serial('a stream on an lcore from net_pcap to net_pcap, which another lcore continues', async (t) => {
  const packets = Array.from({ length: 5000 }, (_, i) => packetOf(60 + (i % 1400), i));
  const { eal, start, input, output } = bench(t, packets, { lcores: 3 });
  const from = await start(`net_pcap0,rx_pcap=${input}`);
  const to = await start(`net_pcap1,tx_pcap=${output}`);
  const job = { rx: from.spec().rx[0]!, tx: to.spec().tx[0]! };
  eal.lcores.launch(1, JOBS, 'passSome', { ...job, limit: 1000, burst: 7 });
  eal.lcores.wait(1);
  const passed = to.stats().opackets;
  t.true(passed >= 1000 && passed < 1007);
  eal.lcores.launch(2, JOBS, 'passSome', job);
  await soon('all packets', () => to.stats().opackets, (n) => n === 5000); // prettier-ignore
  eal.lcores.stop(2);
  eal.lcores.wait(2);
  from.close();
  to.close();
  t.deepEqual(readAll(output).packets, packets);
  t.deepEqual(eal.leaks(), []);
});

test.serial('ports are started and stopped while an lcore polls them', async (t) => {
  const { eal, start, directory, input, output } = bench(t, some, { lcores: 2 });
  const port = await start(`net_pcap0,rx_pcap=${input},tx_pcap=${output},infinite_rx=1`);
  const { rx, tx } = port.spec();
  eal.lcores.launch(1, JOBS, 'passSome', { rx: rx[0]!, tx: tx[0]! });
  for (let turn = 0; turn < 20; turn++) {
    const before = port.stats().opackets;
    await soon('packets', () => port.stats().opackets, (n) => n > before + 100); // prettier-ignore
    port.stop();
    t.deepEqual(openIn(directory), []);
    const { packets, trouble } = readAll(output);
    t.is(trouble, undefined);
    t.true(packets.length > 0);
    t.deepEqual(packets[0], some[0]);
    port.start();
  }
  port.close();
  t.is(port.stats().oerrors, 0);
});

test.serial('a process that is killed while it writes: the file has every burst that was sent', async (t) => {
  const directory = temporaryDirectory(t);
  const output = join(directory, 'out');
  const program = join(root, 'test/driver/vdevs/support/writing-program.ts');
  for (let turn = 0; turn < 2; turn++) {
    const said = join(directory, `said${turn}`);
    const args = ['--import', './tools/ts.mjs', program, output, said];
    const child = spawn(process.execPath, args, { cwd: root, stdio: 'ignore' });
    t.teardown(() => child.kill('SIGKILL'));
    const sentSoFar = () => (existsSync(said) ? Number(readFileSync(said, 'utf8')) : 0);
    await eventually('bursts', sentSoFar, (n) => n > 3000, 60_000);
    child.kill('SIGKILL');
    await once(child, 'close');
    const sent = sentSoFar();
    const { packets, trouble } = readAll(output);
    t.true(packets.length >= sent && packets.length <= sent + 64, `${packets.length} of ${sent}`);
    t.true(packets.every((packet) => packet.length === 200));
    // the kernel may stop within the last write; tcpdump fails with such a file, after the same packets
    if (trouble !== undefined || !isInstalled('tcpdump')) continue;
    const dump = execFileSync('tcpdump', ['-nr', output, '--count'], { encoding: 'utf8', stdio: 'pipe' });
    t.regex(dump, new RegExp(`^${packets.length} packets`));
  }
});
