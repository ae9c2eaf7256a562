/** Medians, the histogram, and what is read from other programs. */
import test from 'ava';
import fc from 'fast-check';
import { Histogram } from '../../../tools/bench/common/histogram.js';
import { cpuFlags } from '../../../tools/bench/common/machine.js';
import { canCount, countEvent, parsePerf } from '../../../tools/bench/common/perf.js';
import { lcoresOption, parseMemory, splitCpus } from '../../../tools/bench/scaling.js';
import { best, bestWindow, median, pairRatios, partsPerMillion } from '../../../tools/bench/common/statistics.js';
import { wants } from '../../support/needs.js';

test('median: odd, even, one, none; its input stays as it was', (t) => {
  const values = [3, 1, 2];
  t.is(median(values), 2);
  t.deepEqual(values, [3, 1, 2]);
  t.is(median([4, 1, 3, 2]), 2.5);
  t.is(median([10, 9]), 9.5); // as numbers, not as words
  t.is(median([7]), 7);
  t.is(median([]), NaN);
});

test('the best of none is not minus infinity, and nothing lost of nothing is 0', (t) => {
  t.is(best([]), NaN);
  t.is(best([1, 3, 2]), 3);
  t.is(partsPerMillion(0, 0), 0);
  t.is(partsPerMillion(1, 1000), 1000);
});

test('an empty histogram is all zeros', (t) => {
  const { count, mean, max } = new Histogram();
  t.deepEqual({ count, mean, max, p50: new Histogram().quantile(0.5) }, { count: 0, mean: 0, max: 0, p50: 0 });
});

test('values below 256 are exact', (t) => {
  for (const value of [0, 1, 127, 128, 129, 255]) {
    const histogram = new Histogram();
    histogram.record(value);
    t.is(histogram.quantile(0.5), value);
    t.is(histogram.max, value);
  }
});

test('negative, fractional and gigantic values are counted, not lost', (t) => {
  const histogram = new Histogram();
  for (const value of [-5, 1.9, 2 ** 31, 1e15, Infinity]) histogram.record(value);
  t.is(histogram.count, 5);
  t.is(histogram.max, 2 ** 31 - 1);
  t.is(histogram.quantile(0), 0);
  t.is(histogram.quantile(0.4), 1);
  t.is(histogram.quantile(1), 2 ** 31 - 1);
});

test('clear forgets everything', (t) => {
  const histogram = new Histogram();
  histogram.record(1000);
  histogram.clear();
  t.deepEqual([histogram.count, histogram.max, histogram.quantile(1)], [0, 0, 0]);
});

test('a quantile is at most one part in 128 above the exact one, and never below it', (t) => {
  const values = fc.array(fc.oneof(fc.nat(300), fc.nat(100_000), fc.nat(2 ** 31 - 1)), {
    minLength: 1,
    maxLength: 300,
  });
  t.notThrows(() =>
    fc.assert(
      fc.property(values, fc.double({ min: 0, max: 1, noNaN: true }), (list, q) => {
        const histogram = new Histogram();
        for (const value of list) histogram.record(value);
        const sorted = [...list].sort((a, b) => a - b);
        const exact = sorted[Math.max(1, Math.ceil(q * list.length)) - 1]!;
        const found = histogram.quantile(q);
        return found >= exact && found <= exact + exact / 128 && histogram.max === sorted.at(-1);
      }),
    ),
  );
});

test('flags of x86 and of arm64; none of anything else', (t) => {
  t.deepEqual(cpuFlags('processor : 0\nflags\t\t: fpu avx2 sse4_2 avx512f avx512fp16\n'), [
    'sse4_2',
    'avx2',
    'avx512f',
  ]);
  t.deepEqual(cpuFlags('Features\t: fp asimd evtstrm sve\n'), ['asimd', 'sve']);
  t.deepEqual(cpuFlags('isa : rv64imafdc\n'), []);
});

test('perf: a count, not counted, not supported, another event', (t) => {
  t.is(parsePerf('12345,,cycles:u,1000,100.00,,\n'), 12345);
  t.is(parsePerf('# started\n\n98,,cycles,1000,100.00,2.1,GHz\n'), 98);
  t.is(parsePerf('<not counted>,,cycles,0,0.00,,\n'), undefined);
  t.is(parsePerf('<not supported>,,cycles,0,100.00,,\n'), undefined);
  t.is(parsePerf('0.65,msec,task-clock,646627,100.00,0.491,CPUs utilized\n'), undefined);
  t.is(parsePerf('0.65,msec,task-clock,646627,100.00,0.491,CPUs utilized\n', 'task-clock'), 0.65);
  t.is(parsePerf(''), undefined);
});

const perfTest = wants(canCount('task-clock') ? '' : 'perf is not installed, or may not count');

perfTest('perf counts a process until it is told to stop', async (t) => {
  const stop = countEvent(process.pid, 'task-clock');
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.true((await stop())! >= 0);
});

test('perf says nothing of a process that does not exist', async (t) => {
  const stop = countEvent(2 ** 22 + 1, 'task-clock');
  t.is(await stop(), undefined);
});

test('CPUs are halved, and lcores take them in turn', (t) => {
  t.deepEqual(splitCpus([5]), { vhost: [5], front: [5] });
  t.deepEqual(splitCpus([0, 1]), { vhost: [0], front: [1] });
  t.deepEqual(splitCpus([0, 1, 2, 4, 6]), { vhost: [0, 1], front: [2, 4, 6] });
  t.is(lcoresOption(0, 4, [2, 3]), '0@0,1@2,2@3,3@2,4@3');
});

test('the ratio of a pair is that of its best windows; a half of a pair has none', (t) => {
  const run = (pair: number, ...windows: number[]) => ({ pair, windows });
  const [ours, theirs] = [
    [run(0, 1, 6), run(1, 8), run(2, 5)],
    [run(1, 4, 2), run(0, 3)],
  ];
  t.deepEqual(pairRatios(ours, theirs), [2, 2]);
  t.is(bestWindow(ours), 8);
  t.is(bestWindow([]), NaN);
});

test('memory comes from the lines of /proc/PID/status', (t) => {
  const status =
    'Name:\tnode\nVmHWM:\t  900 kB\nVmRSS:\t  800 kB\nRssAnon:\t  500 kB\nRssFile:\t  200 kB\nRssShmem:\t  100 kB\n';
  t.deepEqual(parseMemory(status), { VmRSS: 800, RssAnon: 500, RssFile: 200, RssShmem: 100 });
});
