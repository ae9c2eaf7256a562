/** The command lines of the benchmarks. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import { RECIPES } from '../../../tools/common/recipes.js';
import {
  parseForwarding,
  parseInterrupt,
  parseLatency,
  parseReport,
  parseScaling,
  parseLookup,
  parseTurn,
} from '../../../tools/bench/options.js';
import { runLookup } from '../../../tools/bench/lookup.js';
import { rowsOf, stepsOf } from '../../../tools/bench/forwarding/results.js';

test('without options: all eleven recipes, both sizes, all modes, five pairs', (t) => {
  const { options, json, svg, resume, build } = parseForwarding([])!;
  t.is(rowsOf(options!).length, 66);
  t.is(stepsOf(options!).length, 66 * 5);
  t.deepEqual([json, svg, resume, build], ['bench-out/forwarding.json', undefined, undefined, true]);
  t.is(options!.peer, 'dpdk');
  t.is(parseForwarding(['--peer', 'ours'])!.options!.peer, 'ours');
});

test('the first pair of every row comes before the second of any', (t) => {
  const { options } = parseForwarding(['--pairs', '2', '--size', '64', '--mode', 'io,rxonly'])!;
  const steps = stepsOf(options!);
  t.is(steps.length, 2 * 2 * RECIPES.length);
  t.true(steps.slice(0, 22).every(({ pair }) => pair === 0));
  t.true(steps.slice(22).every(({ pair }) => pair === 1));
});

test('a recipe is meant by its whole name, or by a part of it', (t) => {
  const names = (text: string) => parseForwarding(['--recipe', text])!.options!.recipes;
  t.deepEqual(names('packed mergeable'), ['packed mergeable']);
  t.deepEqual(names('vector'), ['split vector Rx', 'packed vector Rx+Tx', 'packed vector Tx only']);
  t.deepEqual(names('packed vector Rx+Tx, split mergeable'), ['split mergeable', 'packed vector Rx+Tx']);
});

test('--resume takes its options from the file', (t) => {
  const { options, json, resume } = parseForwarding(['--resume', 'a.json', '--svg', 'b.svg'])!;
  t.deepEqual([options, json, resume], [undefined, 'a.json', 'a.json']);
});

const bad: [(argv: string[]) => unknown, string[], RegExp][] = [
  [parseForwarding, ['--recipe', 'bla'], /--recipe bla: no recipe .* there are: split mergeable, /],
  [parseForwarding, ['--recipe', ''], /--recipe : no recipe/],
  [parseForwarding, ['--size', '41'], /--size 41: .* 42 to 2048/],
  [parseForwarding, ['--size', '64,'], /--size 64,: /],
  [parseForwarding, ['--mode', 'oi'], /--mode oi: must be one of io, rxonly, txonly; did you mean io\?/],
  [parseForwarding, ['--peer', 'our'], /--peer our: must be one of dpdk, ours; did you mean ours\?/],
  [parseForwarding, ['--peer', 'ours,dpdk'], /--peer ours,dpdk: one of them is expected/],
  [parseForwarding, ['--resume', 'a.json', '--peer', 'ours'], /--resume .* leave --peer out/],
  [parseForwarding, ['--pairs', '0'], /--pairs 0: a whole number from 1 to 1000 is expected/],
  [parseForwarding, ['--pairs', '2.5'], /--pairs 2.5: a whole number/],
  [parseForwarding, ['--seconds', 'x'], /--seconds x: /],
  [parseForwarding, ['--warm-up', '0.1'], /--warm-up 0.1: a number from 0.2/],
  [parseForwarding, ['--resume', 'a.json', '--pairs', '3'], /--resume .* leave --pairs out/],
  [parseForwarding, ['--recpie', 'x'], /unrecognized option '--recpie'; did you mean --recipe\?/],
  [parseForwarding, ['x'], /unexpected argument 'x'/],
  [parseReport, [], /the JSON file of a result is expected/],
  [parseReport, ['--svg', 'x'], /the JSON file of a result is expected/],
  [parseLatency, ['--size', '64,128'], /one size is expected/],
  [parseLatency, ['--rate', '0'], /--rate 0: a number from 0.001 to 100/],
  [parseTurn, ['--simd', '100'], /--simd 100: a power of two/],
  [parseTurn, ['--burst', '0'], /--burst 0: /],
  [parseLookup, ['--routes', '0'], /--routes 0: a whole number from 1 to 20000 is expected/],
  [parseInterrupt, ['--ring', 'pack'], /--ring pack: must be one of split, packed; did you mean packed\?/],
  [parseInterrupt, ['--side', 'ours'], /--side ours: must be one of interrupt, polling, dpdk/],
  [parseInterrupt, ['--wake-ups', '0'], /--wake-ups 0: a whole number from 1/],
  [parseInterrupt, ['--recipe', 'x'], /unrecognized option '--recipe'/],
  [parseScaling, ['--recipe', 'packed'], /--recipe: one recipe is expected/],
];

for (const [parse, argv, sentence] of bad) {
  test(`${parse.name}: ${argv.join(' ') || 'no arguments'} is refused with a sentence`, (t) => {
    t.throws(() => parse(argv), { message: sentence, code: 'EOPTION' });
  });
}

test('lookup: ten thousand routes of each family, and shares and rates of both', (t) => {
  t.deepEqual(parseLookup([]), { routes: 10_000, windows: 20 });
  const runs = runLookup({ routes: 100, windows: 2 });
  t.deepEqual(
    runs.map(({ family, windows }) => [family, windows.length]),
    [
      ['IPv4', 2],
      ['IPv6', 2],
    ],
  );
  t.true(runs.every(({ found, windows }) => found > 0 && found <= 1 && windows.every((rate) => rate > 0)));
  t.true(runs[1]!.found >= 0.5, 'every other address has a route');
});

test('--help wins over everything', (t) => {
  for (const parse of [
    parseForwarding,
    parseInterrupt,
    parseLatency,
    parseLookup,
    parseTurn,
    parseScaling,
    parseReport,
  ]) {
    t.is(parse(['--help']), undefined);
  }
});

test('the rate of the latency benchmark is in millions, or half of what is possible', (t) => {
  t.is(parseLatency(['--rate', '1.5'])!.options.pps, 1.5e6);
  t.is(parseLatency(['--rate', 'auto'])!.options.pps, undefined);
  t.is(parseLatency([])!.options.pps, undefined);
});

test('the interrupt benchmark: both rings, all sides, 2000 wake-ups; --quick is less of everything not given', (t) => {
  const { options, json, build } = parseInterrupt([])!;
  t.deepEqual(options, {
    ...{ rings: ['split', 'packed'], sides: ['interrupt', 'polling', 'dpdk'], pairs: 3, seconds: 3, warmUpSeconds: 1 },
    ...{ idleSeconds: 2, wakeUps: 2000 },
  });
  t.deepEqual([json, build], ['bench-out/interrupt.json', true]);
  const quick = parseInterrupt(['--quick', '--ring', 'packed', '--wake-ups', '7', '--no-build'])!;
  t.deepEqual(quick.options, {
    ...{ ...options, rings: ['packed'], pairs: 1, seconds: 1, warmUpSeconds: 0.2, idleSeconds: 0.5, wakeUps: 7 },
  });
  t.false(quick.build);
});

function runBench(argv: readonly string[], flags: readonly string[] = []) {
  const cwd = fileURLToPath(new URL('../../..', import.meta.url));
  const args = [...flags, '--import', './tools/ts.mjs', 'tools/bench/main.ts', ...argv];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' });
  return { status, stdout, stderr };
}

test('without native code nothing is measured, which is one sentence; what needs none works', (t) => {
  for (const argv of [[], ['latency'], ['turn'], ['scaling'], ['exception-path'], ['interrupt']]) {
    const { status, stdout, stderr } = runBench(argv, ['--no-addons']);
    t.deepEqual([status, stdout], [1, ''], argv.join());
    t.regex(stderr, /^error\[ESYSTEM\]: [^\n]*koffi[^\n]*: start Node without --no-addons\n$/);
  }
  const help = runBench(['--help'], ['--no-addons']);
  t.deepEqual([help.status, help.stderr], [0, '']);
  t.is(runBench(['lookup', '--routes', '10', '--windows', '1'], ['--no-addons']).status, 0);
});

test('a mistake is one sentence on stderr and exit code 2', (t) => {
  const run = (...argv: string[]) => runBench(argv);
  t.deepEqual(run('repotr'), {
    status: 2,
    stdout: '',
    stderr:
      "error[EOPTION]: bench: there is no 'repotr': the commands are forwarding, latency, turn, scaling, exception-path, interrupt, lookup, report; did you mean report?\n",
  });
  const missing = run('report', '/nonexistent.json');
  t.is(missing.status, 2);
  t.regex(missing.stderr, /^error\[EOPTION\]: \/nonexistent.json cannot be read as JSON: [^\n]*\n$/);
});
