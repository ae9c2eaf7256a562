/** Every option that takes a value, in every program, given nonsense: one sentence that names it, and nothing else. */
import test from 'ava';
import { isVirtioPmdError } from '../../../native/errors.js';
import { parseOptions as parseL3fwd, l3fwdTable } from '../../../tools/l3fwd-power/options.js';
import { appTable, parseAppOptions } from '../../../tools/testpmd/options/app-options.js';
import { ealTable, parseEalOptions } from '../../../tools/common/eal-options.js';
import type { OptionTable } from '../../../tools/common/parse.js';
import { parseOptions as parseSwitch, switchTable } from '../../../tools/vhost-switch/options.js';

const nonsense = ['bogus!', '', '99999999999999999999', '-1', '0x', '1e3', ' 5'];

interface Program {
  readonly name: string;
  readonly options: OptionTable;
  readonly parse: (argv: readonly string[]) => unknown;
  /** What else the program needs, for the sentence to be about the value. */
  readonly least: readonly string[];
  /** Nonsense that means something here, by option: a name, a path, hexadecimal, a number that may be that large. */
  readonly meaningful: Readonly<Record<string, readonly string[]>>;
}

const anyText = nonsense.filter((text) => text !== '');
const hexadecimal = ['1e3'];

const programs: readonly Program[] = [
  {
    name: 'EAL',
    options: ealTable,
    parse: parseEalOptions,
    least: [],
    meaningful: {
      // names and paths are anybody's choice; a device that is none is refused when it is attached
      ...{
        vdev: anyText,
        d: anyText,
        'huge-dir': anyText,
        'trace-dir': anyText,
        trace: anyText,
        'file-prefix': anyText,
      },
      'mbuf-pool-ops-name': ['99999999999999999999', '-1', '0x', '1e3'],
      ...{ c: ['1e3'], s: ['1e3', '99999999999999999999'], 'base-virtaddr': ['1e3'] },
      l: [' 5'], // DPDK skips blanks as well; there is no CPU 5 on every machine
      lcores: [' 5'],
      ...{ 'huge-unlink': [''], 'huge-worker-stack': [''], 'log-color': [''], 'log-timestamp': [''], R: [''] },
    },
  },
  {
    name: 'testpmd',
    options: appTable,
    parse: parseAppOptions,
    least: [],
    meaningful: {
      ...{ 'cmdline-file': anyText, 'cmdline-file-noecho': anyText, 'eth-peers-configfile': anyText },
      'display-xstats': ['99999999999999999999', '0x', '1e3'],
      ...{ coremask: ['1e3', '99999999999999999999'], portmask: ['1e3', '99999999999999999999'] },
      ...{ 'rx-offloads': hexadecimal, 'tx-offloads': hexadecimal },
      'rxq-share': [''],
    },
  },
  {
    name: 'l3fwd-power',
    options: l3fwdTable,
    parse: parseL3fwd,
    least: ['-p', '1', '--config=(0,0,1)'],
    meaningful: { p: ['1e3', '99999999999999999999'], rule_ipv4: anyText, rule_ipv6: anyText },
  },
  {
    name: 'vhost-switch',
    options: switchTable,
    parse: parseSwitch,
    least: ['--socket-file=/tmp/s'],
    meaningful: { 'socket-file': anyText },
  },
];

for (const { name, options, parse, least, meaningful } of programs) {
  for (const [option, kind] of options.kinds) {
    if (kind === 'flag') continue;
    test(`${name}: ${option}`, (t) => {
      for (const value of nonsense) {
        const word = option.length === 1 ? `-${option}` : `--${option}`;
        // the value of -R is optional: attached, or none
        const argv = option.length > 1 ? [`${word}=${value}`] : kind === 'optional' ? [word + value] : [word, value];
        const accepted = meaningful[option]?.includes(value) ?? false;
        try {
          parse([...least, ...argv]);
          t.true(accepted, `${argv.join(' ')} was accepted`);
        } catch (error) {
          if (!isVirtioPmdError(error)) throw error;
          t.true(error.code === 'EOPTION' || error.code === 'ELCORE', error.code);
          // CPUs differ from machine to machine
          if (error.code === 'EOPTION') t.false(accepted, error.message);
          t.true(error.message.includes(option), `${error.message} does not name ${word}`);
          t.false(error.message.includes('\n'));
        }
      }
    });
  }
}

/** Values of enumerated options that are right, and what DPDK calls wrong. */
const enumerated: readonly [right: readonly string[], wrong: readonly string[]][] = [
  [
    ['--iova-mode=pa', '--iova-mode=va'],
    ['--iova-mode=bogus', '--iova-mode=PA', '--iova-mode=va '],
  ],
  [
    ['--proc-type=primary', '--proc-type=auto'],
    ['--proc-type=bogus', '--proc-type=secondary', '--proc-type=prim'],
  ],
  [['--huge-unlink', '--huge-unlink=existing', '--huge-unlink=always', '--huge-unlink=never'], ['--huge-unlink=bogus']],
  [['--vfio-intr=legacy', '--vfio-intr=msi', '--vfio-intr=msix'], ['--vfio-intr=intx']],
  [['--trace-mode=overwrite', '--trace-mode=discard'], ['--trace-mode=o']],
  [
    ['--trace-bufsz=64K', '--trace-bufsz=2M', '--trace-bufsz=1000'],
    ['--trace-bufsz=0', '--trace-bufsz=2T'],
  ],
  [['--vfio-vf-token=2ab74924-c335-45f4-9b16-8569e5b08258'], ['--vfio-vf-token=2ab74924']],
  [['--syslog=daemon', '--syslog=local7'], ['--syslog=local8']],
  [
    ['-n1', '-n', '32', '-r1', '-r16'],
    ['-n0', '-r0', '-r17'],
  ],
  [
    ['--socket-limit=1024,0', '--socket-mem=0,64'],
    ['--socket-mem=1024,', '--socket-limit=,'],
  ],
  [
    ['-a', '0000:00:04.0,vectorized=1', '-a', 'pci:00:05.0', '-a', 'qtest:/tmp/q,ram=/tmp/r'],
    ['-a', 'eth0'],
  ],
  [
    ['-b', '00:04.0'],
    ['-b', 'net_null0'],
  ],
  [['--file-prefix=a b'], [`--file-prefix=${'x'.repeat(201)}`]],
  [['--base-virtaddr=0x100000000', '--base-virtaddr=7f0000000000'], ['--base-virtaddr=0x10000000000000000']],
];
for (const [right, wrong] of enumerated) {
  test(`EAL: ${right.join(' ')}`, (t) => {
    t.notThrows(() => parseEalOptions(right));
    const tries = wrong[0]!.startsWith('--') || wrong[0]!.length > 2 ? wrong.map((word) => [word]) : [wrong];
    for (const argv of tries) t.throws(() => parseEalOptions(argv), { code: 'EOPTION' }, argv.join(' '));
  });
}

test('--proc-type: what is said of each', (t) => {
  t.deepEqual(parseEalOptions(['--proc-type=primary']).notes, []);
  t.deepEqual(parseEalOptions(['--proc-type=auto']).notes, ['EAL: Auto-detected process type: PRIMARY']);
  t.throws(() => parseEalOptions(['--proc-type=secondary']), {
    message: /^EAL: --proc-type=secondary: there are no secondary processes here/,
  });
  t.throws(() => parseAppOptions(['--num-procs=2', '--proc-id=1']), { message: /--proc-id=1: there is no primary/ });
  t.throws(() => parseAppOptions(['--proc-id=1']), { message: /must be less than --num-procs, which is 1/ });
  t.notThrows(() => parseAppOptions(['--num-procs=2', '--proc-id=0']));
});

const appValues: readonly [right: string, wrong: string][] = [
  ['--noisy-forward-mode=5tswap', '--noisy-forward-mode=csum'],
  ['--mp-alloc=xmemhuge', '--mp-alloc=hugexmem'],
  ['--print-event=intr_lsc', '--print-event=lsc'],
  ['--rx-mq-mode=0x7', '--rx-mq-mode=0x8'],
  ['--port-numa-config=(0,0),(1,1)', '--port-numa-config=0,0'],
  ['--ring-numa-config=(0,3,0)', '--ring-numa-config=(0,4,0)'],
  ['--rxhdrs=eth,ipv4', '--rxhdrs=eth,,ipv4'],
  ['--rxoffs=0,64', '--rxoffs=0;64'],
  ['--rxq=1024', '--rxq=1025'],
  ['--txrst=32', '--txrst=32768'],
  ['--rxq-share=2', '--rxq-share=two'],
];
for (const [right, wrong] of appValues) {
  test(`testpmd: ${right}, not ${wrong}`, (t) => {
    t.notThrows(() => parseAppOptions([right]));
    t.throws(() => parseAppOptions([wrong]), {
      code: 'EOPTION',
      message: new RegExp(`^testpmd: ${wrong.split('=')[0]}=`),
    });
  });
}
