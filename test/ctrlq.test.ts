/** Bytes of control commands, and virtio_user's answers to them. */
import test from 'ava';
import * as ctrlq from '../driver/ctrlq.js';
import { DEFAULT_RSS_KEY, defaultReta } from '../driver/rss.js';

const hex = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString('hex');
const shown = ({ class: commandClass, command, args }: ctrlq.ControlCommand) =>
  `${commandClass}/${command} ${args.map(hex).join(' ')}`;

test('commands as the device reads them', (t) => {
  const a = '02:00:00:00:00:0A';
  const b = '33:33:00:00:00:01';
  t.is(shown(ctrlq.setPairsCommand(0x102)), '4/0 0201');
  t.is(shown(ctrlq.rxModeCommand(ctrlq.CTRL_RX_PROMISC, true)), '0/0 01');
  t.is(shown(ctrlq.rxModeCommand(ctrlq.CTRL_RX_ALLMULTI, false)), '0/1 00');
  t.is(shown(ctrlq.macTableCommand([], [])), '1/0 00000000 00000000');
  t.is(shown(ctrlq.macTableCommand([a, a], [b])), '1/0 0200000002000000000a02000000000a 01000000333300000001');
  t.is(shown(ctrlq.macAddressCommand(a)), '1/1 02000000000a');
  t.is(shown(ctrlq.vlanCommand(0xfff, true)), '2/0 ff0f');
  t.is(shown(ctrlq.vlanCommand(1, false)), '2/1 0100');
  t.is(shown(ctrlq.announceCommand()), '3/0 ');
});

test('an RSS configuration: types, mask, unclassified queue, table, Tx queues, key', (t) => {
  const key = Uint8Array.of(1, 2, 3);
  const command = ctrlq.rssConfigCommand({
    hashTypes: 0x1ff,
    unclassifiedQueue: 1,
    reta: [0, 1, 2, 0x103],
    maxTxVq: 4,
    key,
  });
  t.is(shown(command), '4/1 ff010000' + '0300' + '0100' + '0000010002000301' + '0400' + '03' + '010203');
  const full = ctrlq.rssConfigCommand({
    ...{ hashTypes: 0x3f, unclassifiedQueue: 0, reta: defaultReta(3), maxTxVq: 3, key: DEFAULT_RSS_KEY },
  });
  t.is(full.args.length, 1);
  t.is(full.args[0]!.length, 4 + 2 + 2 + 256 + 2 + 1 + 40);
  t.is(hex(full.args[0]!.subarray(4, 6)), '7f00');
});

test('a hash configuration: types, four reserved fields, key', (t) => {
  const command = ctrlq.hashConfigCommand({ hashTypes: 0x21, key: Uint8Array.of(9, 8) });
  t.is(shown(command), '4/2 21000000' + '0000000000000000' + '02' + '0908');
});

function emulated(maxQueuePairs = 4) {
  const said: string[] = [];
  const enabled: number[] = [];
  const device: ctrlq.EmulatedDevice = {
    maxQueuePairs,
    enablePairs: (n) => enabled.push(n),
    refused: (why) => said.push(why),
  };
  return { said, enabled, run: (command: ctrlq.ControlCommand) => ctrlq.emulateControl(command, device) };
}

test('virtio_user accepts filters, of which its back-end never hears', (t) => {
  const { run, said, enabled } = emulated();
  const accepted = [
    ctrlq.rxModeCommand(ctrlq.CTRL_RX_PROMISC, true),
    ctrlq.macTableCommand(['02:00:00:00:00:01'], []),
    ctrlq.macAddressCommand('02:00:00:00:00:01'),
    ctrlq.vlanCommand(5, true),
  ];
  for (const command of accepted) t.is(run(command), 0);
  t.deepEqual([said, enabled], [[], []]);
});

test('virtio_user enables queue pairs, also when they come with an RSS configuration', (t) => {
  const { run, enabled } = emulated();
  t.is(run(ctrlq.setPairsCommand(3)), 0);
  const rss = { hashTypes: 1, unclassifiedQueue: 0, reta: defaultReta(2), maxTxVq: 2, key: DEFAULT_RSS_KEY };
  t.is(run(ctrlq.rssConfigCommand(rss)), 0);
  t.deepEqual(enabled, [3, 2]);
});

const mq = (command: number, ...args: Uint8Array[]): ctrlq.ControlCommand => ({ class: ctrlq.CTRL_MQ, command, args });
const rssOf = (maxTxVq: number) =>
  ctrlq.rssConfigCommand({ hashTypes: 1, unclassifiedQueue: 0, reta: [0], maxTxVq, key: DEFAULT_RSS_KEY });
const refusals: readonly (readonly [title: string, command: ctrlq.ControlCommand, why: RegExp])[] = [
  ['no pairs', ctrlq.setPairsCommand(0), /^multi-q config 0, but only 4 supported$/],
  ['too many pairs', ctrlq.setPairsCommand(5), /^multi-q config 5, but only 4 supported$/],
  ['no pairs by RSS', rssOf(0), /^multi-q config 0,/],
  ['too many pairs by RSS', rssOf(0xffff), /^multi-q config 65535,/],
  ['pairs in one byte', mq(0, Uint8Array.of(1)), /^control command 4\/0 is not emulated$/],
  ['pairs in two arguments', mq(0, Uint8Array.of(1, 0), Uint8Array.of(1, 0)), /4\/0 is not emulated/],
  ['pairs without argument', mq(0), /4\/0 is not emulated/],
  ['RSS shorter than its fixed part', mq(1, new Uint8Array(7)), /4\/1 is not emulated/],
  ['RSS shorter than its table', mq(1, new Uint8Array([0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0])), /4\/1 is not emulated/],
  ['hash configuration', ctrlq.hashConfigCommand({ hashTypes: 1, key: DEFAULT_RSS_KEY }), /4\/2 is not emulated/],
  ['announcement', ctrlq.announceCommand(), /3\/0 is not emulated/],
  ['a class that does not exist', { class: 99, command: 0, args: [] }, /99\/0 is not emulated/],
];
for (const [title, command, why] of refusals) {
  test(`virtio_user refuses: ${title}`, (t) => {
    const { run, said, enabled } = emulated();
    t.is(run(command), 0xff);
    t.regex(said.join('\n'), why);
    t.deepEqual(enabled, []);
  });
}
