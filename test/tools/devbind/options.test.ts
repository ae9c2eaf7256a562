/** devbind's command line, and how it understands what devices are called. */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { canonicalAddress } from '../../../driver/virtio/pci/address.js';
import { globPattern } from '../../../tools/devbind/address.js';
import { groups } from '../../../tools/devbind/groups.js';
import { parseOptions, usage } from '../../../tools/devbind/options.js';
import { down, FakeMachine } from './support/machine.js';

const parse = (line: string) => {
  const options = parseOptions(line.split(' '));
  if (typeof options === 'string') throw new Error('a text, not options');
  return options;
};

test('each spelling of each option is understood', (t) => {
  for (const line of [
    '-b vfio-pci eth1',
    '-bvfio-pci eth1',
    '-b=vfio-pci eth1',
    '--bind vfio-pci eth1',
    'eth1 --bind=vfio-pci',
  ]) {
    const { action, devices, status } = parse(line);
    t.deepEqual(action, { kind: 'bind', driver: 'vfio-pci' }, line);
    t.deepEqual(devices, ['eth1'], line);
    t.deepEqual(status, [], line);
  }
  for (const line of ['-u 00:03.0', '--unbind 00:03.0', '-b none 00:03.0', '--bind=None 00:03.0']) {
    t.deepEqual(parse(line).action, { kind: 'unbind' }, line);
  }
  for (const line of ['-s', '--status', '-s --status-dev net']) {
    t.deepEqual(
      parse(line).status,
      groups.map(({ name }) => name),
      line,
    );
  }
  for (const { name } of groups) t.deepEqual(parse(`--status-dev ${name}`).status, [name]);
  t.deepEqual(parse('-su eth1').action, { kind: 'unbind' });
  t.false(parse('-u eth1').force);
  t.true(parse('--force -u eth1').force);
  t.false(parse('-b vfio-pci eth1').noiommuMode);
  t.true(parse('--noiommu-mode -b vfio-pci eth1').noiommuMode);
  t.is(parseOptions(['-h']), usage);
  t.is(parseOptions(['--help']), usage);
});

const wrong: readonly [line: string, pattern: RegExp][] = [
  ['--bindd vfio-pci eth1', /unrecognized option '--bindd'; did you mean --bind\?/],
  ['-b', /option '--bind' requires an argument/],
  ['--status-dev', /option '--status-dev' requires an argument/],
  [
    '--status-dev nets',
    /--status-dev nets: expected one of baseband, compress, crypto, dma, event, mempool, misc, net, regex/,
  ],
  ['-b vfio-pci -u eth1', /--unbind and --bind exclude each other/],
  ['eth1', /No action specified for devices/],
  ['--force eth1', /No action specified for devices/],
  ['--bind= eth1', /No action specified for devices/],
  ['-u', /No devices specified/],
  ['-b vfio-pci --status', /No devices specified/],
];
for (const [line, pattern] of wrong) {
  test(`one sentence and exit code 2: devbind ${line}`, (t) => {
    const { code, out, err } = new FakeMachine(t, { devices: {} }).run(...line.split(' '));
    t.is(code, 2);
    t.is(out, '');
    t.regex(err, /^error\[E\w+\]: [^\n]+\n$/);
    t.regex(err, pattern);
  });
}

test('addresses without a domain, with a long one, short ones and capitals are one form', (t) => {
  const forms: readonly [string, string | undefined][] = [
    ['0000:00:03.0', '0000:00:03.0'],
    ['00:03.0', '0000:00:03.0'],
    ['0:3.0', '0000:00:03.0'],
    ['0:0:3.0', '0000:00:03.0'],
    ['0000:AF:1F.7', '0000:af:1f.7'],
    ['10000:e1:00.0', '10000:e1:00.0'],
    ['00010000:e1:00.0', '10000:e1:00.0'],
    ['00:03', undefined],
    ['00:03.8', undefined],
    ['0000:00:03.0 ', undefined],
    ['000:03.0', undefined],
    ['0000:00:03.0/..', undefined],
    ['eth0', undefined],
    ['', undefined],
  ];
  for (const [word, expected] of forms) t.is(canonicalAddress(word), expected, word);
});

test('the form of an address is its own form', (t) => {
  const nat = (max: number) => fc.integer({ min: 0, max });
  fc.assert(
    fc.property(nat(0xffffffff), nat(255), nat(31), nat(7), (domain, bus, slot, func) => {
      const once = canonicalAddress([domain, bus, slot].map((part) => part.toString(16)).join(':') + `.${func}`)!;
      return canonicalAddress(once) === once && canonicalAddress(once.toUpperCase()) === once;
    }),
  );
  t.pass();
});

test('wildcards: every kind, nothing but them, and a range upside down', (t) => {
  t.true(globPattern('0000:80:04.*').test('0000:80:04.7'));
  t.false(globPattern('0000:80:04.*').test('0000:80:04'), 'a dot is a dot');
  t.true(globPattern('00:0?.[0-3]').test('00:0f.3'));
  t.false(globPattern('00:0?.[!0-3]').test('00:0f.3'));
  t.true(globPattern('a+(b)|$^{}\\').test('a+(b)|$^{}\\'));
  t.true(globPattern('[').test('['), 'a bracket without its partner is a letter');
  t.true(globPattern('[!]').test('[!]'), 'and so is one around nothing');
  t.false(globPattern('[!]').test('x'));
  t.false(globPattern('[z-a]').test('z'));
});

test('devbind itself: help, a wrong line, and a look at this machine', (t) => {
  const cwd = fileURLToPath(new URL('../../..', import.meta.url));
  const run = (...argv: string[]) =>
    spawnSync(process.execPath, ['--import', './tools/ts.mjs', 'tools/devbind/main.ts', ...argv], {
      cwd,
      encoding: 'utf8',
    });
  t.like(run('--help'), { status: 0, stdout: usage, stderr: '' });
  t.like(run(), { status: 2, stdout: '' });
  const { status, stdout } = run('--status-dev', 'net');
  t.is(status, 0);
  t.regex(stdout, /^\n(No 'Network' devices detected|Network devices|Other Network devices)/);
});

test('whatever the words, there is an answer, and nothing is written outside the chosen device', (t) => {
  const word = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.stringMatching(/^[0-9a-f:.*?[\]!-]{0,12}$/),
    fc.constantFrom(
      'eth0',
      '0000:00:03.0',
      '00:03.0',
      '-b',
      '-u',
      'vfio-pci',
      'none',
      'dpdk',
      '../..',
      '--force',
      '/',
      '__proto__',
    ),
  );
  const machine = new FakeMachine(t, {
    devices: { '0000:00:03.0': { driver: 'virtio-pci', interfaces: [down('eth0')], iommuGroup: 1 } },
  });
  fc.assert(
    fc.property(fc.array(word, { maxLength: 5 }), (argv) => {
      const { code, err } = machine.run(...argv);
      return [0, 1, 2].includes(code) && (code === 0 || err.includes('error[E'));
    }),
    { numRuns: 300 },
  );
  t.deepEqual(
    machine.writes.filter(
      (line) => !/^(devices\/0000:00:03\.0\/driver_override|drivers\/(virtio|vfio)-pci\/(un)?bind): /.test(line),
    ),
    [],
  );
});
