/** testpmd on ports that are no virtio and have as few parts as possible: what a port lacks is said, and all else is done. */
import test, { type ExecutionContext } from 'ava';
import { createEal, processCpus } from '../../../driver/eal/eal.js';
import { drivers } from '../../../driver/drivers.js';
import type { PortDriver, PortHost } from '../../../driver/port/device.js';
import { Port } from '../../../driver/port/port.js';
import { execute } from '../../../tools/testpmd/commands/execute.js';
import { HEADROOM, parseAppOptions } from '../../../tools/testpmd/options/app-options.js';
import { Session } from '../../../tools/testpmd/session.js';
import { settingsFrom } from '../../../tools/testpmd/settings.js';
import { Testpmd } from '../../../tools/testpmd/testpmd.js';
import { Loop, loopDriver, type LoopOptions } from '../../driver/port/support/loop-device.js';
import { startPeer } from '../../support/peers.js';
import { startBackend, waitForSocket } from '../../support/testpmd-process.js';

(drivers as PortDriver[]).push(loopDriver);
test.after.always(() => void (drivers as PortDriver[]).pop());

/** A testpmd of this process, with as many loops as there are options of them. */
function make(t: ExecutionContext, loops: readonly LoopOptions[] = [{}], options: readonly string[] = []) {
  const cpus = processCpus();
  const lcores = new Map([0, 1].map((id) => [id, [cpus.at(-id)!]]));
  const eal = createEal({ noHuge: true, memoryMiB: 32, lcores, pinMain: false, log: () => undefined });
  t.teardown(() => eal.close());
  const mempool = eal.createMempool({ count: 2048, headroom: HEADROOM, dataRoom: 2048 });
  const app = parseAppOptions(['-i', ...options]);
  let said: string[] = [];
  const console = { print: (text: string) => void said.push(text), complain: (text: string) => void said.push(text) };
  const session = new Session(eal, app, settingsFrom(app), mempool, 0, console, () => undefined);
  const testpmd = new Testpmd(session, new AbortController().signal);
  const devices: Loop[] = [];
  const ports = loops.map((loop, id) => {
    const open = (host: PortHost) => (devices[id] = new Loop(host, loop));
    const name = `net_loop${id}`;
    const port = new Port({ eal, id, name, devargs: name, open, log: () => undefined });
    testpmd.ports.adopt(port);
    return port;
  });
  /** Runs a command. @returns what it has answered, on either stream */
  const ask = async (line: string) => {
    said = [];
    await execute(testpmd, line);
    return said.join('\n');
  };
  return { testpmd, session, ports, devices, ask };
}

const NO_FILTERS = 'port 0 (net_loop0) has no filters: a loop receives everything';
const RSS = 'a loop has one queue for each that sends';

/** A command on a started port, and its answer. */
const started: readonly (readonly [line: string, answer: string])[] = [
  ['set promisc 0 on', 'Error during enabling promiscuous mode for port 0: a loop receives everything - ignore'],
  ['set allmulti 0 off', 'Error during disabling all-multicast mode for port 0: a loop receives everything - ignore'],
  ['mac_addr add 0 02:00:00:00:00:05', `mac_addr_cmd error: (${NO_FILTERS})`],
  ['mac_addr set 0 02:00:00:00:00:05', `mac_addr_cmd error: (${NO_FILTERS})`],
  ['mcast_addr add 0 01:00:5e:00:00:05', `rte_eth_dev_set_mc_addr_list(port=0, nb=1) failed. ${NO_FILTERS}`],
  ['mcast_addr remove 0 01:00:5e:00:00:05', 'multicast address not filtered by port 0'],
  ['mcast_addr flush 0', `rte_eth_dev_set_mc_addr_list(port=0, nb=0) failed. ${NO_FILTERS}`],
  ['show port 0 macs', 'Number of MAC address added: 1\n  02:00:00:00:00:01'],
  ['show port 0 mcast_macs', 'Number of Multicast MAC address added: 0'],
  ['vlan set filter on 0', `rx_vlan_filter_set(port_pi=0, on=1) failed: ${NO_FILTERS}`],
  ['vlan set filter off 0', ''],
  ['vlan set strip on 0', 'rx_vlan_strip_set(port_pi=0, on=1) failed: the port does not offer the offload vlan_strip'],
  ['vlan set strip off 0', ''],
  ['rx_vlan add 5 0', `rte_eth_dev_vlan_filter(port_pi=0, vlan_id=5, on=1) failed: ${NO_FILTERS}`],
  ['rx_vlan rm all 0', `rte_eth_dev_vlan_filter(port_pi=0, vlan_id=0, on=0) failed: ${NO_FILTERS}`],
  ['show port 0 rss-hash', `dev_info did not provide a valid hash key size: ${RSS}`],
  ['show port 0 rss-hash key', `dev_info did not provide a valid hash key size: ${RSS}`],
  ['show port 0 rss reta 128 (0xff,0x0)', `Invalid redirection table size: 128 (1-0): ${RSS}`],
  ['port config 0 rss-hash-key ipv4 6D5A', `dev_info did not provide a valid hash key size: ${RSS}`],
  ['port config 0 rss reta (0,0)', `Redirection table size is 0 which is invalid for RSS: ${RSS}`],
  ['show port 0 path', 'port 0 (net_loop0) has no report of its path: there is no choice'],
  ['show config cores', 'List of forwarding lcores:  1'],
  ['csum show 0', 'Parse tunnel is off\nIP checksum offload is sw\nUDP checksum offload is sw\nTCP checksum offload is sw\nSCTP checksum offload is sw\nOuter-Ip checksum offload is sw\nOuter-Udp checksum offload is sw'], // prettier-ignore
  ['port config mtu 0 1400', ''],
  ['port config mtu 0 60', 'MTU should be between 68 and 9710; 60 was asked for'],
];

test.serial(
  'commands on a port that has not got what they are for: the reason, and the port is as before',
  async (t) => {
    const { ask, ports } = make(t);
    t.is(
      await ask('port start 0'),
      'Configuring Port 0 (socket 0)\nPort 0: 02:00:00:00:00:01\nChecking link statuses...\nDone',
    );
    for (const [line, answer] of started) {
      t.is(await ask(line), answer, line);
      t.true(ports[0]!.started, line);
    }
    t.is(ports[0]!.info().mtu, 1400);
  },
);

test.serial('a stopped port: offloads are refused as dpdk-testpmd refuses them', async (t) => {
  const { ask } = make(t);
  t.is(await ask('tx_vlan set 0 5'), 'Error: vlan insert is not supported by port 0');
  t.is(await ask('tso set 1000 0'), 'Error: TSO is not supported by port 0');
  t.regex(await ask('csum set ip hw 0'), /^IP checksum offload is not supported by port 0\nParse tunnel is off\n/);
  t.is(await ask('port config 0 rx_offload vlan_strip on'), '');
  const refusal = /requested Rx offloads 0x1 doesn't match Rx offloads capabilities 0x0[^\n]*\nStart ports failed$/;
  t.regex(await ask('port start 0'), refusal);
  t.is(await ask('port config 0 rx_offload vlan_strip off'), '');
  t.regex(await ask('port start 0'), /Done$/);
});

test.serial('several queues: no RSS is asked for where there is none', async (t) => {
  const { ask, ports } = make(t, [{}, {}], ['--rxq=2', '--txq=2']);
  t.regex(await ask('port start all'), /Port 1: [^]*Done$/);
  t.deepEqual(ports.map(({ config }) => [config?.rss, config?.rxQueues]), [[false, 2], [false, 2]]); // prettier-ignore
});

test.serial('commands on all ports: those that cannot are named, the others are done', async (t) => {
  const { ask, session, ports, devices } = make(t, [{}, {}, { queues: 1 }]);
  const notes: unknown[] = [];
  const rss = {
    rssInfo: { keySize: 40, retaSize: 128, flowTypes: 0xffffn },
    rssUpdate: (what: unknown) => notes.push(what),
  };
  Object.assign(devices[1]!, { rss });
  const failed = (id: number) =>
    `Port ${id} modified RSS hash function based on hardware support,requested:0xa38c configured:0\nConfiguration of RSS hash at ethernet port ${id} failed with error: port ${id} (net_loop${id}) has no receive-side scaling: ${RSS}`;
  t.is(await ask('port config all rss ip'), `${failed(0)}\n${failed(2)}`);
  t.deepEqual(notes, [{ hf: 0xa38cn }]);
  t.is(await ask('port config all rxq 2'), "Fail: input rxq (2) can't be greater than max_rx_queues (1) of port 2");
  t.is(await ask('port config all max-pkt-len 1400'), '');
  t.deepEqual(ports.map(({ id }) => session.ports.get(id)!.mtu), [1382, 1382, 1382]); // prettier-ignore
});

test.serial('what the screens say of such a port', async (t) => {
  const limits = { minRxBufSize: 0, maxRxPktLen: 0xffffffff, maxMacAddrs: 1 };
  const { ask, devices } = make(t, [{ limits }]);
  devices[0]!.privateInfo = () => [];
  await ask('port start 0');
  const info = await ask('show port info 0');
  for (const line of [
    'Driver name: net_loop',
    'MTU: 1500',
    'Maximum number of MAC addresses: 1',
    'No RSS offload flow type is supported.',
    'Minimum size of RX buffer: 0',
    'Maximum configurable length of RX packet: 4294967295',
    'Current number of RX queues: 1',
    'Max possible RX queues: 2',
  ]) {
    t.true(info.split('\n').includes(line), line);
  }
  t.notRegex(info, /private info/);
  t.regex(await ask('show port summary all'), /^0 {4}02:00:00:00:00:01 net_loop0 {4}net_loop {7}up {7}10 Gbps$/m);
  t.regex(await ask('show rxq info 0 0'), /\nRX free threshold: 0\n[^]*\nNumber of RXDs: 64\nBurst mode: Loop$/);
  t.regex(await ask('show port xstats 0'), /rx_good_packets: 0\n[^]*\nturns: 7$/);
  t.is(await ask('port config all max-pkt-len 1400'), 'Please stop all ports first');
  await ask('port stop 0');
  t.is(await ask('port config all max-pkt-len 1400'), '');
  await ask('port start 0');
  t.regex(await ask('show port info 0'), /\nMTU: 1382\n/);
});

test.serial('events of the link and of queues', async (t) => {
  const { ask, devices, session } = make(t);
  await ask('port start 0');
  const said: string[] = [];
  Object.assign(session.console, { print: (text: string) => void said.push(text) });
  devices[0]!.host.emit('queueState', 'rx', 0, true);
  devices[0]!.plug(false);
  t.deepEqual(said, ['\nPort 0: queue state event', '\nPort 0: link state change event']);
});

test.serial('attach and detach: names of every driver', async (t) => {
  const { ask, session } = make(t, []);
  const unknown = /^Attaching a new port\.\.\.\nEAL: "net_lop0" names no device that this driver knows; did you mean "net_loop0"\?: expected net_virtio_user<N>,[^\n]* or net_loop<N>, then its arguments\ntestpmd: Failed to attach port net_lop0$/; // prettier-ignore
  t.regex(await ask('port attach net_lop0'), unknown);
  t.is(
    await ask('port attach net_loop4,queues=1'),
    'Attaching a new port...\nPort 0 is attached. Now total ports is 1\nDone',
  );
  t.regex(
    await ask('port attach net_loop4'),
    /net_loop4 is attached already: give it another number, such as net_loop5/,
  );
  t.regex(await ask('port detach 0'), /Port 0 is closed\nDevice is detached\nNow total ports is 0\nDone$/);
  t.is(session.ports.size, 0);
});

test.serial('the program: a loop and a virtio port side by side', async (t) => {
  const path = await waitForSocket(startBackend(t));
  const vdevs = ['net_loop0', `net_virtio_user0,path=${path}`].flatMap((vdev) => ['--vdev', vdev]);
  const ours = startPeer(t, 'our testpmd', process.execPath, [
    ...['--import', './tools/ts.mjs', 'test/tools/support/with-loop.ts', 'tools/testpmd/main.ts'],
    ...['-l', '0,1', '--no-huge', '--no-pci', ...vdevs, '--', '-i'],
  ]);
  const [intro] = await ours.waitFor(/^[^]*testpmd> /, 30_000);
  t.notRegex(intro, /port 0: .* - ignore/, 'nobody asked for it');
  t.regex(intro, /Port 0: 02:00:00:00:00:01\n[^]*Port 1: [^]*Done\n/);
  await ours.ask('set promisc all on', /port 0: a loop receives everything - ignore\n/);
  await ours.ask('show port 0 path', /there is no choice\n/);
  await ours.ask('show port 1 path', /Recipe: /);
  await ours.ask('start tx_first', /io packet forwarding - ports=2[^]*testpmd> /);
  await new Promise((resolve) => setTimeout(resolve, 200));
  for (const port of [0, 1]) await ours.ask(`show port stats ${port}`, /RX-packets: [1-9]\d{2,} /);
  await ours.ask('stop', /Forward statistics for port 0[^]*Done\./);
  await ours.ask('quit', /Bye\.\.\.\n/);
  t.is(await ours.end(), 'exit code 0');
});
