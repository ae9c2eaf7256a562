/** The interrupt benchmark: its figures, its generator against a guest of a few lines, its table, and one run as short as can be. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { createRegion, destroyRegion } from '../../../native/region.js';
import { fold, rawSum } from '../../../paths/checksum.js';
import { createMempool, Mempool, mempoolStride } from '../../../paths/mempool.js';
import { cpuShare, cpuTime, parseSchedstat, parseSleeps } from '../../../tools/bench/interrupt/cpu.js';
import { l3fwdCommand, lcoreRow } from '../../../tools/bench/interrupt/front.js';
import { interruptTable } from '../../../tools/bench/interrupt/table.js';
import { figures, packet, PACKET_BYTES, quantile, WakeUps } from '../../../tools/bench/interrupt/wakeups.js';
import {
  runInterrupt,
  type InterruptResult,
  type LoadRun,
  type WakeUpRun,
} from '../../../tools/bench/interrupt/interrupt.js';
import { describeMachine } from '../../../tools/bench/common/machine.js';
import { parseInterrupt } from '../../../tools/bench/options.js';
import { parseOptions } from '../../../tools/l3fwd-power/options.js';
import { lacks, needs } from '../../support/needs.js';

const dpdkTest = needs(lacks('dpdk-testpmd'));

// ---- CPU time --------------------------------------------------------------------------------------------------------

test('CPU time and sleeps are read from what the kernel writes; anything else is NaN', (t) => {
  t.is(parseSchedstat('588339 89656 2\n'), 588339);
  t.is(parseSleeps('Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t345\n'), 12);
  for (const text of ['', '1 2', 'x 1 2']) t.is(parseSchedstat(text), NaN);
  t.is(parseSleeps('nonvoluntary_ctxt_switches:\t345\n'), NaN);
});

test('a share is CPU time by time that has passed', (t) => {
  const before = { at: 1000, lcoreNs: 5e6, processNs: 7e6, sleeps: 3 };
  t.deepEqual(cpuShare(before, { at: 1500, lcoreNs: 10e6, processNs: 107e6, sleeps: 13 }), {
    ...{ lcore: 0.01, process: 0.2, sleepsPerSecond: 20 },
  });
  t.deepEqual(cpuShare(before, { ...before, at: 1001 }), { lcore: 0, process: 0, sleepsPerSecond: 0 });
});

test('a process without an lcore is an error that says so', (t) => {
  t.throws(() => cpuTime(process.pid), { code: 'EPEER', message: `process ${process.pid} has no thread for lcore 1` });
});

test('what l3fwd-power has counted is read from the last table that it printed, by its titles', (t) => {
  const table = (missed: number) => [
    'lcore  polls  sleeps  missed  busy %',
    '-----  -----  ------  ------  ------',
    `    1     20       3  ${missed}     1.5`,
  ];
  const ports = ['lcore  port  received', '-----  ----  --------', '    1     0         7'];
  const output = ['L3FWD_POWER: x', ...table(9), '', ...ports, ...table(4), '', ...ports].join('\n');
  t.deepEqual(lcoreRow(output), { lcore: 1, polls: 20, sleeps: 3, missed: 4, 'busy %': 1.5 });
  t.throws(() => lcoreRow('killed'), { code: 'EPEER', message: /^no statistics of lcore 1:\nkilled$/ });
});

test('the command lines are ones that l3fwd-power takes: its lcore, its mode, the route of the packets', (t) => {
  const machine = { flags: [] } as unknown as Parameters<typeof l3fwdCommand>[0]['machine'];
  for (const [side, mode] of [
    ['interrupt', 'interrupt-only'],
    ['polling', 'pmd mgmt'],
  ] as const) {
    const [, args] = l3fwdCommand({ side, ring: 'split', socket: '/tmp/s', program: 'dist', machine }, '/tmp/routes');
    const { config, mode: parsed, ruleIpv4, parsePtype } = parseOptions(args.slice(args.indexOf('--') + 1));
    t.deepEqual(config, [{ port: 0, queue: 0, lcore: 1 }]);
    t.deepEqual([parsed, ruleIpv4, parsePtype], [mode, '/tmp/routes', true]);
  }
});

// ---- times -----------------------------------------------------------------------------------------------------------

test('percentiles are values that occurred, the least that enough of the others do not exceed', (t) => {
  const hundred = Float64Array.from({ length: 100 }, (_, i) => i + 1);
  t.deepEqual(
    [0, 0.5, 0.99, 0.999, 1].map((q) => quantile(hundred, q)),
    [1, 50, 99, 100, 100],
  );
  t.is(quantile(Float64Array.of(7), 0.5), 7);
  t.is(quantile(new Float64Array(), 0.5), 0);
});

test('figures are nanoseconds, of values in any order', (t) => {
  const shuffled = Float64Array.from({ length: 1000 }, (_, i) => ((i * 7919) % 1000) / 1000 + 0.001);
  t.deepEqual(figures(shuffled), { count: 1000, p50: 500_000, p99: 990_000, p999: 999_000, max: 1_000_000 });
  t.deepEqual(figures(new Float64Array()), { count: 0, p50: 0, p99: 0, p999: 0, max: 0 });
});

test('the packet is one that a router forwards', (t) => {
  const bytes = packet();
  t.is(bytes.length, PACKET_BYTES);
  t.deepEqual([bytes[12], bytes[13], bytes[14], bytes[22]], [0x08, 0x00, 0x45, 64]);
  t.is((bytes[16]! << 8) | bytes[17]!, PACKET_BYTES - 14);
  t.is(fold(rawSum(bytes, 14, 34)), 0xffff);
});

/** A guest that gives every packet back after the time that `delays` has for it; a clock that moves with each look. */
class SlowGuest {
  now = 0;
  /** Whether packets are offered to a ring without room. */
  full = false;
  enqueuedAt: number[] = [];
  private due = Infinity;

  constructor(private readonly delays: readonly number[]) {}

  clock = () => (this.now += 0.001);

  enqueueBurst(_queue: number, _pool: Mempool, _pkts: Uint32Array, n: number): number {
    if (this.full) return 0;
    this.due = this.now + (this.delays[this.enqueuedAt.length] ?? 0.01);
    this.enqueuedAt.push(this.now);
    return n;
  }

  dequeueBurst(_queue: number, pool: Mempool, pkts: Uint32Array): number {
    if (this.now < this.due) return 0;
    this.due = Infinity;
    pkts[0] = pool.get();
    return 1;
  }
}

const region = createRegion('bench-interrupt', 64 * mempoolStride(128, 2048), false);
test.after.always(() => destroyRegion(region));

function wakeUps(guest: SlowGuest, count: number, hold: (guest: SlowGuest) => void = () => {}) {
  const pool = new Mempool(
    createMempool({
      ...{ name: 'test', mapping: region, base: 0, count: 64, headroom: 128, dataRoom: 2048, cacheSize: 0 },
      deviceAddress: BigInt,
    }),
    0,
  );
  const options = { count, minGapMs: 5, maxGapMs: 20, clock: guest.clock, random: () => 0.5, rest: () => hold(guest) };
  return { pool, traffic: new WakeUps(guest, pool, options) };
}

test('every packet is sent after a gap, and its time taken; no mbuf is lost', (t) => {
  const guest = new SlowGuest([0.03, 0.01, 0.02]);
  const { pool, traffic } = wakeUps(guest, 3);
  const { sent, received, latency, tainted } = traffic.measure();
  t.deepEqual([sent, received, latency.count, tainted.count], [3, 3, 3, 0]);
  t.true(latency.p50 >= 20_000 && latency.p50 < 25_000, String(latency.p50));
  t.true(latency.max >= 30_000 && latency.max < 35_000, String(latency.max));
  for (const i of [1, 2]) t.true(guest.enqueuedAt[i]! - guest.enqueuedAt[i - 1]! >= 12.5);
  t.is(pool.inUse(), 1, 'all but the one that is sent again and again');
});

test('a lost packet is none that took long', (t) => {
  const { traffic } = wakeUps(new SlowGuest([0.01, 2000, 60, 0.01]), 4);
  const { sent, received, latency } = traffic.measure();
  t.deepEqual([sent, received, latency.count], [4, 3, 3]);
  t.is(Math.floor(latency.max / 1e6), 60);
});

test('packets during whose way this side stood still are set apart', (t) => {
  const guest = new SlowGuest([0.01, 0.01, 0.01]);
  const dequeue = guest.dequeueBurst.bind(guest);
  guest.dequeueBurst = (_queue, pool, pkts) => {
    const n = dequeue(_queue, pool, pkts);
    if (n > 0 && guest.enqueuedAt.length === 2) guest.now += 0.07;
    return n;
  };
  const { latency, tainted, received } = wakeUps(guest, 3).traffic.measure();
  t.deepEqual([latency.count, tainted.count, received], [2, 1, 3]);
  t.true(tainted.max > 70_000 && latency.max < 20_000);
});

test('a front-end that forwards nothing ends the measurement', (t) => {
  const never = new SlowGuest(Array.from({ length: 10 }, () => Infinity));
  t.throws(() => wakeUps(never, 100).traffic.measure(), { code: 'ETIMEOUT', message: /sends no packet back/ });
  t.is(never.enqueuedAt.length, 5);
  const full = new SlowGuest([]);
  full.full = true;
  t.throws(() => wakeUps(full, 100, (guest) => (guest.now += 10)).traffic.warmUp(1), { code: 'ETIMEOUT' });
});

test('the warm-up begins with the first packet that comes back', (t) => {
  const guest = new SlowGuest([1500, 0.01]);
  wakeUps(guest, 1).traffic.warmUp(10);
  t.true(guest.enqueuedAt.length > 100);
  t.true(guest.now > 1000 && guest.now < 1600, 'one lost packet, then 10 ms');
});

// ---- the table -------------------------------------------------------------------------------------------------------

const times = (p50: number) => ({ count: 2000, p50, p99: 2 * p50, p999: 3 * p50, max: 4 * p50 });
const share = (lcore: number, sleepsPerSecond = 0) => ({ lcore, process: 2 * lcore, sleepsPerSecond });
const load = (side: LoadRun['side'], pair: number, mpps: readonly number[], idle: number): LoadRun => ({
  ...{ ring: 'packed', pair, side, windows: mpps.map((rate) => rate * 1e6), busy: share(1, 0.25) },
  idle: share(idle, 4),
});
const wakeUp = (side: WakeUpRun['side'], p50: number): WakeUpRun => ({
  ...{
    ring: 'packed',
    side,
    sent: 2003,
    received: 2001,
    late: 1,
    latency: times(p50),
    tainted: { ...times(1), count: 1 },
  },
  ...{ cpu: share(0.1), sleepsPerPacket: side === 'interrupt' ? 1.01 : 0 },
  ...(side === 'dpdk' ? {} : { missed: 3 }),
});
const resultOf = (loads: readonly LoadRun[], wakeUps: readonly WakeUpRun[]) =>
  ({ options: parseInterrupt([])!.options, loads, wakeUps }) as unknown as InterruptResult;

test('the table: the largest idle share, times in µs, ratios by pair', (t) => {
  const loads = [
    ...[load('interrupt', 0, [9, 10], 0.001), load('polling', 0, [8, 10], 1), load('dpdk', 0, [7], 1)],
    ...[load('interrupt', 1, [6, 12], 0.0025), load('polling', 1, [15, 6], 0.99)],
  ];
  const text = interruptTable(resultOf(loads, [wakeUp('interrupt', 25_000), wakeUp('dpdk', 3100)]));
  const rows = text.split('\n').filter((line) => line.startsWith('packed'));
  t.deepEqual(rows, [
    'packed  l3fwd-power --interrupt-only                 0.25       0.50       4.0',
    'packed  l3fwd-power --pmd-mgmt=baseline            100.00     200.00       4.0',
    'packed  dpdk-testpmd (io)                          100.00     200.00       4.0',
    'packed  l3fwd-power --interrupt-only     2000    25.0    50.0      75.0   100.0           1.01          1     2  3',
    'packed  dpdk-testpmd (io)                2000     3.1     6.2       9.3    12.4           0.00          1     2  -',
    'packed          12.000        15.000   0.90       0.80           1.06       0.3      2         7.000',
  ]);
});

test('what was not measured is a dash', (t) => {
  const text = interruptTable(resultOf([load('dpdk', 0, [7], 1)], []));
  const row = text.slice(text.lastIndexOf('\n') + 1);
  t.deepEqual(row.split(/ +/), ['packed', ...Array.from({ length: 6 }, () => '-'), '0', '7.000']);
});

test('the table of nothing has no rows', (t) => {
  t.false(/^(split|packed)/m.test(interruptTable(resultOf([], []))));
});

// ---- a run -----------------------------------------------------------------------------------------------------------

dpdkTest.serial(
  'one pair on packed rings: an idle lcore sleeps, single packets wake it up, and it keeps up under load',
  async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const json = join(directory, 'result.json');
    const { options } = parseInterrupt(['--quick', '--ring', 'packed', '--side', 'interrupt,dpdk'])!;
    const signal = new AbortController().signal;
    const lines: string[] = [];
    const print = (line: string) => void lines.push(line);
    const result = await runInterrupt(options, { program: 'source', json, machine: describeMachine(), print, signal });
    t.deepEqual(JSON.parse(readFileSync(json, 'utf8')), result);
    t.false(existsSync(`${json}.new`));

    const [asleep, polling] = result.loads;
    t.deepEqual([asleep!.side, polling!.side, result.loads.length], ['interrupt', 'dpdk', 2]);
    for (const { windows } of result.loads) t.true(windows.length === 1 && windows[0]! > 0);
    t.true(asleep!.idle.lcore < polling!.idle.lcore / 4, JSON.stringify(result.loads));
    t.true(asleep!.idle.sleepsPerSecond > 0);

    for (const run of result.wakeUps) {
      t.deepEqual([run.sent, run.received], [50, 50], JSON.stringify(run));
      t.is(run.latency.count + run.tainted.count, 50);
      t.true(run.latency.p50 <= run.latency.p99 && run.latency.p99 <= run.latency.max);
    }
    t.deepEqual([typeof result.wakeUps[0]!.missed, result.wakeUps[1]!.missed], ['number', undefined]);
    t.true(result.wakeUps[0]!.sleepsPerPacket > 0.5, JSON.stringify(result.wakeUps));
    t.is(interruptTable(result).match(/^packed/gm)?.length, 5);
  },
);
