/** virtio_user's control queue: queue pairs, filters, and commands that are not whole. */
import test from 'ava';
import fc from 'fast-check';
import * as ctrlq from '../../../../driver/virtio/control/commands.js';
import { DEFAULT_RSS_KEY, defaultReta } from '../../../../driver/virtio/rss-config.js';
import { macBytes } from '../../../../driver/wire/mac.js';
import {
  ControlEmulator,
  type EmulatedDevice,
  type ReceiveFilter,
} from '../../../../driver/virtio/control/emulator.js';

const OWN = '02:00:00:00:00:01';
const A = '02:00:00:00:00:0a';
const B = '02:00:00:00:00:0b';
const GROUP = '01:00:5e:00:00:01';

const hex = (bytes: Uint8Array) =>
  Buffer.from(bytes)
    .toString('hex')
    .replace(/..(?=.)/g, '$&:');
const shown = ({ promiscuous, allmulticast, unicast, multicast }: ReceiveFilter) =>
  `${promiscuous ? 'promiscuous' : `${unicast.map(hex).join(' ')} | ${multicast.map(hex).join(' ')}`}${allmulticast ? ' all' : ''}`;

interface Fake {
  readonly mac?: string | undefined;
  readonly maxQueuePairs?: number;
  /** As a vhost-user back-end, which has no filter. */
  readonly deaf?: boolean;
}

function make({ mac = OWN, maxQueuePairs = 4, deaf = false }: Fake = { mac: OWN }) {
  const said: string[] = [];
  const enabled: number[] = [];
  const filters: string[] = [];
  const fails = { with: undefined as string | undefined };
  const device: EmulatedDevice = {
    mac: mac === '' ? undefined : macBytes(mac),
    maxQueuePairs,
    enablePairs: (n) => void enabled.push(n),
    refused: (why) => void said.push(why),
    ...(deaf
      ? {}
      : {
          setReceiveFilter: (filter: ReceiveFilter) => {
            if (fails.with !== undefined) throw new Error(fails.with);
            filters.push(shown(filter));
          },
        }),
  };
  const emulator = new ControlEmulator(device);
  return {
    ...{ emulator, said, enabled, filters, fails },
    run: (command: ctrlq.ControlCommand) => emulator.run(command),
    /** Runs commands that are accepted. @returns the filters that they put in force */
    filtersOf: (...commands: readonly ctrlq.ControlCommand[]) => {
      for (const command of commands) if (emulator.run(command) !== 0) throw new Error(said.join('\n'));
      return filters.splice(0);
    },
  };
}

const promisc = (on: boolean) => ctrlq.rxModeCommand(ctrlq.CTRL_RX_PROMISC, on);
const allmulti = (on: boolean) => ctrlq.rxModeCommand(ctrlq.CTRL_RX_ALLMULTI, on);
const raw = (commandClass: number, command: number, ...args: readonly (readonly number[])[]): ctrlq.ControlCommand => ({
  class: commandClass,
  command,
  args: args.map((arg) => Uint8Array.from(arg)),
});

// ---- filters ---------------------------------------------------------------------------------------------------------

test('a filter is in force from PROMISC 0 to PROMISC 1, with what was told before', (t) => {
  const { filtersOf } = make();
  t.deepEqual(filtersOf(allmulti(true), ctrlq.macTableCommand([A], [GROUP]), ctrlq.macAddressCommand(B)), []);
  t.deepEqual(filtersOf(promisc(false)), [`${B} ${A} | ${GROUP} all`]);
  t.deepEqual(filtersOf(allmulti(false)), [`${B} ${A} | ${GROUP}`]);
  t.deepEqual(filtersOf(ctrlq.macTableCommand([], [])), [`${B} | `]);
  t.deepEqual(filtersOf(promisc(true), promisc(true), ctrlq.macAddressCommand(A)), ['promiscuous']);
  t.deepEqual(filtersOf(promisc(false)), [`${A} | `]);
});

test('the device’s own address comes first, until a command changes it and again after a reset', (t) => {
  const { filtersOf, emulator, filters } = make();
  t.deepEqual(filtersOf(promisc(false), ctrlq.macAddressCommand(B)), [`${OWN} | `, `${B} | `]);
  emulator.reset();
  t.deepEqual(filters.splice(0), ['promiscuous']);
  t.deepEqual(filtersOf(promisc(false)), [`${OWN} | `]);
});

test('a device without address lets everything through until it has one', (t) => {
  const { filtersOf } = make({ mac: '' });
  t.deepEqual(filtersOf(promisc(false)), []);
  t.deepEqual(filtersOf(ctrlq.macAddressCommand(A)), [`${A} | `]);
});

test('reset: modes, table and address are forgotten; without a filter in force nothing is told', (t) => {
  const { filtersOf, emulator, filters } = make();
  filtersOf(allmulti(true), ctrlq.macTableCommand([A], [GROUP]), ctrlq.macAddressCommand(B));
  emulator.reset();
  emulator.reset();
  t.deepEqual(filters, []);
  t.deepEqual(filtersOf(promisc(false)), [`${OWN} | `]);
});

test('a filter that the device cannot set is refused and changes nothing; a reset says so and goes on', (t) => {
  const { run, filtersOf, emulator, said, fails } = make();
  filtersOf(promisc(false));
  fails.with = 'the tap is gone';
  t.is(run(ctrlq.macTableCommand([A], [])), 0xff);
  t.is(run(ctrlq.macAddressCommand(B)), 0xff);
  fails.with = undefined;
  t.deepEqual(filtersOf(allmulti(true)), [`${OWN} |  all`]);
  fails.with = 'the tap is gone';
  emulator.reset();
  t.deepEqual(said, ['the tap is gone', 'the tap is gone', 'the tap is gone']);
  fails.with = undefined;
  t.deepEqual(filtersOf(promisc(true), promisc(false)), [`${OWN} | `]);
});

test('addresses of a filter are copies: the command’s memory may be used again', (t) => {
  const { run, filtersOf } = make();
  const command = ctrlq.macTableCommand([A], [GROUP]);
  run(command);
  for (const arg of command.args) arg.fill(0xee);
  t.deepEqual(filtersOf(promisc(false)), [`${OWN} ${A} | ${GROUP}`]);
});

test('a back-end without filters: accepted, of which it never hears', (t) => {
  const { run, said, enabled } = make({ deaf: true });
  const accepted = [
    ...[promisc(false), allmulti(true), ctrlq.macTableCommand([A], [GROUP])],
    ...[ctrlq.macAddressCommand(A), ctrlq.vlanCommand(0, true), ctrlq.vlanCommand(4095, false)],
  ];
  for (const command of accepted) t.is(run(command), 0);
  t.deepEqual([said, enabled], [[], []]);
});

test('how a command is cut into descriptors makes no difference', (t) => {
  const { run, filtersOf } = make();
  const bytes = ctrlq.macTableCommand([A, B], [GROUP]).args.flatMap((arg) => [...arg]);
  t.is(run({ class: 1, command: 0, args: bytes.map((byte) => Uint8Array.of(byte)) }), 0);
  t.deepEqual(filtersOf(promisc(false)), [`${OWN} ${A} ${B} | ${GROUP}`]);
});

// ---- queue pairs -----------------------------------------------------------------------------------------------------

const rss = (maxTxVq: number, reta: readonly number[] = defaultReta(2)) =>
  ctrlq.rssConfigCommand({ hashTypes: 1, unclassifiedQueue: 0, reta, maxTxVq, key: DEFAULT_RSS_KEY });

test('queue pairs are enabled, also when they come with an RSS configuration', (t) => {
  const { run, enabled } = make();
  t.is(run(ctrlq.setPairsCommand(4)), 0);
  t.is(run(rss(2)), 0);
  t.is(run(rss(1, [0])), 0);
  t.deepEqual(enabled, [4, 2, 1]);
});

test('a back-end that goes away while pairs are enabled is no refusal', (t) => {
  const device = { mac: undefined, maxQueuePairs: 1, refused: () => t.fail() };
  const enablePairs = () => {
    throw new Error('hung up');
  };
  const emulator = new ControlEmulator({ ...device, enablePairs });
  t.throws(() => emulator.run(ctrlq.setPairsCommand(1)), { message: 'hung up' });
});

// ---- refusals --------------------------------------------------------------------------------------------------------

const cut = ({ class: commandClass, command, args }: ctrlq.ControlCommand, bytes: number) =>
  raw(commandClass, command, args.flatMap((arg) => [...arg]).slice(0, bytes));
const mac = [2, 0, 0, 0, 0, 1];

const refusals: readonly (readonly [title: string, command: ctrlq.ControlCommand, why: RegExp])[] = [
  ['no pairs', ctrlq.setPairsCommand(0), /^multi-q config 0, but only 4 supported$/],
  ['too many pairs', ctrlq.setPairsCommand(5), /^multi-q config 5, but only 4 supported$/],
  ['no pairs by RSS', rss(0), /^multi-q config 0,/],
  ['too many pairs by RSS', rss(0xffff), /^multi-q config 65535,/],
  ['pairs in one byte', raw(4, 0, [1]), /^multi-q config of 1 bytes instead of 2$/],
  ['pairs twice', raw(4, 0, [1, 0], [1, 0]), /^multi-q config of 4 bytes/],
  ['pairs without argument', raw(4, 0), /^multi-q config of 0 bytes/],
  [
    'RSS shorter than its fixed part',
    raw(
      4,
      1,
      Array.from({ length: 10 }, () => 0),
    ),
    /^RSS config of 10 bytes/,
  ],
  ['RSS shorter than its table', cut(rss(1), 20), /^RSS config with 128 entries of 20 bytes instead of 267$/],
  ['RSS shorter than its key', cut(rss(1), 306), /^RSS config with 128 entries of 306 bytes instead of 307$/],
  ['RSS with something behind its key', raw(4, 1, [...rss(1).args[0]!, 0]), /of 308 bytes instead of 307$/],
  ['RSS with three entries', rss(1, [0, 0, 0]), /^RSS config with a table of 3 entries: not a power of two$/],
  ['hash configuration', ctrlq.hashConfigCommand({ hashTypes: 1, key: DEFAULT_RSS_KEY }), /4\/2 is not emulated/],
  ['announcement, for which nobody asked', ctrlq.announceCommand(), /3\/0 is not emulated/],
  ['a mode of CTRL_RX_EXTRA', raw(0, 2, [1]), /0\/2 is not emulated/],
  ['a class that does not exist', raw(99, 0), /99\/0 is not emulated/],
  ['promiscuous without a value', raw(0, 0), /^promiscuous mode of 0 bytes instead of 1$/],
  ['allmulticast in two bytes', raw(0, 1, [1, 0]), /^allmulticast mode of 2 bytes/],
  ['VLAN in one byte', raw(2, 0, [1]), /^VLAN of 1 bytes/],
  ['VLAN 4096', ctrlq.vlanCommand(4096, true), /^VLAN 4096, but the last one is 4095$/],
  ['an address of five bytes', raw(1, 1, [2, 0, 0, 0, 0]), /^MAC address of 5 bytes instead of 6$/],
  ['a multicast address of its own', ctrlq.macAddressCommand(GROUP), /^01005e000001 cannot be the MAC address/],
  ['no address of its own', raw(1, 1, [0, 0, 0, 0, 0, 0]), /^000000000000 cannot be the MAC address/],
  ['a table without lists', raw(1, 0), /^mac table of 0 bytes does not hold/],
  ['a table without its second list', raw(1, 0, [0, 0, 0, 0]), /^mac table of 4 bytes/],
  ['a table that announces one address more', raw(1, 0, [2, 0, 0, 0, ...mac], [0, 0, 0, 0]), /^mac table of 14 bytes/],
  ['a table that announces 2^32 - 1', raw(1, 0, [255, 255, 255, 255, ...mac], [0, 0, 0, 0]), /^mac table/],
  ['a table with half an address', raw(1, 0, [0, 0, 0, 0], [0, 0, 0, 0, 2, 0, 0]), /^mac table of 11 bytes/],
  ['a table with a whole address left over', raw(1, 0, [0, 0, 0, 0], [0, 0, 0, 0, ...mac]), /^mac table/],
];
for (const [title, command, why] of refusals) {
  test(`refused: ${title}`, (t) => {
    const { run, said, enabled, filters, filtersOf } = make();
    filtersOf(promisc(false));
    t.is(run(command), 0xff);
    t.is(said.length, 1);
    t.regex(said[0]!, why);
    t.deepEqual([enabled, filters], [[], []]);
  });
}

test('any bytes in any pieces: an answer, no exception, and only whole filters and possible pairs', (t) => {
  const args = fc.array(fc.uint8Array({ maxLength: 24 }), { maxLength: 4 });
  const known = fc.constantFrom<readonly [number, number]>([0, 0], [0, 1], [1, 0], [1, 1], [2, 0], [4, 0], [4, 1]);
  const small = fc.record({
    header: known,
    args: fc.array(fc.uint8Array({ maxLength: 12, max: 3 }), { maxLength: 4 }),
  });
  const any = fc.record({ header: fc.tuple(fc.nat(255), fc.nat(255)), args });
  fc.assert(
    fc.property(fc.array(fc.oneof(small, any), { maxLength: 20 }), (commands) => {
      const { run, said, enabled, filters } = make();
      run(promisc(false));
      for (const { header, args: pieces } of commands) {
        const before = said.length;
        const answer = run({ class: header[0], command: header[1], args: pieces });
        t.true(answer === 0 ? said.length === before : answer === 0xff && said.length === before + 1);
      }
      t.true(enabled.every((pairs) => pairs >= 1 && pairs <= 4));
      const address = '(([0-9a-f]{2}:){5}[0-9a-f]{2})';
      for (const filter of filters) {
        t.regex(filter, new RegExp(`^(promiscuous|${address}( ${address})* \\| (${address}( ${address})*)?)( all)?$`));
      }
    }),
  );
});
