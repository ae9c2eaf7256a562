/** The command line of l3fwd-power: what is understood, and one sentence for each mistake. */
import test from 'ava';
import {
  byLcore,
  checkConfig,
  checkMonitor,
  checkPresent,
  parseConfig,
  rxQueuesOf,
} from '../../../tools/l3fwd-power/lcore-config.js';
import { parseEalOptions } from '../../../tools/common/eal-options.js';
import { logsInfo } from '../../../tools/common/log-level.js';
import { parseOptions } from '../../../tools/l3fwd-power/options.js';

const words = (line: string) => (line === '' ? [] : line.split(' '));
const options = (line: string) => parseOptions(words(line));
const least = '-p 1 --config=(0,0,1)';

test("the guide's command", (t) => {
  t.deepEqual(options('-p 1 -P --config=(0,0,1) --no-numa --parse-ptype'), {
    ports: [0],
    promiscuous: true,
    config: [{ port: 0, queue: 0, lcore: 1 }],
    parsePtype: true,
    mode: undefined,
    pmdMgmt: 'baseline',
    maxEmptyPolls: 512,
    pauseDurationUs: 1,
    maxPacketLength: undefined,
    destinations: new Map(),
    ruleIpv4: undefined,
    ruleIpv6: undefined,
    help: false,
    notes: [],
  });
});

test('every option has its value', (t) => {
  t.like(options('-p0x5 --config (0,0,1),(2,0,3) --pmd-mgmt pause --max-empty-polls 7 --pause-duration=20'), {
    ports: [0, 2],
    mode: 'pmd mgmt',
    pmdMgmt: 'pause',
    maxEmptyPolls: 7,
    pauseDurationUs: 20,
    promiscuous: false,
    parsePtype: false,
  });
  t.like(options(`${least} --max-pkt-len 9600 --rule_ipv4=a --rule_ipv6 b --interrupt-only`), {
    maxPacketLength: 9600,
    ruleIpv4: 'a',
    ruleIpv6: 'b',
    mode: 'interrupt-only',
  });
  const { destinations } = options(`${least} --eth-dest=0,02:0:0:0:0:a --eth-dest=3,AA-BB-CC-DD-EE-FF`);
  t.deepEqual([...destinations], [[0, '02:00:00:00:00:0A'], [3, 'AA:BB:CC:DD:EE:FF']]); // prettier-ignore
  t.is(options(`${least} --telemetry`).mode, 'telemetry');
  t.is(options(`${least} --pmd-mgmt=monitor`).pmdMgmt, 'monitor');
  t.true(options('--help').help);
  t.true(options('-h').help);
  t.deepEqual(options(`${least} --no-numa --eth-link-speed 1000`).notes.length, 1);
});

/** Command line -> what the sentence says. */
const mistakes: readonly (readonly [line: string, says: RegExp])[] = [
  ['', /--config is missing/],
  ['--config=(0,0,1)', /-p PORTMASK is missing/],
  ['-p x --config=(0,0,1)', /invalid portmask 'x'/],
  ['-p 0 --config=(0,0,1)', /invalid portmask '0'/],
  [`${least} --interupt-only`, /unrecognized option '--interupt-only'; did you mean --interrupt-only\?$/],
  [`${least} stray`, /unexpected argument 'stray'/],
  [`${least} --max-pkt-len 63`, /--max-pkt-len=63: must be a number from 64 to 9600/],
  [`${least} --max-pkt-len 9601`, /--max-pkt-len=9601/],
  [`${least} --max-empty-polls=-1`, /--max-empty-polls=-1: must be a number from 0/],
  [`${least} --pause-duration 0`, /--pause-duration=0: must be a number from 1/],
  [`${least} --pmd-mgmt=paus`, /--pmd-mgmt=paus: must be one of baseline, pause, monitor; did you mean pause\?$/],
  [`${least} --pmd-mgmt=scale`, /--pmd-mgmt=scale changes CPU frequencies.*: use baseline, pause or monitor/],
  [`${least} --eth-dest=0`, /--eth-dest=0: must be PORT,MAC/],
  [`${least} --eth-dest=0,1:2:3`, /--eth-dest=0,1:2:3: must be PORT,MAC/],
  ...['--legacy', '-u', '-U', '-i 1', '--perf-config=(0,0,1,1)', '--high-perf-cores={1}', '--scale-freq-min=1', '--scale-freq-max=1', '--cpu-resume-latency=1']
    .map((option) => [`${least} ${option}`, new RegExp(`${option.split(/[= ]/)[0]} (changes|limits) .*leave it out`)] as const), // prettier-ignore
];
for (const [line, says] of mistakes) {
  test(`refused: ${line || 'nothing at all'}`, (t) => {
    t.throws(() => options(line), { code: 'EOPTION', message: says });
  });
}

test('two modes are named by the second one, in the words of the sample', (t) => {
  const modes: readonly (readonly [option: string, name: string])[] = [
    ['--interrupt-only', 'interrupt-only'],
    ['--telemetry', 'telemetry'],
    ['--pmd-mgmt=pause', 'power mgmt'],
    ['--legacy', 'legacy'],
  ];
  for (const [first] of modes) {
    for (const [second, name] of modes) {
      const message = new RegExp(`^l3fwd-power: ${name} mode is mutually exclusive with other modes`);
      t.throws(() => options(`${least} ${first} ${second}`), { code: 'EOPTION', message });
    }
  }
});

test('--config: queues and lcores in any order, spaces and 0x', (t) => {
  const config = parseConfig(' (1, 0,3),(0,1,0x2) , (0,0,3)');
  t.deepEqual(config, [
    { port: 1, queue: 0, lcore: 3 },
    { port: 0, queue: 1, lcore: 2 },
    { port: 0, queue: 0, lcore: 3 },
  ]);
  t.deepEqual(
    byLcore(config).map(({ lcoreId, queues }) => [lcoreId, ...queues.map(({ port, queue }) => `${port}/${queue}`)]),
    [[2, '0/1'], [3, '1/0', '0/0']],
  ); // prettier-ignore
  t.deepEqual([0, 1, 2].map((port) => rxQueuesOf(config, port)), [2, 1, 0]); // prettier-ignore
});

const sixteen = Array.from({ length: 16 }, (_, queue) => `(0,${queue},1)`).join(',');
const wrongConfigs: readonly (readonly [text: string, says: RegExp])[] = [
  ['', /must be like "\(0,0,1\),\(1,0,2\)"/],
  ['0,0,1', /must be like/],
  ['(0,0)', /must be like/],
  ['(0,0,1', /must be like/],
  ['(0,0,1)(1,0,1)', /must be like/],
  ['(0,0,1),', /must be like/],
  ['(0,0,256)', /numbers up to 255/],
  ['(0,x,1)', /must be like/],
  ['(0,0,1),(0,0,2)', /port 0 queue 0 is there twice/],
  ['(0,1,1)', /queue ids of the port 0 must be in sequence and must start with 0: --config has 1/],
  ['(0,0,1),(0,2,1)', /queue ids of the port 0 must be in sequence/],
  ['(0,128,1)', /invalid queue number: 128/],
  [`${sixteen},(0,16,1)`, /error: too many queues \(17\) for lcore: 1/],
];
for (const [text, says] of wrongConfigs) {
  test(`--config=${text} is refused`, (t) => {
    t.throws(() => parseConfig(text), { code: 'EOPTION', message: says });
  });
}

test('--config against the lcores, the mask and the ports that there are', (t) => {
  t.is(parseConfig(sixteen).length, 16);
  const config = parseConfig('(0,0,1),(1,0,2)');
  t.notThrows(() => checkConfig(config, [0, 1], [1, 2]));
  t.throws(() => checkConfig(config, [0, 1], [0, 1]), {
    message: /^l3fwd-power: error: lcore 2 is not enabled in lcore mask: lcores are 0-1/,
  });
  t.throws(() => checkConfig(config, [0], [1, 2]), { message: /port 1 is not enabled in port mask/ });
  t.notThrows(() => checkPresent(config, [0, 1, 2]));
  t.throws(() => checkPresent(config, [0]), { message: /port 1 is not present on the board: there are 0/ });
  t.throws(() => checkPresent(config, []), { message: /port 0 is not present on the board: there is none/ });
});

test('--pmd-mgmt=monitor needs a CPU that can, and one queue for each lcore', (t) => {
  const queues = (text: string) => byLcore(parseConfig(text));
  t.notThrows(() => checkMonitor(queues('(0,0,1),(0,1,2)'), ''));
  t.throws(() => checkMonitor(queues('(0,0,1)'), 'this CPU has no UMWAIT'), {
    code: 'EOPTION',
    message: 'l3fwd-power: --pmd-mgmt=monitor: this CPU has no UMWAIT; use --pmd-mgmt=pause',
  });
  t.throws(() => checkMonitor(queues('(0,0,1),(0,1,1)'), ''), {
    message: /lcore 1 polls 2 queues, and a CPU monitors one/,
  });
});

test("--log-level of EAL keeps the sample's own lines quiet, or lets them through", (t) => {
  for (const line of ['', '--log-level=user1:info', '--log-level user1,8', '--log-level=lib.eal:error', '-l 0', '--log-level=pmd.*:3', '--log-level=user1:notice --log-level=*:debug']) {
    t.true(logsInfo(parseEalOptions(words(line)).logSettings, 'user1'), line);
  } // prettier-ignore
  for (const line of ['--log-level=user1:notice', '--log-level user1,6', '--log-level=warning', '--log-level=4', '--log-level=user*:err', '--log-level=*:notice']) {
    t.false(logsInfo(parseEalOptions(words(line)).logSettings, 'user1'), line);
  } // prettier-ignore
});
