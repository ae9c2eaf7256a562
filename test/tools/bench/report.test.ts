/** The forwarding benchmark's result: kept, resumed, summarised, as text, Markdown and SVG. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { escapeXml, svgChart, wrap } from '../../../tools/bench/forwarding/chart.js';
import { pathsFromLog } from '../../../tools/bench/common/front.js';
import type { Machine } from '../../../tools/bench/common/machine.js';
import { saveJson } from '../../../tools/bench/common/measurement.js';
import { intoPage, markdownReport, textReport } from '../../../tools/bench/forwarding/report.js';
import {
  checkSameMachine,
  isDone,
  loadResult,
  stepsOf,
  wholePairs,
  type ForwardingResult,
  type Run,
} from '../../../tools/bench/forwarding/results.js';
import { summarise } from '../../../tools/bench/forwarding/summary.js';

const machine: Machine = {
  cpu: 'A <fast> & "good" CPU',
  cpus: 2,
  arch: 'x64',
  flags: ['sse4_2', 'avx2'],
  kernel: '6.1',
  node: 'v20.1.2',
  dpdk: '22.11.1',
  commit: 'abc',
};

const step = { recipe: 'packed vector Rx+Tx', size: 64, mode: 'io', pair: 0 } as const;
const ours: Run = {
  ...{ ...step, side: 'ours', windows: [10e6, 12e6, 11e6], packets: 33e6, lost: 33, collections: 2 },
  ...{ rx: 'virtio_recv_pkts_packed_vec', tx: 'virtio_xmit_pkts_packed_vec', isa: 'AVX2', handOver: [110, 120] },
};
const dpdk: Run = {
  ...{ ...step, side: 'dpdk', windows: [9e6, 10e6, 8e6], packets: 27e6, lost: 0 },
  ...{ rx: 'virtio_recv_pkts_packed', tx: 'virtio_xmit_pkts_packed', handOver: [120, 110] },
};
const second = [
  { ...ours, pair: 1, windows: [15e6, 14e6, 13e6] },
  { ...dpdk, pair: 1, windows: [10e6, 9e6, 9e6] },
];

const result: ForwardingResult = {
  ...{ kind: 'forwarding', started: '2026-11-21T10:00:00.000Z', updated: '2026-11-21T10:01:00.000Z', machine },
  pages: 'pages of 4 KiB',
  options: {
    recipes: ['split mergeable', 'packed vector Rx+Tx'],
    ...{ sizes: [64], modes: ['io', 'rxonly'], pairs: 2, seconds: 3, warmUpSeconds: 1 },
  },
  runs: [ours, dpdk, ...second],
  failures: [],
};

function temporary(t: ExecutionContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test('the published ratio is the median of the pairs, not the ratio of the best', (t) => {
  const [row, ...others] = summarise(result);
  t.deepEqual(others, []);
  t.is(row!.ratio, (1.2 + 1.5) / 2);
  t.is(row!.ratioOfBest, 1.5);
  t.is(row!.ours.best, 15e6);
  t.is(row!.ours.median, 12.5e6);
  t.is(row!.ours.lostPpm, 1);
  t.is(row!.collections, 4);
  t.is(row!.ours.cycles, undefined);
});

test('pairs are told apart by how near the CPUs were to each other while they were measured', (t) => {
  const far = second.map((run) => ({ ...run, handOver: [500, 480] }));
  const moved = second.map((run, i) => ({ ...run, pair: 2, handOver: [500, i === 0 ? 480 : 90] }));
  t.is(summarise(result)[0]!.distances, '2 near');
  t.is(summarise({ ...result, runs: [ours, dpdk, ...far, ...moved] })[0]!.distances, '1 near, 1 far, 1 mixed');
});

test('cycles are counted per packet, or not at all when a run lacks them', (t) => {
  const runs = result.runs.map((run) => ({ ...run, cycles: run.packets * 200 }));
  t.is(summarise({ ...result, runs })[0]!.dpdk.cycles, 200);
  t.regex(textReport({ ...result, runs }), /Ours cycles/);
  t.is(summarise({ ...result, runs: [...runs.slice(0, 3), dpdk, ...second] })[0]!.ours.cycles, undefined);
  t.notRegex(textReport(result), /cycles/);
});

test('half a pair counts for nothing, and is measured again', (t) => {
  const half = { ...result, runs: [ours, dpdk, second[0]!], failures: [{ ...step, error: 'x' }] };
  t.is(summarise(half)[0]!.pairs, 1);
  t.deepEqual(wholePairs(half).runs, [ours, dpdk]);
  t.deepEqual(wholePairs(half).failures, []);
  t.is(stepsOf(half.options).filter((one) => !isDone(half, one)).length, 2 * 2 * 2 - 1);
});

test('a result without a single pair has a report, too', (t) => {
  const empty = { ...result, runs: [] };
  t.regex(textReport(empty), /Incomplete: 0 of 8 pairs/);
  t.regex(svgChart(empty), /<\/svg>\n$/);
});

test('text and chart say whose vhost port was at the other end; earlier results were made with DPDK’s', (t) => {
  for (const [options, name] of [
    [result.options, /other end of both:? DPDK’s vhost PMD/],
    [{ ...result.options, peer: 'ours' }, /other end of both:? our own net_vhost port/],
  ] as const) {
    t.regex(textReport({ ...result, options }), name);
    t.regex(svgChart({ ...result, options }), name);
  }
});

test('the text names paths that a side fell back to, SIMD code, failures and what is missing', (t) => {
  const text = textReport({ ...result, failures: [{ ...step, error: 'vhost: ended\nand more' }] });
  t.regex(text, /^packed vector Rx\+Tx \*  +15\.000  +10\.000  +1\.35  +1\.50  /m);
  t.regex(text, /^\* packed vector Rx\+Tx: DPDK ran virtio_recv_pkts_packed and virtio_xmit_pkts_packed instead\.$/m);
  t.notRegex(text, /Ours ran/);
  t.regex(text, /SIMD code for AVX2\./);
  t.regex(text, /Failed: packed vector Rx\+Tx, 64 bytes, io: vhost: ended$/m);
  t.regex(text, /Incomplete: 2 of 8 pairs/);
  t.regex(text, /no AVX-512/);
});

test('Markdown: one table per mode and size, stars and bars escaped', (t) => {
  const lines = markdownReport(result).split('\n');
  t.is(lines.filter((line) => line.startsWith('### ')).length, 1);
  t.true(lines.some((line) => line.startsWith('| packed vector Rx+Tx \\* | 15.000 | 10.000 | 1.35 |')));
  t.true(lines.some((line) => /^\|---\|---:\|/.test(line)));
});

test('in a page only what is between the marks is replaced; a page without them is', (t) => {
  const page = (between: string) =>
    `before\n<!-- npm run bench: begin -->\n${between}<!-- npm run bench: end -->\nafter\n`;
  t.is(intoPage(page('old\n'), 'new\n'), page('\nnew\n\n'));
  t.is(intoPage(intoPage(page(''), 'one\n'), 'two\n'), page('\ntwo\n\n'));
  for (const bare of ['', 'text', '<!-- npm run bench: end --> <!-- npm run bench: begin -->\n']) {
    t.is(intoPage(bare, 'new'), 'new');
  }
});

/** Whether every element is closed, in order, and every & begins an entity. */
function isWellFormed(xml: string): boolean {
  const open: string[] = [];
  for (const [, close, name, selfClosing] of xml.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (close) {
      if (open.pop() !== name) return false;
    } else if (!selfClosing) open.push(name!);
  }
  const content = xml.replace(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g, '');
  return open.length === 0 && !/<|&(?!(amp|lt|gt|quot|#39);)/.test(content);
}

test('the chart is well-formed, escapes what it is given, and has two bars per measured recipe', (t) => {
  const svg = svgChart(result);
  t.true(isWellFormed(svg), svg);
  t.false(isWellFormed(svg.replace('</svg>', '')));
  t.true(svg.includes('A &lt;fast&gt; &amp; &quot;good&quot; CPU'));
  t.is([...svg.matchAll(/<rect class="ours"/g)].length, 2, 'one in the legend');
  t.is([...svg.matchAll(/<rect class="dpdk"/g)].length, 2);
  t.true(svg.includes('prefers-color-scheme: dark'));
  t.regex(svg, />1\.35×</);
  t.regex(svg, /DPDK 22\.11\.1, commit abc/);
});

test('a chart with all panels contains no NaN and no undefined', (t) => {
  const runs = stepsOf(result.options).flatMap((one) => [
    { ...ours, ...one },
    { ...dpdk, ...one, windows: [0, 0, 0] },
  ]);
  const svg = svgChart({ ...result, runs });
  t.true(isWellFormed(svg));
  t.notRegex(svg, /="[^"]*(NaN|Infinity)/);
});

test('every special character is escaped, and long captions are broken at spaces', (t) => {
  t.is(escapeXml(`<a href="x">'&'</a>`), '&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;');
  t.deepEqual(wrap('aa bb cc', 5), ['aa bb', 'cc']);
  t.deepEqual(wrap('aaaaaaaa b', 5), ['aaaaaaaa', 'b']);
});

test('saved and loaded it is the same, and nothing else lies beside it', (t) => {
  const directory = temporary(t);
  const file = join(directory, 'deep', 'r.json');
  saveJson(file, result);
  t.deepEqual(loadResult(file), result);
  t.deepEqual(readdirSync(join(directory, 'deep')), ['r.json']);
  t.true(readFileSync(file, 'utf8').endsWith('}\n'));
});

test('a file that is no result is refused with a sentence', (t) => {
  const file = join(temporary(t), 'r.json');
  for (const content of ['{', '[]', 'null', '{"kind":"forwarding"}', '{"kind":"latency","runs":[]}']) {
    writeFileSync(file, content);
    t.throws(() => loadResult(file), { code: 'EOPTION', message: /^\S*r\.json (cannot be read as JSON|is no result)/ });
  }
});

test('a result is not continued with other code or on another machine', (t) => {
  t.notThrows(() => checkSameMachine('f', machine, { ...machine }));
  t.throws(() => checkSameMachine('f', machine, { ...machine, commit: 'abc+changes' }), {
    code: 'ECONFIG',
    message: /f was begun with commit abc, and here is abc\+changes/,
  });
});

test('paths are read from the log of either testpmd, the last choice first', (t) => {
  const log = [
    'set_rxtx_funcs(): virtio: using packed ring vectorized Tx path on port 0',
    'set_rxtx_funcs(): virtio: using packed ring mergeable buffer Rx path on port 0',
    'virtio: using AVX2 code on port 0',
    'virtio: using standard Rx path on port 1',
  ];
  const paths = { rx: 'virtio_recv_mergeable_pkts_packed', tx: 'virtio_xmit_pkts_packed_vec' };
  t.deepEqual(pathsFromLog(log.join('\n')), { ...paths, isa: 'AVX2' });
  const again = [...log.slice(0, 2), 'virtio: using packed ring standard Tx path on port 0'];
  t.deepEqual(pathsFromLog(again.join('\n')), { ...paths, tx: 'virtio_xmit_pkts_packed' });
  t.throws(() => pathsFromLog('testpmd> '), { message: /no paths in the log/ });
});
