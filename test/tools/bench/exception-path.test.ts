/** The exception-path benchmark: options, what it reads of the kernel, its senders, its table. The guest's tests run it whole. */
import { spawn, spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import {
  deviceString,
  exceptionPathTable,
  type ExceptionPathResult,
  type ExceptionPathRun,
} from '../../../tools/bench/exception-path/exception-path.js';
import {
  floodCommand,
  inNamespaceOf,
  interfaceCounters,
  namespaced,
  parseInterface,
  setUp,
  tool,
} from '../../../tools/bench/exception-path/system.js';
import { parseExceptionPath } from '../../../tools/bench/options.js';
import { parseVirtioUser } from '../../../driver/devargs/devargs.js';
import { eventually, startPeer } from '../../support/peers.js';
import { whyNoTap } from '../../support/tap.js';
import { needs } from '../../support/needs.js';

const tapTest = needs(whyNoTap());

// ---- the command line ------------------------------------------------------------------------------------------------

test('without options: both directions, both sides, the smallest and the largest packets', (t) => {
  const { options, json, build } = parseExceptionPath([])!;
  t.deepEqual(options, {
    ...{ path: '/dev/vhost-net', directions: ['to-kernel', 'from-kernel'], sizes: [64, 1514] },
    ...{ sides: ['ours', 'dpdk'], pairs: 3, seconds: 3, warmUpSeconds: 1, senders: 2 },
  });
  t.deepEqual([json, build], ['bench-out/exception-path.json', true]);
  t.is(parseExceptionPath(['--help', '--side', 'x']), undefined);
});

for (const [argv, sentence] of [
  [['--direction', 'up'], /--direction up: must be one of to-kernel, from-kernel/],
  [['--side', 'our'], /--side our: must be one of ours, dpdk; did you mean ours\?/],
  [['--size', '1518'], /--size 1518: 1514 bytes are the most/],
  [['--senders', '0'], /--senders 0: a whole number from 1 to 64/],
  [['--recipe', 'x'], /unrecognized option '--recipe'/],
] as const) {
  test(`refused with a sentence: ${argv.join(' ')}`, (t) => {
    t.throws(() => parseExceptionPath(argv), { message: sentence, code: 'EOPTION' });
  });
}

test('the device string is one that both sides know', (t) => {
  const { queues, queueSize, iface, cq } = parseVirtioUser(deviceString('/dev/vhost-net'));
  t.deepEqual([queues, queueSize, iface, cq], [1, 1024, 'vpmd0', false]);
});

const bench = (...argv: readonly string[]) => {
  const cwd = fileURLToPath(new URL('../../..', import.meta.url));
  const args = ['--import', './tools/ts.mjs', 'tools/bench/main.ts', 'exception-path', ...argv];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd, encoding: 'utf8' });
  return { status, stdout, stderr };
};

test('without vhost-net, or with another file, it is one sentence and exit code 1', (t) => {
  const none = existsSync('/dev/vhost-net') ? ['--path', '/dev/vhost-vdpa-none'] : [];
  const { status, stdout, stderr } = bench(...none);
  t.deepEqual([status, stdout], [1, '']);
  t.regex(
    stderr,
    /^error\[ESOCKET\]: there is no \/dev\/vhost-[a-z-]+: load the module with "modprobe vhost_[^\n]*\n$/,
  );
  const other = bench('--path', '/tmp');
  t.is(other.status, 1);
  t.regex(other.stderr, /^error\[ESOCKET\]: [^\n]*\/tmp[^\n]*\n$/);
});

// ---- the system ------------------------------------------------------------------------------------------------------

const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:      10       1    0    0    0     0          0         0       20       2    0    0    0     0       0          0
 vpmd0: 1000 11 12 13 14 15 16 17 2000 21 22 23 24 25 26 27
vpmd00:    5 99 0 0 0 0 0 0 6 98 0 97 0 0 0 0
`;

test('counters of an interface: the one of this name, also where its colon touches a number', (t) => {
  t.deepEqual(parseInterface(NET_DEV, 'vpmd0'), { rxPackets: 11, txPackets: 21, txDropped: 23 });
  t.deepEqual(parseInterface(NET_DEV.replace('vpmd0: 1000', 'vpmd0:1000'), 'vpmd0').rxPackets, 11);
  t.throws(() => parseInterface(NET_DEV, 'pmd0'), { message: 'the interface pmd0 is not there any more' });
  t.throws(() => parseInterface('', 'vpmd0'), { code: 'EPEER' });
});

test('a tool that is missing, or does not work, is named with the remedy', (t) => {
  t.notThrows(() => tool('true', [], ''));
  t.throws(() => tool('false', ['-x'], 'write it'), { message: 'false -x does not work: write it', code: 'ECONFIG' });
  t.throws(() => tool('no-such-program', [], 'get it'), { message: 'no-such-program does not work: get it' });
});

test('senders send packets of the size that was asked for, until they are told to quit', async (t) => {
  const receiver = createSocket('udp4').bind(0, '127.0.0.1');
  t.teardown(() => receiver.close());
  await once(receiver, 'listening');
  const { port } = receiver.address() as AddressInfo;
  const sizes = new Set<number>();
  let received = 0;
  receiver.on('message', (bytes) => {
    received++;
    sizes.add(bytes.length + 42);
  });
  const sender = startPeer(t, 'sender', ...floodCommand(64, '127.0.0.1', '127.0.0.1', port));
  await sender.waitFor(/flooding\n/, 60_000);
  await eventually(
    'packets',
    () => received,
    (n) => n > 1000,
  );
  t.is(await sender.stop(), 'exit code 0');
  t.deepEqual([...sizes], [64]);
});

test('a sender that cannot send says why', async (t) => {
  const sender = startPeer(t, 'sender', ...floodCommand(64, '192.0.2.77', '127.0.0.1'));
  t.is(await sender.end(), 'exit code 1');
  t.regex(sender.output, /^bind EADDRNOTAVAIL 192\.0\.2\.77\n$/);
});

tapTest('an interface in a namespace of its own: set up, counted from outside, flooded', async (t) => {
  const child = spawn(...namespaced(['cat', []]), { stdio: ['pipe', 'ignore', 'inherit'] });
  t.teardown(() => child.kill());
  await eventually(
    'the namespace',
    () => spawnSync('nsenter', ['-t', `${child.pid}`, '-n', 'true']).status,
    (s) => s === 0,
  );
  const ownLinks = () =>
    spawnSync('readlink', [`/proc/${child.pid}/ns/net`, '/proc/self/ns/net'], { encoding: 'utf8' });
  await eventually(
    'another one',
    () => new Set(ownLinks().stdout.trim().split('\n')).size,
    (n) => n === 2,
  );
  const inside = (words: string) => {
    const [program, args] = inNamespaceOf(child.pid!, ['ip', words.split(' ')]);
    const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
  };
  inside('link add vpmd0 type veth peer name far');
  inside('link set far up');
  setUp(child.pid!, 'vpmd0');
  t.throws(() => setUp(child.pid!, 'vpmd1'), { code: 'ESYSTEM', message: /^ip addr add 192\.0\.2\.1\/24 dev vpmd1: / });
  const before = interfaceCounters(child.pid!, 'far');
  const sender = startPeer(t, 'sender', ...inNamespaceOf(child.pid!, floodCommand(1514)));
  await sender.waitFor(/flooding\n/, 60_000);
  await eventually(
    'packets',
    () => interfaceCounters(child.pid!, 'far').rxPackets,
    (n) => n > before.rxPackets + 1000,
  );
  t.is(await sender.stop(), 'exit code 0');
});

// ---- the table -------------------------------------------------------------------------------------------------------

const paths = { rx: 'virtio_recv_mergeable_pkts', tx: 'virtio_xmit_pkts' };
const run = (
  direction: ExceptionPathRun['direction'],
  side: ExceptionPathRun['side'],
  pair: number,
  mpps: number[],
) => {
  const windows = mpps.map((rate) => rate * 1e6);
  return { direction, side, pair, size: 64, windows, packets: 750, dropped: side === 'ours' ? 250 : 0, ...paths };
};
const resultOf = (runs: readonly ExceptionPathRun[]) =>
  ({ options: { ...parseExceptionPath(['--size', '64'])!.options }, runs }) as unknown as ExceptionPathResult;

test('the table: best windows, median of the pairs’ ratios, what the tap dropped', (t) => {
  const runs = [
    ...[run('to-kernel', 'ours', 0, [1, 2]), run('to-kernel', 'dpdk', 0, [1, 1])],
    ...[run('to-kernel', 'ours', 1, [4, 3]), run('to-kernel', 'dpdk', 1, [4, 1])],
    ...[run('from-kernel', 'ours', 0, [0.5])],
  ];
  t.deepEqual(exceptionPathTable(resultOf(runs)).split('\n').slice(2), [
    'to-kernel       64      4.000  4.000      1.50   -                 -                     2',
    'from-kernel     64      0.500  -          -      250000            -                     1',
  ]);
  t.is(exceptionPathTable(resultOf([])).split('\n').length, 2);
});
