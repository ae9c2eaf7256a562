/** getopt_long's rules, for every program with DPDK's command line: abbreviations, attached values, what is refused. */
import fc from 'fast-check';
import test from 'ava';
import { parseOptions as parseDevbind } from '../../../tools/devbind/options.js';
import { parseOptions as parseL3fwd } from '../../../tools/l3fwd-power/options.js';
import { appTable, parseAppOptions } from '../../../tools/testpmd/options/app-options.js';
import { ealTable, parseEalOptions } from '../../../tools/common/eal-options.js';
import { all, has, last, parseArgs, parseWords, table } from '../../../tools/common/parse.js';
import { parseOptions as parseSwitch } from '../../../tools/vhost-switch/options.js';

const options = table(
  ['rx', 'i', 'verbose', 'version'],
  ['rxq', 'rxd', 'n'],
  ['vdev'],
  { v: 'version', ver: 'verbose' },
  { 'rxq-share': { kind: 'optional' } },
);
const parse = (...argv: string[]) => Object.fromEntries(parseArgs('p', options, argv));

test('abbreviations: unambiguous ones, exact matches that are beginnings of others, names for the same', (t) => {
  t.deepEqual(parse('--vd=a', '--vdev', 'b'), { vdev: ['a', 'b'] });
  t.deepEqual(parse('--rx'), { rx: [''] });
  t.deepEqual(parse('--rxq=1', '--rxq=2'), { rxq: ['1', '2'] });
  t.deepEqual(parse('--rxq-'), { 'rxq-share': [''] });
  t.deepEqual(parse('--ver'), { verbose: [''] }); // a name of its own
  t.deepEqual(parse('--verb'), { verbose: [''] });
  t.deepEqual(parse('--vers'), { version: [''] });
});

test('values: attached, in the next word whatever it looks like, left out where that is allowed', (t) => {
  t.deepEqual(parse('-n4', '-n', '-5', '--rxd', '--rxq'), { n: ['4', '-5'], rxd: ['--rxq'] });
  t.deepEqual(parse('--rxq-share', '--rxq-share=', '--rxq-share=7'), { 'rxq-share': ['', '', '7'] });
  t.deepEqual(parse('-ivn4'), { i: [''], version: [''], n: ['4'] });
  t.deepEqual(parse('--vdev=a=b,c=d\nx'), { vdev: ['a=b,c=d\nx'] });
  t.deepEqual(parse('--vdev='), { vdev: [''] });
});

const refused: readonly [argv: readonly string[], sentence: string][] = [
  [['--rxx'], "p: unrecognized option '--rxx'; did you mean --rx?"],
  [['--nothing=3'], "p: unrecognized option '--nothing'"],
  [['--r'], "p: option '--r' is ambiguous; possibilities: '--rx' '--rxq' '--rxd' '--rxq-share'"],
  [['--ve'], "p: option '--ve' is ambiguous; possibilities: '--verbose' '--version' '--ver'"],
  [['--rx=1'], "p: option '--rx' doesn't allow an argument"],
  [['--verb='], "p: option '--verbose' doesn't allow an argument"],
  [['--rxd'], "p: option '--rxd' requires an argument"],
  [['-n'], "p: option '-n' requires an argument"],
  [['-z'], "p: unrecognized option '-z'"],
  [['-rxq=2'], "p: unrecognized option '-rxq'; did you mean --rxq?"],
  [['--n=3'], "p: unrecognized option '--n=3'; it is -n"],
  [['--=x'], "p: unrecognized option '--'"],
  [['a'], "p: unexpected argument 'a'"],
  [['-'], "p: unexpected argument '-'"],
  [['-i', '--', '-i'], "p: unexpected argument '-i'"],
];
for (const [argv, message] of refused) {
  test(`refused: ${argv.join(' ')}`, (t) => {
    t.throws(() => parse(...argv), { code: 'EOPTION', message });
  });
}

test('words that are no options keep their order, before and behind --', (t) => {
  const { values, others } = parseWords('p', options, ['a', '-i', 'b', '--', '-n', 'c']);
  t.deepEqual(others, ['a', 'b', '-n', 'c']);
  t.true(has(values, 'i') && !has(values, 'n'));
});

/** Slow and obvious: try each name. */
function meant(names: readonly string[], aliases: Readonly<Record<string, string>>, typed: string): string[] {
  if (names.includes(typed)) return [aliases[typed] ?? typed];
  const found: string[] = [];
  for (const name of names) {
    const target = aliases[name] ?? name;
    if (typed.length > 0 && name.slice(0, typed.length) === typed && !found.includes(target)) found.push(target);
  }
  return found;
}

for (const [name, real] of [
  ['EAL', ealTable],
  ['testpmd', appTable],
] as const) {
  test(`${name}: every beginning of every option means what getopt_long makes of it`, (t) => {
    const names = [...real.kinds.keys(), ...Object.keys(real.aliases)].filter((option) => option.length > 1);
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.nat(24), (option, length) => {
        const typed = option.slice(0, length);
        const found = meant(names, real.aliases, typed);
        if (found.length === 1) {
          const target = found[0]!;
          const word = real.kinds.get(target) === 'value' ? `--${typed}=1` : `--${typed}`;
          const values = parseArgs('p', real, typed === '' ? ['--=1'] : [word]);
          t.deepEqual([...values.keys()], [target]);
        } else {
          const { message } = t.throws(() => parseArgs('p', real, [`--${typed}=1`]), { code: 'EOPTION' });
          if (typed !== '')
            t.true(
              message.includes('is ambiguous') &&
                names.filter((n) => n.startsWith(typed)).every((n) => message.includes(`'--${n}'`)),
              message,
            );
        }
      }),
      { numRuns: 2000 },
    );
  });
}

test('any words at all: options, or one sentence', (t) => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('--', '-', '-m', '--vdev', '--no', '-n', '--iova=va', '--huge-unlink', '-R'),
    fc.string().map((text) => `--${text}`),
    fc.string().map((text) => `-${text}`),
  );
  fc.assert(
    fc.property(fc.array(word, { maxLength: 6 }), (argv) => {
      for (const parser of [parseEalOptions, parseAppOptions, parseL3fwd, parseSwitch, parseDevbind]) {
        try {
          parser(argv);
        } catch (error) {
          const { code } = error as { code?: string };
          t.true(code === 'EOPTION' || code === 'ELCORE' || code === 'ESYSTEM', `${argv.join(' ')}: ${String(error)}`);
        }
      }
    }),
    { numRuns: 500 },
  );
});

test('as command lines of test suites have them', (t) => {
  t.notThrows(() => parseEalOptions(['--iova=va', '--file=x', '--no-p', '--no-hu', '--huge-u', '--socket-m', '512']));
  t.is(parseEalOptions(['--iova-m=va', '--main=0', '-l', '0']).mainLcore, 0);
  t.is(parseEalOptions(['--socket-m=512', '--memory-s=7']).memoryMiB, 7);
  t.true(parseEalOptions(['--no-hug']).noHuge);
  t.like(parseAppOptions(['--nb-core=2', '--port-topo=chained', '--total=2048', '--int']), {
    cores: 2,
    topology: 'chained',
    totalMbufs: 2048,
    interactive: true,
  });
  t.throws(() => parseAppOptions(['--nb-']), { message: /possibilities: '--nb-cores' '--nb-ports'$/ });
  t.throws(() => parseEalOptions(['--no-']), { message: /'--no-' is ambiguous; possibilities: .*'--no-huge'/ });
  t.like(parseL3fwd(['-p1', '--conf', '(0,0,1)', '--int']), { mode: 'interrupt-only' });
  t.throws(() => parseL3fwd(['-p1', '--conf', '(0,0,1)', '--max=1']), {
    message: /ambiguous.*'--max-empty-polls' '--max-pkt-len'/,
  });
  t.throws(() => parseL3fwd(['-p1', '--conf', '(0,0,1)', '--int', '--tele']), { message: /mutually exclusive/ });
  t.like(parseSwitch(['--socket=/a', '--que=2', '--tot', '1000', '-l0']), { queues: 2, mbufs: 1000, cpu: 0 });
  t.like(parseDevbind(['--unb', '--for', 'eth1']), { force: true, action: { kind: 'unbind' } });
  t.throws(() => parseDevbind(['--stat']), { message: /possibilities: '--status' '--status-dev'/ });
});

test('names that are newer than 22.11 or older than it', (t) => {
  const args = parseEalOptions([
    '--memory-size=64',
    '--memory-channels=4',
    '--memory-ranks',
    '2',
    '--driver-path=x',
    '-R4',
  ]);
  t.is(args.memoryMiB, 64);
  t.is(parseEalOptions(['--numa-mem=16,16']).memoryMiB, 32);
  t.is(parseEalOptions(['--master-lcore', '3']).mainLcore, 3);
  t.deepEqual([...parseEalOptions(['--coremask=0x1']).lcores!.keys()], [0]);
  t.is(args.notes.length, 3); // not -n
  t.is(
    parseAppOptions([
      '--disable-flow-flush',
      '--enable-rss',
      '--noisy-forward-mode=mac',
      '--hairpin-map=0:1',
      '--mp-anon',
    ]).notes.length,
    5,
  );
  const given = parseArgs('p', appTable, ['--rxq-share', '--rxq=3', '--eth-peer=a', '--eth-peer=b']);
  t.is(last(given, 'rxq'), '3');
  t.deepEqual(all(given, 'eth-peer'), ['a', 'b']);
  t.deepEqual(all(given, 'txq'), []);
});
