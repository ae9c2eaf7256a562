/** testpmd's commands for filters and RSS on a port that takes notes: grammar, answers, complaints. */
import test from 'ava';
import { VirtioPmdError } from '../../../native/errors.js';
import type { Port } from '../../../driver/port/port.js';
import type { RetaEntries, RssInfo, RssUpdate } from '../../../driver/port/parts.js';
import { defaultReta } from '../../../driver/virtio/rss-config.js';
import { RX_OFFLOAD_VLAN_STRIP } from '../../../driver/port/types.js';
import { grammar } from '../../../tools/testpmd/commands/index.js';
import { parseHashKey, parseMasks, parseReta } from '../../../tools/testpmd/commands/rss.js';
import {
  formatTypeNames,
  formatRssTypes,
  namesOfRssTypes,
  parseRssTypes,
} from '../../../tools/testpmd/names/rss-types.js';
import { newEntry, Session } from '../../../tools/testpmd/session.js';
import type { Testpmd } from '../../../tools/testpmd/testpmd.js';

const OWN = '02:00:00:00:00:01';
const KEY = '6D5A56DA255B0EC24167253D43A38FB0D0CA2BCBAE7B30B477CB2DA38030F20C6A42B73BBEAC01FA';
const VIRTIO_TYPES = 0x38d34n;

class NotingPort {
  readonly notes: string[] = [];
  /** The next request is refused with this. */
  refusal: string | undefined;
  macAddresses: readonly string[] = [OWN];
  multicastList: readonly string[] = [];
  rssInfo: RssInfo = { keySize: 40, retaSize: 128, flowTypes: VIRTIO_TYPES };
  started = true;
  config: { rxOffloads: number } | undefined = { rxOffloads: 0 };
  hf = 0x104n;
  reta: readonly number[] = defaultReta(4);

  /** Here methods of the port itself. */
  readonly filters = this;
  readonly rss = this;

  constructor(readonly id: number) {}

  lacks = () => undefined;
  info = () => ({ rxOffloadCapa: RX_OFFLOAD_VLAN_STRIP });

  private note(what: string): void {
    const { refusal } = this;
    if (refusal === undefined) {
      this.notes.push(what);
      return;
    }
    this.refusal = undefined;
    throw new VirtioPmdError('ECONFIG', refusal);
  }

  addMacAddress = (mac: string) => this.note(`add ${mac}`);
  removeMacAddress = (mac: string) => this.note(`remove ${mac}`);
  setDefaultMac = (mac: string) => this.note(`set ${mac}`);
  setMulticastList = (list: readonly string[]) => {
    this.note(`groups ${list.join(' ')}`);
    this.multicastList = list;
  };
  setVlanFilter = (id: number, on: boolean) => this.note(`vlan ${id} ${on}`);
  setVlanFiltering = (on: boolean) => this.note(`filter ${on}`);
  rssUpdate = ({ key, hf }: RssUpdate) =>
    this.note(
      `rss${key === undefined ? '' : ` key ${Buffer.from(key).toString('hex')}`}${hf === undefined ? '' : ` hf ${hf}`}`,
    );
  retaUpdate = (entries: RetaEntries) => this.note(`reta ${JSON.stringify([...entries])}`);
  rssConf = () => {
    this.note('rssConf');
    return { key: Buffer.from(KEY, 'hex'), hf: this.hf };
  };
  retaQuery = () => {
    this.note('retaQuery');
    return this.reta;
  };
  stop = () => this.note('stop');
  start = () => this.note('start');
  configure = (config: { rxOffloads: number }) => this.note(`configure ${config.rxOffloads}`);
}

/** A session with ports 0 and 1. */
function make(forwarding = false) {
  const printed: string[] = [];
  const complaints: string[] = [];
  const nothing = undefined as never;
  const session = new Session(
    ...([nothing, nothing, nothing, nothing, 0] as const),
    { print: (text) => printed.push(text), complain: (text) => complaints.push(text) },
    () => undefined,
  );
  const ports = [new NotingPort(0), new NotingPort(1)] as const;
  for (const port of ports) {
    session.ports.set(port.id, newEntry(port as unknown as Port, 0, 0));
  }
  const testpmd = { session, forwarding: { isForwarding: () => forwarding } } as unknown as Testpmd;
  const run = (line: string) => {
    const parsed = grammar.parse(line);
    if (parsed.kind !== 'command') throw new Error(`${line}: ${parsed.kind}`);
    void parsed.row.run(testpmd, parsed.args);
  };
  return { run, printed, complaints, port: ports[0], other: ports[1], entry: session.ports.get(0)! };
}

/** A command, and what the port is asked for. */
const asked: readonly (readonly [line: string, ...notes: string[]])[] = [
  ['mac_addr add 0 02:00:00:00:00:0a', 'add 02:00:00:00:00:0A'],
  ['mac_addr remove 0 02:00:00:00:00:0a', 'remove 02:00:00:00:00:0A'],
  ['mac_addr set 0 02:00:00:00:00:0a', 'set 02:00:00:00:00:0A'],
  ['mcast_addr add 0 01:00:5e:00:00:01', 'groups 01:00:5E:00:00:01'],
  ['mcast_addr flush 0', 'groups '],
  ['rx_vlan add 5 0', 'vlan 5 true'],
  ['rx_vlan rm 4095 0', 'vlan 4095 false'],
  ['vlan set filter on 0', 'filter true'],
  ['vlan set filter off 0', 'filter false'],
  ['vlan set strip on 0', 'stop', `configure ${RX_OFFLOAD_VLAN_STRIP}`, 'start'],
  ['vlan set strip off 0'],
  ['port config 0 rss reta (0,1)', 'reta [[0,1]]'],
  ['port config 0 rss reta (0,1),(127,3)', 'reta [[0,1],[127,3]]'],
  [`port config 0 rss-hash-key ipv4 ${KEY}`, `rss key ${KEY.toLowerCase()}`],
  [`port config 0 rss-hash-key ipv6-tcp-ex ${KEY.toLowerCase()}`, `rss key ${KEY.toLowerCase()}`],
];
for (const [line, ...notes] of asked) {
  test(line, (t) => {
    const { run, complaints, port, other } = make();
    run(line);
    t.deepEqual(port.notes, notes);
    t.deepEqual(other.notes, []);
    t.deepEqual(complaints, []);
  });
}

/** A command, and what is said about it when the port refuses. */
const refused: readonly (readonly [line: string, complaint: string])[] = [
  ['mac_addr add 0 02:00:00:00:00:0a', 'mac_addr_cmd error: (no)'],
  ['mcast_addr add 0 01:00:5e:00:00:01', 'rte_eth_dev_set_mc_addr_list(port=0, nb=1) failed. no'],
  ['rx_vlan add 5 0', 'rte_eth_dev_vlan_filter(port_pi=0, vlan_id=5, on=1) failed: no'],
  ['rx_vlan rm all 0', 'rte_eth_dev_vlan_filter(port_pi=0, vlan_id=0, on=0) failed: no'],
  ['vlan set filter on 0', 'rx_vlan_filter_set(port_pi=0, on=1) failed: no'],
  ['vlan set strip on 0', 'no'],
  ['port config 0 rss reta (0,1)', 'Bad redirection table parameter: no'],
  [`port config 0 rss-hash-key ipv4 ${KEY}`, 'no'],
  ['port config all rss ip', 'Configuration of RSS hash at ethernet port 0 failed with error: no'],
  ['show port 0 rss reta 128 (0xff,0)', 'Failed to get RSS RETA info: no'],
  ['show port 0 rss-hash', 'no'],
];
for (const [line, complaint] of refused) {
  test(`refused: ${line}`, (t) => {
    const { run, complaints, port } = make();
    port.refusal = 'no';
    run(line);
    t.deepEqual(complaints, [complaint]);
    t.deepEqual(port.notes, []);
  });
}

/** A command that never reaches the port. */
const wrong: readonly (readonly [line: string, answer: string])[] = [
  ['mac_addr add 0 nonsense', 'Bad arguments'],
  ['mac_addr add 7 02:00:00:00:00:0a', 'Invalid port 7'],
  ['mcast_addr add 0 02:00:00:00:00:0a', 'Invalid multicast addr 02:00:00:00:00:0A'],
  ['mcast_addr remove 0 01:00:5e:00:00:01', 'multicast address not filtered by port 0'],
  ['rx_vlan add 4096 0', 'Invalid vlan_id 4096 (must be < 4096)'],
  ['vlan set qinq_strip on 0', 'rx_vlan_qinq_strip_set(port_pi=0, on=1) failed: ports here have no such offload'],
  ['vlan set qinq_strip off 0', ''],
  ['vlan set extend on 0', 'rx_vlan_extend_set(port_pi=0, on=1) failed: ports here have no such offload'],
  ['vlan set stripq on 0', 'must specify (port,queue_id)'],
  ['vlan set stripq on 0,1,2', 'must specify (port,queue_id)'],
  ['vlan set stripq on 7,1', 'Invalid port 7'],
  [
    'vlan set stripq off 0,1',
    'rx_vlan_strip_set_on_queue(port_pi=0, queue_id=1, on=0) failed: all queues of a port do the same (vlan set strip)',
  ],
  [
    'tx_vlan set pvid 0 5 on',
    'tx_vlan_pvid_set(port_pi=0) failed: ports here insert no tags of their own (tx_vlan set)',
  ],
  ['port config 0 rss reta (128,0)', 'Invalid RETA hash index=128\nInvalid RSS Redirection Table config entered'],
  ['port config 0 rss reta (0,1),(2', 'Invalid RSS Redirection Table config entered'],
  ['port config 0 rss reta (0,1,2)', 'Invalid RSS Redirection Table config entered'],
  ['port config 0 rss reta 0', 'Bad redirection table parameter: expected entries such as (0,1),(1,0)'],
  ['port config 0 rss reta (0,x)', 'Invalid RSS Redirection Table config entered'],
  ['port config 0 rss-hash-key ipv4 12', 'key length: 2 invalid - key must be a string of 80 hexa-decimal numbers'],
  [
    `port config 0 rss-hash-key ipv4 G${KEY.slice(1)}`,
    'invalid key: character G at position 0 is not a valid hexa digit',
  ],
  ['port config all rss nonsense', 'Unknown parameter'],
  ['port config all rss 64', 'flowtype_id should be greater than 0 and less than 64.'],
  ['show port 0 rss reta 0 (0xff)', 'Invalid redirection table size: 0 (1-128)'],
  ['show port 0 rss reta 129 (0xff,0xff,0xff)', 'Invalid redirection table size: 129 (1-128)'],
  ['show port 0 rss reta 128 0xff', 'Invalid string: 0xff for reta masks'],
  [
    'show port 0 rss reta 128 (0xff)',
    'The bits of masks do not match the number of reta entries: 2\nInvalid string: (0xff) for reta masks',
  ],
];
for (const [line, answer] of wrong) {
  test(`wrong: ${line}`, (t) => {
    const { run, printed, complaints, port } = make();
    run(line);
    const said = [...printed.filter((text) => !text.startsWith('The reta size')), ...complaints];
    t.is(said.join('\n'), answer);
    t.deepEqual(port.notes, []);
  });
}

test('multicast addresses one by one, and all at once', (t) => {
  const { run, port, printed, complaints } = make();
  run('mcast_addr add 0 01:00:5e:00:00:01');
  run('mcast_addr add 0 33:33:00:00:00:01');
  run('mcast_addr add 0 01:00:5e:00:00:01');
  run('show port 0 mcast_macs');
  run('mcast_addr remove 0 01:00:5e:00:00:01');
  run('mcast_addr flush 0');
  run('show port 0 mcast_macs');
  t.deepEqual(port.notes, [
    'groups 01:00:5E:00:00:01',
    'groups 01:00:5E:00:00:01 33:33:00:00:00:01',
    'groups 33:33:00:00:00:01',
    'groups ',
  ]);
  t.deepEqual(complaints, ['multicast address already filtered by port']);
  t.deepEqual(printed, [
    'Number of Multicast MAC address added: 2\n  01:00:5E:00:00:01\n  33:33:00:00:00:01',
    'Number of Multicast MAC address added: 0',
  ]);
});

test('show port macs: the own one and those that were added', (t) => {
  const { run, port, printed } = make();
  run('show port 0 macs');
  port.macAddresses = [OWN, '02:00:00:00:00:0A'];
  run('show port 0 macs');
  t.deepEqual(printed, [
    `Number of MAC address added: 1\n  ${OWN}`,
    `Number of MAC address added: 2\n  ${OWN}\n  02:00:00:00:00:0A`,
  ]);
});

test('rx_vlan add all: every identifier, until one is refused', (t) => {
  const { run, port } = make();
  run('rx_vlan add all 0');
  t.is(port.notes.length, 4096);
  t.deepEqual([port.notes[0], port.notes[4095]], ['vlan 0 true', 'vlan 4095 true']);
});

test('vlan set strip: a stopped port is not started; one that forwards is left alone', (t) => {
  const stopped = make();
  stopped.port.started = false;
  stopped.port.config = { rxOffloads: 0x2001 };
  stopped.run('vlan set strip off 0');
  t.deepEqual(stopped.port.notes, ['stop', 'configure 8192']);
  t.is(stopped.entry.rxOffloads, 0);
  const forwarding = make(true);
  forwarding.run('vlan set strip on 0');
  t.deepEqual(forwarding.port.notes, []);
  t.regex(forwarding.complaints.join(), /Please stop forwarding first$/);
  t.is(forwarding.entry.rxOffloads, 0);
});

test('vlan set strip: what is configured next strips, too, and other offloads that wait are kept', (t) => {
  const { run, port, entry } = make();
  entry.rxOffloads = 0x10; // switched on, and not configured yet
  run('vlan set strip on 0');
  t.deepEqual(port.notes, ['stop', `configure ${RX_OFFLOAD_VLAN_STRIP}`, 'start']);
  t.is(entry.rxOffloads, 0x10 | RX_OFFLOAD_VLAN_STRIP);
  port.refusal = 'no';
  run('vlan set strip on 0');
  t.is(entry.rxOffloads, 0x10 | RX_OFFLOAD_VLAN_STRIP, 'a refusal changes nothing');
  const unconfigured = make();
  unconfigured.port.config = undefined;
  unconfigured.run('vlan set strip on 0');
  t.deepEqual(unconfigured.port.notes, []);
  t.is(unconfigured.entry.rxOffloads, RX_OFFLOAD_VLAN_STRIP);
});

test('port config all rss: what the hardware lacks is left out, and said', (t) => {
  const { run, port, other, printed } = make();
  other.rssInfo = { keySize: 40, retaSize: 128, flowTypes: 0x4n };
  run('port config all rss ip');
  t.deepEqual([port.notes, other.notes], [[`rss hf ${0x8104}`], ['rss hf 4']]);
  t.deepEqual(printed, [
    'Port 0 modified RSS hash function based on hardware support,requested:0xa38c configured:0x8104',
    'Port 1 modified RSS hash function based on hardware support,requested:0xa38c configured:0x4',
    'rss_hf 0xa38c',
  ]);
});

test('port config all rss none, default, a number', (t) => {
  const { run, port, printed } = make();
  run('port config all rss none');
  run('port config all rss default');
  run('port config all rss 4');
  t.deepEqual(port.notes, ['rss hf 0', `rss hf ${VIRTIO_TYPES}`, 'rss hf 16']);
  t.deepEqual(printed, ['rss_hf 0', 'rss_hf 0x10']);
});

test('show port rss-hash, with and without the key', (t) => {
  const { run, port, printed } = make();
  run('show port 0 rss-hash');
  run('show port 0 rss-hash key');
  port.hf = 0n;
  run('show port 0 rss-hash key');
  t.deepEqual(printed, [
    'RSS functions:\n  ipv4  ipv6',
    `RSS functions:\n  ipv4  ipv6\nRSS key:\n${KEY}`,
    'RSS disabled',
  ]);
});

test('show port rss reta: the entries of the masks', (t) => {
  const { run, printed } = make();
  run('show port 0 rss reta 128 (0x5,0x8000000000000000)');
  t.deepEqual(printed, [
    [
      'RSS RETA configuration: hash index=0, queue=0',
      'RSS RETA configuration: hash index=2, queue=2',
      'RSS RETA configuration: hash index=127, queue=3',
    ].join('\n'),
  ]);
  run('show port 0 rss reta 64 (0x2)');
  t.is(printed[1], 'RSS RETA configuration: hash index=1, queue=1');
});

test('a port whose device has no RSS', (t) => {
  const { run, port, complaints } = make();
  port.rssInfo = { keySize: 0, retaSize: 0, flowTypes: 0n };
  run('show port 0 rss-hash key');
  run(`port config 0 rss-hash-key ipv4 ${KEY}`);
  run('port config 0 rss reta (0,0)');
  run('show port 0 rss reta 128 (0xff,0xff)');
  t.deepEqual(complaints, [
    'dev_info did not provide a valid hash key size',
    'dev_info did not provide a valid hash key size',
    'Redirection table size is 0 which is invalid for RSS',
    'Invalid redirection table size: 128 (1-0)',
  ]);
  t.deepEqual(port.notes, []);
});

test('packet types by name', (t) => {
  t.is(parseRssTypes('ip'), 0xa38cn);
  t.is(parseRssTypes('tcp'), 0x10410n);
  t.is(parseRssTypes('udp'), 0x20820n);
  t.is(parseRssTypes('none'), 0n);
  t.is(parseRssTypes('l3-src-only'), 1n << 63n);
  for (const word of ['0', '64', 'constructor', '', 'IP']) t.is(parseRssTypes(word), undefined);
  t.deepEqual(namesOfRssTypes(VIRTIO_TYPES), [
    ...['ipv4', 'ipv4-tcp', 'ipv4-udp', 'ipv6', 'ipv6-tcp', 'ipv6-udp', 'ipv6-ex', 'ipv6-tcp-ex', 'ipv6-udp-ex'],
  ]);
  t.deepEqual([formatRssTypes(0n), formatRssTypes(0x38d34n)], ['0', '0x38d34']);
  const lines = formatTypeNames(namesOfRssTypes((1n << 64n) - 1n)).split('\n');
  t.true(lines.length > 3 && lines.every((line) => line.startsWith('  ') && line.length <= 64));
});

test('keys, tables and masks that cannot be read', (t) => {
  t.deepEqual(parseHashKey('0aFf', 2), Uint8Array.of(10, 255));
  t.is(parseHashKey('0aF', 2), 'key length: 3 invalid - key must be a string of 4 hexa-decimal numbers');
  t.deepEqual(parseReta('', 128, t.fail), []);
  t.deepEqual(parseReta('(0x10,0x1)(5,2)', 128, t.fail), [
    [16, 1],
    [5, 2],
  ]);
  t.is(parseReta('(0,65536)', 128, t.fail), undefined);
  t.deepEqual(parseMasks('(1,0xffffffffffffffff)', 65), [1n, (1n << 64n) - 1n]);
  t.is(parseMasks('(1,zz)', 128), 'Invalid string: (1,zz) for reta masks');
  t.is(parseMasks('()', 64), 'Invalid string: () for reta masks');
});
