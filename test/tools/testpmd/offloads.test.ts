/** testpmd's commands for offloads on a port that takes notes: what they change, what they say, as dpdk-testpmd 22.11 does. */
import test from 'ava';
import { VirtioPmdError } from '../../../native/errors.js';
import type { Port } from '../../../driver/port/port.js';
import { grammar } from '../../../tools/testpmd/commands/index.js';
import { offloadBit, offloadNames, offloadWords } from '../../../tools/testpmd/names/offloads.js';
import { newEntry, Session } from '../../../tools/testpmd/session.js';
import type { Testpmd } from '../../../tools/testpmd/testpmd.js';

const VIRTIO_TX = 0x802d;

class FakePort {
  started = false;
  configured = true;
  readonly mtus: number[] = [];

  constructor(
    readonly id: number,
    readonly txOffloadCapa: number,
  ) {}

  info() {
    const { txOffloadCapa } = this;
    return { portId: this.id, txOffloadCapa, rxOffloadCapa: 0x201d, rxOffloads: 0, txOffloads: 0, rxQueues: 1, txQueues: 1,
      minMtu: 68, maxMtu: 9698, maxRxPktLen: 9728, minDesc: 32, maxDesc: 32768, maxRxQueues: 1, maxTxQueues: 1 };
  } // prettier-ignore

  setMtu(mtu: number): void {
    if (mtu > 2000) throw new VirtioPmdError('ECONFIG', 'Rx scatter is disabled');
    this.mtus.push(mtu);
  }
}

/** Port 0 can everything that virtio can; port 1 has no offloads; port 2 is started. */
function make() {
  const printed: string[] = [];
  const complaints: string[] = [];
  const nothing = undefined as never;
  const session = new Session(
    ...([nothing, nothing, nothing, nothing, 0] as const),
    { print: (text) => printed.push(text), complain: (text) => complaints.push(text) },
    () => undefined,
  );
  const ports = [new FakePort(0, VIRTIO_TX), new FakePort(1, 0x8000), new FakePort(2, VIRTIO_TX)];
  ports[2]!.started = true;
  const entries = ports.map((port) => {
    const entry = newEntry(port as unknown as Port, 0, 0);
    entry.reconfigure = false;
    session.ports.set(port.id, entry);
    return entry;
  });
  const testpmd = { session, forwarding: { isForwarding: () => false } } as unknown as Testpmd;
  const run = (line: string) => {
    const parsed = grammar.parse(line);
    if (parsed.kind !== 'command') throw new Error(`${line}: ${parsed.kind}`);
    void parsed.row.run(testpmd, parsed.args);
  };
  return { run, printed, complaints, ports, entries, entry: entries[0]! };
}

const checksums = (udp: string, tcp: string, tunnel = 'off') =>
  [
    `Parse tunnel is ${tunnel}`,
    'IP checksum offload is sw',
    `UDP checksum offload is ${udp}`,
    `TCP checksum offload is ${tcp}`,
    'SCTP checksum offload is sw',
    'Outer-Ip checksum offload is sw',
    'Outer-Udp checksum offload is sw',
  ].join('\n');

test('csum set hw, sw and csum show', (t) => {
  const { run, printed, complaints, entry } = make();
  run('csum set tcp hw 0');
  t.is(entry.txOffloads, 0x8);
  t.true(entry.reconfigure);
  run('csum set udp hw 0');
  run('csum set tcp sw 0');
  run('csum show 0');
  t.deepEqual(printed, [checksums('sw', 'hw'), checksums('hw', 'hw'), checksums('hw', 'sw'), checksums('hw', 'sw')]);
  t.deepEqual(complaints, []);
});

test('csum set hw where the port cannot: says so, and changes nothing', (t) => {
  const { run, printed, complaints, entries } = make();
  for (const layer of ['ip', 'sctp', 'outer-ip', 'outer-udp']) run(`csum set ${layer} hw 0`);
  run('csum set tcp hw 1');
  t.deepEqual(complaints, [
    'IP checksum offload is not supported by port 0',
    'SCTP checksum offload is not supported by port 0',
    'Outer IP checksum offload is not supported by port 0',
    'Outer UDP checksum offload is not supported by port 0',
    'TCP checksum offload is not supported by port 1',
  ]);
  t.is(printed.length, 5);
  t.deepEqual(entries.map(({ txOffloads, reconfigure }) => [txOffloads, reconfigure]), [[0, false], [0, false], [0, false]]);
}); // prettier-ignore

test('csum parse-tunnel is remembered, and says that nothing comes of it; csum mac-swap', (t) => {
  const { run, printed, complaints, entry } = make();
  run('csum parse-tunnel on 0');
  run('csum parse-tunnel off 0');
  t.deepEqual(printed, [checksums('sw', 'sw', 'on'), checksums('sw', 'sw')]);
  t.is(complaints.length, 1);
  t.true(entry.macSwap);
  run('csum mac-swap off 0');
  t.false(entry.macSwap);
});

test('tso set, tso show', (t) => {
  const { run, printed, complaints, entry, entries } = make();
  run('tso show 0');
  run('tso set 800 0');
  t.deepEqual([entry.tsoSegsz, entry.txOffloads, entry.reconfigure], [800, 0x20, true]);
  run('tso show 0');
  run('tso set 0 0');
  t.deepEqual([entry.tsoSegsz, entry.txOffloads], [0, 0]);
  run('tso set 800 1');
  run('tso set 0 1');
  t.deepEqual(printed, [
    'TSO for non-tunneled packets is disabled',
    'TSO segment size for non-tunneled packets is 800',
    'TSO segment size for non-tunneled packets is 800',
    'TSO for non-tunneled packets is disabled',
    'TSO for non-tunneled packets is disabled',
  ]);
  t.deepEqual(complaints, ['Error: TSO is not supported by port 1']);
  t.is(entries[1]!.txOffloads, 0);
});

test('tx_vlan set, tx_vlan reset', (t) => {
  const { run, complaints, entry, entries } = make();
  run('tx_vlan set 0 5');
  t.deepEqual([entry.txVlan, entry.txOffloads, entry.reconfigure], [5, 1, true]);
  run('tx_vlan set 0 6');
  t.is(entry.txVlan, 6);
  run('tx_vlan reset 0');
  t.deepEqual([entry.txVlan, entry.txOffloads], [undefined, 0]);
  run('tx_vlan set 0 4096');
  run('tx_vlan set 0 5 6');
  run('tx_vlan set 1 5');
  t.deepEqual(complaints, [
    'Invalid vlan_id 4096 (must be < 4096)',
    'Error: qinq insert not supported by port 0',
    'Error: vlan insert is not supported by port 1',
  ]);
  t.deepEqual(entries.map(({ txVlan }) => txVlan), [undefined, undefined, undefined]);
}); // prettier-ignore

test('port config N rx_offload, tx_offload', (t) => {
  const { run, complaints, entry } = make();
  run('port config 0 rx_offload tcp_lro on');
  run('port config 0 rx_offload vlan_strip on');
  run('port config 0 rx_offload tcp_lro off');
  run('port config 0 tx_offload tcp_tso on');
  run('port config 0 tx_offload vxlan_tnl_tso on'); // the next start refuses it
  t.deepEqual([entry.rxOffloads, entry.txOffloads, entry.reconfigure], [0x1, 0x220, true]);
  t.deepEqual(complaints, []);
});

for (const line of ['csum set tcp hw', 'tso set 800', 'tx_vlan set', 'tx_vlan reset']) {
  test(`${line}: not while the port is started, and not without a port`, (t) => {
    const { run, complaints, entries } = make();
    const command = (port: number) => (line === 'tx_vlan set' ? `${line} ${port} 5` : `${line} ${port}`);
    run(command(2));
    run(command(7));
    t.deepEqual(complaints, ['Please stop port 2 first', 'Invalid port 7']);
    t.false(entries[2]!.reconfigure);
  });
}

test('port config N rx_offload: not while the port is started, and not without a port', (t) => {
  const { run, complaints } = make();
  run('port config 2 rx_offload tcp_cksum on');
  run('port config 7 tx_offload tcp_cksum on');
  t.deepEqual(complaints, ["Error: Can't config offload when Port 2 is not stopped", 'Invalid port 7']);
});

test('port config mtu: at once where it can be told; of a port that is to be configured anew, at its next start', (t) => {
  const { run, complaints, ports, entry } = make();
  run('port config mtu 0 1400');
  run('port config mtu 2 1300');
  run('port config mtu 0 9000');
  t.deepEqual([ports[0]!.mtus, ports[2]!.mtus, entry.mtu], [[1400], [1300], 1400]);
  t.deepEqual(complaints, ['Rx scatter is disabled']);
  run('port config 0 rx_offload scatter on');
  run('port config mtu 0 9000');
  run('port config mtu 0 60');
  run('port config mtu 0 9699');
  t.is(entry.mtu, 9000);
  t.deepEqual(ports[0]!.mtus, [1400]);
  t.deepEqual(complaints.slice(1), [
    'MTU should be between 68 and 9698; 60 was asked for',
    'MTU should be between 68 and 9698; 9699 was asked for',
  ]);
});

test('port config all max-pkt-len, max-lro-pkt-size', (t) => {
  const { run, complaints, ports, entries } = make();
  run('port config all max-pkt-len 1400');
  ports[2]!.started = false;
  run('port config all max-pkt-len 63');
  run('port config all max-pkt-len 1400');
  t.deepEqual(entries.map(({ mtu }) => mtu), [1370, 1370, 1370]);
  run('port config all max-pkt-len 3000');
  run('port config all max-lro-pkt-size 8000');
  t.deepEqual(complaints, [
    'Please stop all ports first',
    'max-pkt-len can not be less than 64',
    ...[0, 1, 2].flatMap((id) => ['Rx scatter is disabled', `Failed to set MTU to 2970 for port ${id}`]),
    'max-lro-pkt-size is accepted and has no effect: the other end decides how long packets get',
  ]);
}); // prettier-ignore

test('offloads by name: every word of the commands is a bit of its own', (t) => {
  for (const direction of ['rx', 'tx'] as const) {
    const words = offloadWords(direction);
    const bits = words.map((word) => offloadBit(direction, word));
    t.is(new Set(bits).size, words.length);
    words.forEach((word, i) => t.is(offloadNames(direction, bits[i]!), ` ${word.toUpperCase()}`));
  }
  t.is(offloadNames('tx', 0), '');
});
