/** What a port tells its device to let through and how to spread it: checks, commands, refusals, and the state after a reset. */
import test from 'ava';
import fc from 'fast-check';
import type { ControlCommand } from '../../../../driver/virtio/control/commands.js';
import type { CommandedPort } from '../../../../driver/virtio/commanded.js';
import { VirtioFilters } from '../../../../driver/virtio/filters.js';
import { VirtioRss } from '../../../../driver/virtio/rss.js';
import { CONFIG_RSS, DEFAULT_RSS_KEY, defaultReta } from '../../../../driver/virtio/rss-config.js';
import { CONFIG_MAC } from '../../../../driver/virtio/transport.js';
import { RX_OFFLOAD_VLAN_FILTER } from '../../../../driver/port/types.js';
import * as F from '../../../../driver/wire/virtio-features.js';

const OWN = '02:00:00:00:00:01';
const A = '02:00:00:00:00:0A';
const B = '02:00:00:00:00:0B';
const GROUP = '01:00:5E:00:00:01';
const GROUP6 = '33:33:00:00:00:01';

const ALL =
  F.VIRTIO_F_VERSION_1 |
  F.VIRTIO_NET_F_MAC |
  F.VIRTIO_NET_F_CTRL_VQ |
  F.VIRTIO_NET_F_CTRL_RX |
  F.VIRTIO_NET_F_CTRL_VLAN |
  F.VIRTIO_NET_F_CTRL_MAC_ADDR |
  F.VIRTIO_NET_F_MQ |
  F.VIRTIO_NET_F_RSS;

interface Options {
  readonly offered?: bigint;
  readonly acknowledged?: bigint;
  readonly rxOffloads?: number;
  readonly rxQueues?: number;
  readonly txQueues?: number;
  /** rss_max_key_size, table length, hash types. */
  readonly rssConfig?: readonly number[];
  readonly openUntilTold?: boolean;
}

/** A port on a device that only takes notes. */
class Notes implements CommandedPort {
  readonly openUntilTold: boolean;
  readonly portId = 3;
  readonly offered: bigint;
  acknowledged: bigint;
  rxOffloads: number;
  rxQueues: number;
  txQueues: number;
  /** Commands since the last look: class/command and arguments. */
  readonly commands: string[] = [];
  readonly last: ControlCommand[] = [];
  /** Its MAC table: two lists, each behind its length. */
  table: readonly Uint8Array[] = [new Uint8Array(4), new Uint8Array(4)];
  readonly lines: string[] = [];
  /** What it answers. */
  answer = 0;
  mac = OWN;

  constructor(private readonly options: Options = {}) {
    this.openUntilTold = options.openUntilTold ?? false;
    this.offered = options.offered ?? ALL;
    this.acknowledged = options.acknowledged ?? this.offered;
    this.rxOffloads = options.rxOffloads ?? 0;
    this.rxQueues = options.rxQueues ?? 2;
    this.txQueues = options.txQueues ?? 1;
  }

  control(command: ControlCommand): number {
    this.last[0] = command;
    if (command.class === 1 && command.command === 0) this.table = command.args;
    const args = command.args.map((arg) => Buffer.from(arg).toString('hex')).join(' ');
    this.commands.push(`${command.class}/${command.command} ${args}`);
    return this.answer;
  }

  readConfig(offset: number, length: number): Uint8Array {
    if (offset === CONFIG_MAC) return Uint8Array.from(this.mac.split(':'), (byte) => parseInt(byte, 16));
    const rss = this.options.rssConfig ?? [40, 128, 0, 0x3f, 0, 0, 0];
    return offset === CONFIG_RSS && length === rss.length ? Uint8Array.from(rss) : new Uint8Array(length);
  }

  writeConfig(offset: number, bytes: Uint8Array): void {
    this.commands.push(`config ${offset} ${Buffer.from(bytes).toString('hex')}`);
  }

  log(level: string, line: string): void {
    this.lines.push(`${level} ${line}`);
  }

  /** The commands so far, once. */
  seen(): string[] {
    return this.commands.splice(0);
  }
}

function make(options: Options = {}) {
  const device = new Notes(options);
  const filters = new VirtioFilters(device, OWN.toLowerCase());
  const rss = new VirtioRss(device);
  const restore = () => {
    filters.restore();
    rss.restore();
  };
  return { device, filters, rss, restore };
}

const table = (unicast: readonly string[], multicast: readonly string[]) =>
  `1/0 ${[unicast, multicast]
    .map((list) => `0${list.length}000000${list.join('').replaceAll(':', '').toLowerCase()}`)
    .join(' ')}`;

// ---- addresses -------------------------------------------------------------------------------------------------------

test('addresses are added to a table that is sent whole, without the own one, groups apart', (t) => {
  const { device, filters } = make();
  filters.addMacAddress(A.toLowerCase());
  filters.addMacAddress(GROUP);
  filters.addMacAddress(A); // there already
  filters.setMulticastList([GROUP6, GROUP]);
  filters.removeMacAddress(A);
  filters.removeMacAddress(B); // never there
  t.deepEqual(device.seen(), [
    table([A], []),
    table([A], [GROUP]),
    table([A], [GROUP, GROUP6]),
    table([], [GROUP, GROUP6]),
  ]);
  t.deepEqual(
    [filters.macAddresses, filters.multicastList],
    [
      [OWN, GROUP],
      [GROUP6, GROUP],
    ],
  );
});

test('addresses that cannot be added, or removed', (t) => {
  const { device, filters } = make();
  const refuse = (action: () => void, message: RegExp) => t.throws(action, { code: 'ECONFIG', message });
  refuse(() => filters.addMacAddress('00:00:00:00:00:00'), /^Port 3: Cannot add NULL MAC address$/);
  refuse(() => filters.addMacAddress('2:0:0:0:0:1'), /expected six bytes such as/);
  refuse(() => filters.removeMacAddress(OWN), /^Port 3: Cannot remove default MAC address$/);
  refuse(() => filters.setMulticastList([GROUP, A]), /^Invalid multicast addr 02:00:00:00:00:0A$/);
  t.deepEqual(device.seen(), []);
});

test('64 addresses fit, and 64 groups', (t) => {
  const { device, filters } = make();
  const mac = (first: string, i: number) => `${first}:00:00:00:01:${i.toString(16).padStart(2, '0').toUpperCase()}`;
  for (let i = 1; i < 64; i++) filters.addMacAddress(mac('02', i));
  t.throws(() => filters.addMacAddress(mac('02', 64)), { code: 'ECONFIG', message: /^Port 3: MAC address array full/ });
  const groups = Array.from({ length: 65 }, (_, i) => mac('01', i));
  t.throws(() => filters.setMulticastList(groups), { code: 'ECONFIG', message: /at most 64 fit/ });
  filters.setMulticastList(groups.slice(1));
  t.is(device.last[0]!.args[0]!.length, 4 + 63 * 6);
  t.is(device.last[0]!.args[1]!.length, 4 + 64 * 6);
});

test('any adding and removing: the table that the device has is the one that the port tells', (t) => {
  const mac = fc.integer({ min: 0, max: 9 }).map((n) => `0${n % 4}:00:00:00:00:0${n}`);
  const step = fc.tuple(fc.constantFrom('add', 'remove', 'set'), mac);
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { device, filters } = make();
      for (const [what, address] of steps) {
        const before = [...filters.macAddresses];
        try {
          if (what === 'add') filters.addMacAddress(address);
          else if (what === 'remove') filters.removeMacAddress(address);
          else filters.setDefaultMac(address);
        } catch {
          t.deepEqual(filters.macAddresses, before);
        }
      }
      const lists = device.table.map((arg) => Buffer.from(arg.subarray(4)).toString('hex'));
      const told = filters.macAddresses.slice(1).map((address) => address.replaceAll(':', '').toLowerCase());
      const isGroup = (address: string) => (parseInt(address.slice(0, 2), 16) & 1) === 1;
      t.deepEqual(lists, [told.filter((a) => !isGroup(a)).join(''), told.filter(isGroup).join('')]);
    }),
  );
});

test('the own address is set by a command of its own', (t) => {
  const { device, filters } = make();
  filters.setDefaultMac(A);
  filters.setDefaultMac(A);
  t.deepEqual(device.seen(), ['1/1 02000000000a']);
  filters.addMacAddress(B);
  filters.setDefaultMac(OWN);
  t.deepEqual(device.seen(), [table([B], []), '1/1 020000000001']);
  t.is(filters.mac, OWN);
  for (const mac of [GROUP, '00:00:00:00:00:00', 'FF:FF:FF:FF:FF:FF']) {
    t.throws(() => filters.setDefaultMac(mac), { code: 'ECONFIG', message: /cannot be the address of a port/ });
  }
  t.throws(() => filters.setDefaultMac(B), {
    code: 'ECONFIG',
    message: 'New default address for port 3 was already in the address list. Please remove it first.',
  });
});

test('without a command for it, only a legacy device has its address written', (t) => {
  const legacy = make({ offered: F.VIRTIO_NET_F_MAC });
  legacy.filters.setDefaultMac(A);
  t.deepEqual(legacy.device.seen(), ['config 0 02000000000a']);
  legacy.restore();
  t.deepEqual(legacy.device.seen(), ['config 0 02000000000a']);
  const modern = make({ offered: F.VIRTIO_NET_F_MAC | F.VIRTIO_F_VERSION_1 });
  t.throws(() => modern.filters.setDefaultMac(A), {
    code: 'ECONFIG',
    message: /VIRTIO_NET_F_CTRL_MAC_ADDR is not offered/,
  });
  t.is(modern.filters.mac, OWN);
});

test('what the device refuses changes nothing', (t) => {
  const { device, filters, rss } = make({ rxOffloads: RX_OFFLOAD_VLAN_FILTER });
  device.answer = 1;
  const refuse = (action: () => void, message: RegExp) => t.throws(action, { code: 'EPEER', message });
  refuse(
    () => filters.setPromiscuous(true),
    /^Failed to enable promisc on port 3: the device answered 1 instead of 0$/,
  );
  refuse(() => filters.setAllmulticast(false), /^Failed to disable allmulticast on port 3/);
  refuse(() => filters.addMacAddress(A), /^mac table set failed on port 3/);
  refuse(() => filters.setMulticastList([GROUP]), /^mac table set failed/);
  refuse(() => filters.setDefaultMac(A), /^Failed to set the MAC address of port 3/);
  refuse(() => filters.setVlanFilter(5, true), /^Failed to add VLAN 5 on port 3/);
  refuse(() => rss.rssUpdate({ hf: 4n }), /^Failed to apply new RSS config to the device of port 3/);
  refuse(() => rss.retaUpdate([[0, 1]]), /^Failed to apply new RETA to the device of port 3/);
  t.false(filters.promiscuous);
  t.deepEqual([filters.macAddresses, filters.multicastList, filters.vlanIds, filters.mac], [[OWN], [], [], OWN]);
  t.is(rss.rssConf().hf, 0xd34n);
  t.is(rss.retaQuery()[0], 0);
});

test('features that are not there, and those that were not negotiated', (t) => {
  const needs: readonly (readonly [
    missing: bigint,
    action: (filters: VirtioFilters, rss: VirtioRss) => void,
    message: RegExp,
  ])[] = [
    [F.VIRTIO_NET_F_CTRL_RX, (f) => f.setPromiscuous(true), /^host does not support rx control: VIRTIO_NET_F_CTRL_RX/],
    [
      F.VIRTIO_NET_F_CTRL_MAC_ADDR,
      (f) => f.addMacAddress(A),
      /^host does not support mac table: VIRTIO_NET_F_CTRL_MAC/,
    ],
    [
      F.VIRTIO_NET_F_CTRL_RX,
      (f) => f.setMulticastList([GROUP]),
      /^host does not support mac table: VIRTIO_NET_F_CTRL_RX/,
    ],
    [F.VIRTIO_NET_F_CTRL_VLAN, (f) => f.setVlanFiltering(true), /^vlan filtering not available on this host/],
    [F.VIRTIO_NET_F_CTRL_VLAN, (f) => f.setVlanFilter(1, true), /^vlan filtering not available on this host/],
    [
      F.VIRTIO_NET_F_RSS,
      (_, rss) => rss.rssUpdate({ hf: 0n }),
      /^RSS support requested but not supported by the device/,
    ],
    [F.VIRTIO_NET_F_RSS, (_, rss) => rss.retaQuery(), /VIRTIO_NET_F_RSS/],
  ];
  for (const [missing, action, message] of needs) {
    const absent = make({ offered: ALL & ~missing });
    const error = t.throws(() => action(absent.filters, absent.rss), { code: 'ECONFIG', message });
    t.regex(error!.message, /is not offered by the device$/);
    const left = make({ acknowledged: ALL & ~missing });
    t.regex(
      t.throws(() => action(left.filters, left.rss), { code: 'ECONFIG', message })!.message,
      /was not negotiated/,
    );
    t.deepEqual([...absent.device.seen(), ...left.device.seen()], []);
  }
  t.notThrows(() => make({ offered: 0n }).filters.setVlanFiltering(false));
});

// ---- VLANs -----------------------------------------------------------------------------------------------------------

test('VLANs are added and removed while filtering is on', (t) => {
  const { device, filters } = make();
  t.throws(() => filters.setVlanFilter(5, true), { code: 'ECONFIG', message: /^Port 3: VLAN-filtering disabled/ });
  filters.setVlanFiltering(true);
  filters.setVlanFilter(5, true);
  filters.setVlanFilter(4095, true);
  filters.setVlanFilter(5, false);
  t.deepEqual(device.seen(), ['2/0 0500', '2/0 ff0f', '2/1 0500']);
  t.deepEqual(filters.vlanIds, [4095]);
  for (const id of [-1, 4096, 1.5]) {
    t.throws(() => filters.setVlanFilter(id, true), { code: 'ECONFIG', message: /^Port_id=3 invalid vlan_id=/ });
  }
  filters.setVlanFiltering(false);
  t.throws(() => filters.setVlanFilter(6, true), { code: 'ECONFIG', message: /VLAN-filtering disabled/ });
});

test('the offload VLAN_FILTER of the configuration is filtering switched on', (t) => {
  const { filters } = make({ rxOffloads: RX_OFFLOAD_VLAN_FILTER });
  t.true(filters.vlanFilterEnabled);
  t.notThrows(() => filters.setVlanFilter(0, true));
  filters.setVlanFiltering(false);
  t.false(filters.vlanFilterEnabled);
});

// ---- receive-side scaling --------------------------------------------------------------------------------------------

test('RSS: what it can do, and zeros where the device offers none', (t) => {
  t.deepEqual(make().rss.rssInfo, { keySize: 40, retaSize: 128, flowTypes: 0xd34n });
  const none = make({ offered: ALL & ~F.VIRTIO_NET_F_RSS });
  t.deepEqual(none.rss.rssInfo, { keySize: 0, retaSize: 0, flowTypes: 0n });
});

test('RSS updates are sent as a whole; queries tell what was sent', (t) => {
  const { device, rss } = make({ rxQueues: 2, txQueues: 3 });
  const key = new Uint8Array(40).fill(0xab);
  rss.rssUpdate({ key });
  rss.rssUpdate({ hf: 0x10n });
  rss.retaUpdate([
    [0, 1],
    [1, 0],
  ]);
  t.deepEqual(
    device.seen().map((line) => line.slice(0, 4)),
    ['4/1 ', '4/1 ', '4/1 '],
  );
  const bytes = Buffer.from(device.last[0]!.args[0]!);
  t.is(bytes.readUInt32LE(0), 2);
  t.is(bytes.readUInt16LE(4), 127);
  t.is(bytes.readUInt16LE(6), 0);
  t.deepEqual([bytes.readUInt16LE(8), bytes.readUInt16LE(10), bytes.readUInt16LE(14)], [1, 0, 1]);
  t.is(bytes.readUInt16LE(8 + 256), 3);
  t.is(bytes.subarray(8 + 256 + 2).toString('hex'), `28${'ab'.repeat(40)}`);
  t.deepEqual(rss.rssConf(), { key, hf: 0x10n });
  t.deepEqual(rss.retaQuery().slice(0, 4), [1, 0, 0, 1]);
  rss.rssConf().key.fill(0);
  t.deepEqual(rss.rssConf().key, key);
});

test('at start: an RSS configuration where RSS was negotiated, else the number of pairs', (t) => {
  const { device, rss } = make({ rxQueues: 3, txQueues: 1 });
  const { class: commandClass, command, args } = rss.queuesCommand();
  t.deepEqual([commandClass, command], [4, 1]);
  const bytes = Buffer.from(args[0]!);
  t.deepEqual(
    Array.from({ length: 128 }, (_, i) => bytes.readUInt16LE(8 + 2 * i)),
    defaultReta(3),
  );
  t.deepEqual(new Uint8Array(bytes.subarray(-40)), DEFAULT_RSS_KEY);
  rss.retaUpdate([[0, 2]]);
  device.rxQueues = 2; // configured anew
  t.is(rss.retaQuery()[0], 0);
  device.acknowledged = ALL & ~F.VIRTIO_NET_F_RSS;
  t.deepEqual(rss.queuesCommand(), { class: 4, command: 0, args: [Uint8Array.of(2, 0)] });
});

test('a device whose RSS is not enough for the driver is refused in the words of DPDK', (t) => {
  const { rss } = make({ rssConfig: [39, 128, 0, 0x3f, 0, 0, 0] });
  t.throws(() => rss.queuesCommand(), { code: 'ECONFIG', message: /^Invalid device RSS max key size \(39\)/ });
});

// ---- after a reset ---------------------------------------------------------------------------------------------------

test('a device that was reset is told everything again', (t) => {
  const { device, filters, restore } = make({ rxOffloads: RX_OFFLOAD_VLAN_FILTER });
  restore();
  t.deepEqual(device.seen(), ['0/0 00', '0/1 00']);
  filters.setPromiscuous(true);
  filters.setDefaultMac(A);
  filters.addMacAddress(B);
  filters.setVlanFilter(7, true);
  filters.setVlanFilter(8, true);
  device.seen();
  restore();
  const all = ['0/0 01', '0/1 00', '1/1 02000000000a', table([B], []), '2/0 0700', '2/0 0800'];
  t.deepEqual(device.seen(), all);
  device.mac = A; // a device that remembers
  restore();
  t.deepEqual(
    device.seen(),
    all.filter((line) => !line.startsWith('1/1')),
  );
});

test('a device that lets everything through hears of a mode once somebody has asked for it, either way', (t) => {
  const { device, filters, restore } = make({ openUntilTold: true });
  restore();
  t.deepEqual(device.seen(), []);
  filters.setPromiscuous(true);
  t.deepEqual([device.seen(), filters.promiscuous, filters.allmulticast], [['0/0 01'], true, false]);
  filters.setPromiscuous(false);
  t.deepEqual(device.seen(), ['0/0 00']);
  restore();
  t.deepEqual(device.seen(), ['0/0 00']);
  filters.setAllmulticast(false);
  device.seen();
  restore();
  t.deepEqual(device.seen(), ['0/0 00', '0/1 00']);
});

test('a device without an address of its own is told that of the port', (t) => {
  const { device, restore } = make({ offered: ALL & ~F.VIRTIO_NET_F_MAC });
  restore();
  t.true(device.seen().includes('1/1 020000000001'));
});

test('a device that reports hashes without RSS is told what to hash', (t) => {
  const hash = F.VIRTIO_F_VERSION_1 | F.VIRTIO_NET_F_CTRL_VQ | F.VIRTIO_NET_F_HASH_REPORT;
  const { device, restore } = make({ offered: hash });
  restore();
  const key = Buffer.from(DEFAULT_RSS_KEY).toString('hex');
  t.deepEqual(device.seen(), [`4/2 3f000000000000000000000028${key}`]);
  const both = make({ offered: hash | F.VIRTIO_NET_F_RSS });
  both.restore();
  t.deepEqual(both.device.seen(), []);
});

test('what a device refuses after its reset is logged, and the rest is told all the same', (t) => {
  const { device, filters, restore } = make({ rxOffloads: RX_OFFLOAD_VLAN_FILTER });
  filters.setVlanFilter(7, true);
  filters.addMacAddress(A);
  device.answer = 1;
  device.seen();
  restore();
  t.is(device.seen().length, 4);
  t.is(device.lines.length, 4);
  t.is(device.lines.at(-1), 'error port 3: VLAN 7 is lost: after its reset the device answered 1');
});

test('a device that lost the features is not asked', (t) => {
  const { device, filters, restore } = make({ rxOffloads: RX_OFFLOAD_VLAN_FILTER });
  filters.setVlanFilter(7, true);
  filters.addMacAddress(A);
  device.acknowledged = F.VIRTIO_F_VERSION_1;
  device.seen();
  restore();
  t.deepEqual([device.seen(), device.lines], [[], []]);
});
