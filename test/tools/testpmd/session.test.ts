/** Our testpmd as a process, against the embedded back-end on a thread of the test: life cycle, texts, ways to leave. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { eventually, portStats, temporaryDirectory } from '../../support/peers.js';
import { spawnTestpmd, startBackend, startTestpmd, waitForSocket } from '../../support/testpmd-process.js';

const still = /Forward statistics for port 0[^]*Done\./;

test.serial('a session: start tx_first, statistics, stop, port stop and start, bursts of one, quit', async (t) => {
  const ours = await startTestpmd(t);
  const [intro] = await ours.waitFor(/^[^]*testpmd> /, 30_000);
  t.regex(
    intro,
    /Interactive-mode selected\n[^]*Configuring Port 0 \(socket 0\)\nPort 0: ([0-9A-F]{2}:){5}[0-9A-F]{2}\nChecking link statuses\.\.\.\nDone\n/,
  );
  await ours.ask('set fwd mac', /Set mac packet forwarding mode\n/);
  await ours.ask(
    'start tx_first 32',
    /mac packet forwarding - ports=1 - cores=1 - streams=1[^]*packets\/burst=32[^]*testpmd> /,
  );
  await eventually(
    'packets',
    () => portStats(ours),
    ({ rxPackets }) => rxPackets > 10_000,
  );
  const [summary] = await ours.ask('stop', still);
  t.regex(summary, /RX-packets: [1-9]\d*\s+RX-dropped: 0\s+RX-total/);
  await ours.ask('port stop 0', /Stopping ports\.\.\.\nChecking link statuses\.\.\.\nDone\n/);
  await ours.ask('port start 0', /Port 0: [^\n]*\nChecking link statuses\.\.\.\nDone\n/);
  await ours.ask('clear port stats 0', /\n {2}NIC statistics for port 0 cleared\n/);
  t.is((await portStats(ours)).rxPackets, 0);
  await ours.ask('set burst 1', /Number of packets per burst set to 1\n/);
  await ours.ask('start tx_first 1', /packets\/burst=1\n[^]*testpmd> /);
  await eventually(
    'packets',
    () => portStats(ours),
    ({ rxPackets }) => rxPackets > 100,
  );
  await ours.ask('stop', still);
  await ours.ask('show port 0 path', /Recipe: split in-order mergeable\n[^]*acknowledged/);
  const quit =
    /\nStopping port 0\.\.\.\nStopping ports\.\.\.\nDone\n\nShutting down port 0\.\.\.\nClosing ports\.\.\.\nPort 0 is closed\nDone\n\nBye\.\.\.\n/;
  await ours.ask('quit', quit);
  t.is(await ours.end(), 'exit code 0');
});

/** Commands in one session, in this order, and what each answers: on stdout or on stderr, whose order is not kept. */
const answers: readonly [command: string, answer: RegExp][] = [
  ['stop', /Packet forwarding not started\n/],
  ['foo', /Command not found\n/],
  ['set fwd nothing', /Bad arguments\n/],
  ['set burst 9999', /nb pkt per burst: 9999 > 512 \(maximum packet per burst\) {2}ignored\n/],
  ['set nbcore 5', /nb fwd cores 5 > 1 \(max\. number of configured lcores\) - ignored\n/],
  ['set nbcore 0', /nb fwd cores 0 < 1/],
  ['set corelist 0', /lcore 0 cannot be masked on for running packet forwarding, which is the main lcore/],
  ['set corelist 7', /lcore 7 not enabled\n/],
  ['set corelist 1,1', /duplicated core 1 at index 0 and 1\n/],
  ['set portlist 9', /Invalid port 9\n/],
  ['set txpkts 10', /total packet length=10 < 42 - give up\n/],
  ['set eth-peer 0 zz', /Error: Invalid ethernet address: zz\n/],
  ['set eth-peer 7 00:11:22:33:44:55', /Error: Invalid port number 7\n/],
  ['show port info 7', /The valid ports array is \[ 0 \]/],
  ['show config cores', /List of forwarding lcores: {2}1\n/],
  ['set verbose 1', /Change verbose level from 0 to 1\n/],
  ['set verbose 0', /Change verbose level from 1 to 0\n/],
  ['set fwd mac_retry', /Set mac packet forwarding mode with retry\n/],
  [
    'show config fwd',
    /mac packet forwarding with retry - ports=1[^]*TX retry num: 64, delay between TX retries: 1us\n/,
  ],
  ['set fwd io', /Set io packet forwarding mode\n/],
  ['port config all rxq 1', /Please stop all ports first\n/],
  ['port reset 0', /Can not reset port\(s\), please stop port\(s\) first\.\n/],
  ['port detach 0', /Port not stopped\n/],
  ['port start 0', /Port 0 is now not stopped\nPlease stop the ports first\n/],
  ['port close 0', /Cannot close started device \(port 0\)/],
  ['start', /io packet forwarding - ports=1/],
  ['start', /Packet forwarding already started\n/],
  ['port stop 0', /Please remove port 0 from forwarding configuration\.\n/],
  ['stop', still],
  ['clear fwd stats all', /testpmd> /],
  ['show fwd stats all', /RX-packets: 0 [^]*Accumulated forward statistics/],
  ['port stop 0', /Checking link statuses\.\.\.\nDone\n/],
  ['start', /Not all ports were started\n/],
  ['port config all rxq 200', /Fail: input rxq \(200\) can't be greater than max_rx_queues \(1\) of port 0\n/],
  ['port config all rxd 8', /Fail: input rxd \(8\) can't be less than min_rxds \(32\) of port 0\n/],
  ['port config all burst 999', /burst must be >= 1 && <= 512\n/],
  ['port config all rxd 128', /testpmd> /],
  ['port reset 0', /Resetting ports\.\.\.\nDone\n/],
  ['port start 0', /Configuring Port 0 \(socket 0\)\nPort 0: /],
  ['show rxq info 0 0', /Number of RXDs: 128\n/],
  ['port stop 0', /Done\n/],
  ['port attach nothing', /testpmd: Failed to attach port nothing\n/],
  [
    'port attach net_virtio_user5,path=/nowhere/s',
    /testpmd: Failed to attach port net_virtio_user5,path=\/nowhere\/s\n/,
  ],
  ['port detach 0', /Port 0 is closed\nDevice is detached\nNow total ports is 0\nDone\n/],
  ['show port stats 0', /Invalid port 0\n/],
];

test.serial('each command answers as dpdk-testpmd does, in every state', async (t) => {
  const ours = await startTestpmd(t);
  await ours.waitFor(/testpmd> /, 30_000);
  for (const [command, answer] of answers) {
    await t.notThrowsAsync(ours.ask(command, answer), command);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.is(await ours.stop(), 'exit code 0');
});

test.serial('port attach, two queues, close; commands from a file run first', async (t) => {
  const path = await waitForSocket(startBackend(t, 2));
  const file = join(temporaryDirectory(t), 'commands');
  writeFileSync(file, '# a comment\nset fwd macswap\n\nset burst 16\n');
  const ours = spawnTestpmd(t, [], ['-i', '--rxq=2', '--txq=2', `--cmdline-file=${file}`]);
  await ours.waitFor(
    /testpmd> set fwd macswap\nSet macswap[^]*Number of packets per burst set to 16\nRead CLI commands from/,
    30_000,
  );
  await ours.ask(
    `port attach net_virtio_user3,path=${path},queues=2`,
    /Port 0 is attached\. Now total ports is 1\nDone\n/,
  );
  await ours.ask('port start all', /Configuring Port 0 \(socket 0\)\nPort 0: [^]*Done\n/);
  await ours.ask('start tx_first', /streams=2[^]*forwards packets on 2 streams:\n[^]*testpmd> /);
  await eventually(
    'packets',
    () => portStats(ours),
    ({ rxPackets }) => rxPackets > 1000,
  );
  const [summary] = await ours.ask('stop', still);
  t.regex(summary, /Forward statistics for port 0/);
  t.regex(ours.output, /Forward Stats for RX Port= 0\/Queue= 1 -> TX Port= 0\/Queue= 1 -------\n {2}RX-packets: [1-9]/);
  await ours.ask('port stop all', /Done\n/);
  await ours.ask('port close all', /Closing ports\.\.\.\nPort 0 is closed\nDone\n/);
  t.is(await ours.stop(), 'exit code 0');
});

test.serial('offloads: VLAN tags out and in again; what is switched on stays on through other changes', async (t) => {
  const ours = await startTestpmd(t, { args: ['-i', '--enable-rx-cksum', '--tx-offloads=0x10000'] });
  await ours.waitFor(/testpmd> /, 30_000);
  // the embedded back-end makes no checksums
  t.regex(ours.output, /Port 0 offers no Rx UDP_CKSUM TCP_CKSUM: left out\n/);
  await ours.ask('vlan set strip on 0', /testpmd> /);
  await ours.ask('port stop 0', /Done\n/);
  await ours.ask('tx_vlan set 0 5', /testpmd> /);
  await ours.ask('port config 0 rx_offload scatter on', /testpmd> /);
  await ours.ask('port config mtu 0 9000', /testpmd> /);
  await ours.ask('port start 0', /Configuring Port 0 \(socket 0\)\nPort 0: /);
  await ours.ask('show port 0 rx_offload configuration', /Port : VLAN_STRIP SCATTER\n {2}Queue\[ 0\] : VLAN_STRIP SCATTER\n/);
  await ours.ask('show port 0 tx_offload configuration', /Port : VLAN_INSERT\n/);
  await ours.ask('show port info 0', /\nMTU: 9000\n/);
  await ours.ask('set fwd mac', /Set mac/);
  await ours.ask('set verbose 1', /Change verbose level/);
  await ours.ask('start tx_first', /length=64 - nb_segs=1[^\n]*\n {2}ol_flags: RTE_MBUF_F_RX_VLAN RTE_MBUF_F_RX_L4_CKSUM_UNKNOWN RTE_MBUF_F_RX_VLAN_STRIPPED /);
  await ours.ask('stop', still);
  await ours.ask('port stop 0', /Done\n/);
  await ours.ask('csum set tcp hw 0', /TCP checksum offload is not supported by port 0\n/);
  await ours.ask('port config 0 tx_offload tcp_cksum on', /testpmd> /);
  await ours.ask(
    'port start 0',
    /requested Tx offloads 0x9 doesn't match Tx offloads capabilities 0x[0-9a-f]+: leave out 0x8\n[^]*Start ports failed\n/,
  );
  await ours.ask('port config 0 tx_offload tcp_cksum off', /testpmd> /);
  await ours.ask('port start 0', /Port 0: [^]*Done\n/);
  t.is(await ours.stop(), 'exit code 0');
}); // prettier-ignore

test.serial('port attach, start, stop and detach while another port forwards', async (t) => {
  const second = await waitForSocket(startBackend(t));
  const ours = await startTestpmd(t, { args: ['-i', '--port-topology=loop'] });
  await ours.waitFor(/testpmd> /, 30_000);
  await ours.ask('start tx_first', /io packet forwarding - ports=1[^]*testpmd> /);
  const goesOn = async () => {
    const { rxPackets } = await portStats(ours);
    await eventually('packets', () => portStats(ours), (now) => now.rxPackets > rxPackets + 1000); // prettier-ignore
  };
  for (let i = 0; i < 2; i++) {
    await ours.ask(`port attach net_virtio_user1,path=${second}`, /Port 1 is attached\. Now total ports is 2\nDone\n/);
    await goesOn();
    await ours.ask('port start 1', /Configuring Port 1 \(socket 0\)\nPort 1: [^]*Done\n/);
    await goesOn();
    await ours.ask('port stop 1', /Done\n/);
    await ours.ask('port detach 1', /Now total ports is 1\nDone\n/);
    await goesOn();
  }
  await ours.ask('stop', still);
  t.is(await ours.stop(), 'exit code 0');
});

test.serial('commands piped in run in order, attach included; the end of the input is quit', async (t) => {
  const path = await waitForSocket(startBackend(t));
  const ours = spawnTestpmd(t, [], ['-i']);
  for (const line of [
    `port attach net_virtio_user0,path=${path}`,
    'port start 0',
    'start',
    'stop',
    'show port summary all',
  ]) {
    ours.send(line);
  }
  ours.endInput();
  t.is(await ours.end(), 'exit code 0');
  t.regex(
    ours.output,
    /testpmd> port attach [^]*is attached[^]*testpmd> port start 0\n[^]*testpmd> start\n[^]*testpmd> stop\n[^]*Done\.\ntestpmd> show port summary all\n[^]*testpmd> \nStopping port 0/,
  );
});

test.serial('without -i: forwards at once, ends at enter', async (t) => {
  const ours = await startTestpmd(t, { args: ['--tx-first'] });
  await ours.waitFor(/No commandline core given, start packet forwarding\n[^]*Press enter to exit\n/, 30_000);
  t.regex(ours.output, /Port 0 Link up at Unknown FDX Autoneg\n/);
  ours.send('');
  await ours.waitFor(/Telling cores to stop\.\.\.[^]*Bye\.\.\.\n/);
  t.is(await ours.end(), 'exit code 0');
});

test.serial('with --stats-period: statistics until a signal, then a clean end', async (t) => {
  const ours = await startTestpmd(t, { args: ['--tx-first', '--stats-period', '1', '--forward-mode=macswap'] });
  await ours.waitFor(/Port statistics =+\n {2}#+ NIC statistics for port 0[^]*Port statistics =+\n/, 30_000);
  process.kill(ours.pid, 'SIGTERM');
  await ours.waitFor(/Telling cores to stop\.\.\.[^]*Port 0 is closed[^]*Bye\.\.\.\n/);
  t.is(await ours.end(), 'exit code 0');
});

test.serial('SIGINT at the prompt while forwarding: a clean end', async (t) => {
  const ours = await startTestpmd(t, { args: ['-i', '-a'] });
  await ours.waitFor(/Start automatic packet forwarding\n[^]*testpmd> /, 30_000);
  process.kill(ours.pid, 'SIGINT');
  await ours.waitFor(/Done\.\n[^]*Bye\.\.\.\n/);
  t.is(await ours.end(), 'exit code 0');
});

test.serial('an offload that the back-end has not: one sentence and exit code 1', async (t) => {
  const ours = await startTestpmd(t, { args: ['--tx-offloads=0x2c'] });
  t.is(await ours.end(), 'exit code 1');
  t.regex(
    ours.output,
    /requested Tx offloads 0x2c doesn't match Tx offloads capabilities 0x[0-9a-f]+: leave out 0x2c\nStart ports failed\n/,
  );
  t.notRegex(ours.output, /\n {4}at /);
});

const failures: readonly [title: string, eal: string[], app: string[], pattern: RegExp][] = [
  ['an unknown EAL option', ['--vdve=x'], ['-i'], /unrecognized option '--vdve'; did you mean --vdev\?\n$/],
  ['an unknown testpmd option', [], ['--nb-coers=1'], /unrecognized option '--nb-coers'; did you mean --nb-cores\?\n$/],
  ['no back-end', ['--vdev', 'net_virtio_user0,path=/nowhere/s'], ['-i'], /Cause: [^\n]*\/nowhere\/s[^\n]*\n$/],
  ['too many cores', [], ['-i', '--nb-cores=9'], /Cause: error\[E[A-Z]+\]: nb-cores should be > 0 and <= 1\n$/],
  ['too many ports', [], ['-i', '--nb-ports=9'], /Cause: error\[E[A-Z]+\]: Invalid port 9/],
];
for (const [title, eal, app, pattern] of failures) {
  test.serial(`${title}: one sentence and exit code 1`, async (t) => {
    const ours = spawnTestpmd(t, [], app, eal);
    t.is(await ours.end(), 'exit code 1');
    t.regex(ours.output, pattern);
    t.notRegex(ours.output, /\n {4}at /);
  });
}
