/** Bytes of control commands. */
import test from 'ava';
import * as ctrlq from '../../../../driver/virtio/control/commands.js';
import { DEFAULT_RSS_KEY, defaultReta } from '../../../../driver/virtio/rss-config.js';

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
