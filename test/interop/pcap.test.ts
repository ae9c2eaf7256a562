/** net_pcap beside DPDK's: the same file through both, and each reads what the other writes. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { packetOf, pcapFile, pcapngFile, type Block } from '../driver/vdevs/support/captures.js';
import { lacks, needs } from '../support/needs.js';
import { eventually, portStats, startDpdk, startOurs, temporaryDirectory } from '../support/peers.js';
import { startForwarding, stopForwarding } from '../support/traffic.js';
import { readPcap } from './support/pcap.js';
import { pcapMissing } from './support/pcap-pmd.js';

const test = needs(lacks('dpdk-testpmd') || pcapMissing());

/** DPDK cuts packets of several mbufs at this length when it writes them; ours does not. */
const DPDK_LONGEST = 16128;

type Start = typeof startDpdk;
const programs: readonly (readonly [string, Start])[] = [
  ["DPDK's testpmd", startDpdk],
  ['our testpmd', startOurs],
];

/** Forwards a file to another. @returns the counters, and how the program ended */
async function forward(t: ExecutionContext, start: Start, input: string, output: string, packets: number) {
  const vdevs = [`net_pcap0,rx_pcap=${input},tx_pcap=${output}`];
  const peer = await start(t, { vdevs, args: ['--no-flush-rx', '--forward-mode=io'] });
  await startForwarding(peer);
  await eventually('all packets', () => readPcap(output).length, (n) => n >= packets); // prettier-ignore
  await stopForwarding(peer);
  const { rxPackets, rxBytes, txPackets } = await portStats(peer);
  return { rxPackets, rxBytes, txPackets, ended: await peer.stop() };
}

const lengthOf = (i: number) => 14 + Math.floor(((i * 97) % (DPDK_LONGEST - 13)) / (1 + (i % 7)));
const packets = Array.from({ length: 500 }, (_, i) => packetOf(lengthOf(i), i));
const interfaces: Block[] = [
  { kind: 'section', big: true },
  { kind: 'interface', linktype: 1, snaplen: 0, tsresol: 9 },
];
const blocks = packets.map((packet, i): Block =>
  i % 3 === 0 ? { kind: 'simple', packet } : { kind: 'enhanced', id: 0, packet, options: packetOf(i % 5, i) },
);

for (const [title, bytes] of [
  ['pcap', pcapFile(packets)],
  ['pcap of nanoseconds in the other byte order', pcapFile(packets, { nano: true, big: true })],
  ['pcap with packets longer than its snapshot length', pcapFile(packets, { snaplen: 96 })],
  ['pcapng', pcapngFile([...interfaces, { kind: 'unknown', type: 5, body: packetOf(12, 0) }, ...blocks])],
] as const) {
  test.serial(`${title}: the same packets, counters and file header from both`, async (t) => {
    const directory = temporaryDirectory(t);
    const input = join(directory, 'in');
    writeFileSync(input, bytes);
    const results = [];
    for (const [i, [, start]] of programs.entries()) {
      const output = join(directory, `out${i}`);
      const counters = await forward(t, start, input, output, packets.length);
      results.push({ counters, packets: readPcap(output), header: readFileSync(output).subarray(0, 24) });
    }
    t.is(results[0]!.packets.length, packets.length);
    t.deepEqual(results[1], results[0]);
  });
}

test.serial('a file cut in the middle: the same packets from both', async (t) => {
  const directory = temporaryDirectory(t);
  const input = join(directory, 'in');
  writeFileSync(input, pcapFile(packets).subarray(0, -1));
  const [theirs, ours] = [join(directory, 'out0'), join(directory, 'out1')];
  await forward(t, startDpdk, input, theirs, packets.length - 1);
  await forward(t, startOurs, input, ours, packets.length - 1);
  t.is(readPcap(ours).length, packets.length - 1);
  t.deepEqual(readPcap(ours), readPcap(theirs));
});

test.serial('each reads what the other writes', async (t) => {
  const directory = temporaryDirectory(t);
  const [input, first, second, third] = ['in', 'a', 'b', 'c'].map((name) => join(directory, name)) as [string, string, string, string]; // prettier-ignore
  writeFileSync(input, pcapFile(packets));
  await forward(t, startOurs, input, first, packets.length);
  await forward(t, startDpdk, first, second, packets.length);
  await forward(t, startOurs, second, third, packets.length);
  t.deepEqual(readPcap(third), packets);
});

for (const [name, start] of programs) {
  test.serial(`${name}: a port that is started again begins its files again`, async (t) => {
    const directory = temporaryDirectory(t);
    const [input, output] = [join(directory, 'in'), join(directory, 'out')];
    writeFileSync(input, pcapFile(packets));
    const vdevs = [`net_pcap0,rx_pcap=${input},tx_pcap=${output}`];
    const peer = await start(t, { vdevs, args: ['--no-flush-rx'] });
    for (let turn = 1; turn <= 2; turn++) {
      await startForwarding(peer);
      await eventually('all packets', () => readPcap(output).length, (n) => n === packets.length); // prettier-ignore
      await stopForwarding(peer);
      t.is((await portStats(peer)).rxPackets, turn * packets.length);
      await peer.ask('port stop 0', /Stopping ports[^]*Done/);
      await peer.ask('port start 0', /Done/);
      t.is(readPcap(output).length, 0);
    }
    t.is(await peer.stop(), 'exit code 0');
  });
}

for (const [name, start] of programs) {
  test.serial(`${name}: infinite_rx=1, and no Tx file`, async (t) => {
    const input = join(temporaryDirectory(t), 'in');
    const few = [packetOf(60, 1), packetOf(100, 2)];
    writeFileSync(input, pcapFile(few));
    const peer = await start(t, { vdevs: [`net_pcap0,rx_pcap=${input},infinite_rx=1`], args: ['--no-flush-rx'] });
    await startForwarding(peer);
    await eventually('many packets', async () => (await portStats(peer)).txPackets, (n) => n > 10_000); // prettier-ignore
    await stopForwarding(peer);
    const { rxPackets, txPackets, rxBytes } = await portStats(peer);
    t.is(txPackets, rxPackets, 'what is dropped counts as sent');
    t.true(Math.abs(rxBytes - rxPackets * 80) <= 40 * 32, `${rxBytes} ${rxPackets}`);
    t.is(await peer.stop(), 'exit code 0');
  });
}
