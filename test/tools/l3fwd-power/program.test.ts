/** l3fwd-power as a process, with our own back-ends at the other end of its ports. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import {
  datagram,
  spawnL3fwd,
  startBackends,
  tableOf,
  vdevs,
  withTtl,
  type Arrival,
} from '../../support/l3fwd-program.js';
import { eventually, ourCpu, peerCpu, temporaryDirectory, type Peer } from '../../support/peers.js';

const twoLcores = ['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-pci', '--no-huge'];
const guideOptions = ['-p', '1', '-P', '--config=(0,0,1)', '--no-numa', '--parse-ptype'];
const SLEEPS = /L3FWD_POWER: lcore 1 sleeps until interrupt triggers\n/;
const WAKES = /L3FWD_POWER: lcore 1 is waked up from rx interrupt on port 0 queue 0\n/;

/** The addresses that 1.1.1.0/24 to 2.1.1.0/24 have: the sample's routes to ports 0 and 1. */
const NET0 = 0x01010100;
const NET1 = 0x02010100;

async function endBy(t: ExecutionContext, peer: Peer, signal: 'SIGINT' | 'SIGTERM'): Promise<void> {
  process.kill(peer.pid, signal);
  t.is(await peer.end(), 'exit code 0');
}

/** What a router makes of a packet: MAC addresses, TTL and checksum are new, and everything else is as it was. */
function checkRouted(t: ExecutionContext, { bytes }: Arrival, sent: Uint8Array, destination: string, source: string) {
  t.is(Buffer.from(bytes.subarray(0, 12)).toString('hex'), destination + source);
  t.is(bytes[22], sent[22]! - 1);
  const sum = new DataView(bytes.buffer, bytes.byteOffset + 14, 20);
  const words = Array.from({ length: 10 }, (_, i) => sum.getUint16(2 * i));
  t.is(words.reduce((total, word) => total + word, 0) % 0xffff, 0);
  const plain = (packet: Uint8Array) =>
    packet.map((byte, i) => (i < 12 || i === 22 || i === 24 || i === 25 ? 0 : byte));
  t.deepEqual(plain(bytes), plain(sent));
}

test.serial(
  "the guide's command: sleeps, wakes up and forwards, sleeps again, loses its back-end and gets it back",
  async (t) => {
    const [backend] = startBackends(t, 1);
    const peer = spawnL3fwd(t, [...twoLcores, ...vdevs([backend!], ',mac=52:54:00:00:00:01')], guideOptions);
    await peer.waitFor(/Operating mode not specified, probing.*\n.*selecting interrupt-only mode\n/);
    await peer.waitFor(/Selected operation mode: interrupt-only\n/);
    await peer.waitFor(/entering main interrupt loop on lcore 1\n.* -- lcoreid=1 portid=0 rxqueueid=0\n/);
    await peer.waitFor(SLEEPS);

    const packet = datagram(NET0 + 5);
    await backend!.send([packet]);
    checkRouted(t, (await backend!.take(1))[0]!, packet, '020000000000', '525400000001');
    await peer.waitFor(WAKES);
    await peer.waitFor(SLEEPS);

    const expired = withTtl(datagram(NET0, 1), 1);
    const arp = datagram(NET0, 2);
    arp.set([8, 6], 12);
    await backend!.send([expired, datagram(NET0, 3), arp, datagram(NET1, 4)]);
    const tags = (await backend!.take(2)).map(({ bytes }) => bytes[42]);
    t.deepEqual(tags, [3, 4], 'the one without a route goes back where it came from');
    await peer.waitFor(SLEEPS);
    process.kill(peer.pid, 'SIGUSR1');
    await peer.waitFor(/no room\n.*\n.*\n\n/);
    const [before] = tableOf(peer.output, 'polls');
    t.like(before, { lcore: 1, full: 0, sleeps: 3, 'wake-ups': 2 });
    t.is(before!['polls']! - before!['empty']!, 2);

    backend!.restart();
    await peer.waitFor(/Port 0 Link down\n/);
    await peer.waitFor(/Port 0 Link up/);
    await backend!.send([packet]);
    await backend!.take(1);
    await peer.waitFor(SLEEPS);

    await endBy(t, peer, 'SIGINT');
    const lcores = tableOf(peer.output, 'polls');
    t.is(lcores.length, 1);
    t.like(lcores[0], { sleeps: 4, 'wake-ups': 3 });
    const expected = { 'IPv4 forwarded': 4, 'IPv6 forwarded': 0, 'without a route': 1, 'TTL expired': 1, ARP: 1 };
    t.like(tableOf(peer.output, 'port')[0], {
      lcore: 1,
      port: 0,
      received: 6,
      ...expected,
      other: 0,
      sent: 4,
      'no room': 0,
    });
  },
);

test.serial(
  'two ports, two queues, two lcores, packed rings: only the lcore with packets wakes up; --rule_ipv4 and --eth-dest',
  async (t) => {
    const [left, right] = startBackends(t, 2, 2);
    const rules = join(temporaryDirectory(t), 'rules');
    writeFileSync(rules, '# to the right\nR10.0.0.0/8 1\n10.1.0.0/16 0\n');
    const macs = ['52:54:00:00:00:01', '52:54:00:00:00:02'];
    const devices = [left!, right!].flatMap(({ path }, i) =>
      vdevs([{ path }], `,queues=2,cq=1,packed_vq=1,mac=${macs[i]}`, i),
    );
    const config = '(0,0,0),(0,1,1),(1,0,0),(1,1,1)';
    const args = ['-p', '3', `--config=${config}`, '--interrupt-only', '--parse-ptype', `--rule_ipv4=${rules}`];
    const peer = spawnL3fwd(t, [...twoLcores, ...devices], [...args, '--eth-dest=1,02:11:22:33:44:55']);
    await peer.waitFor(/LPM: Adding route 0x0a000000 \/ 8 \(1\)\n/);
    await eventually(
      'both asleep',
      () => peer.output.match(/lcore \d sleeps/g)?.length,
      (n) => n === 2,
    );

    const packet = datagram(0x0a000001);
    await left!.send([packet], 1);
    const [arrival] = await right!.take(1);
    t.is(arrival!.queue, 1, 'lcore 1 has the second Tx queue of each port');
    checkRouted(t, arrival!, packet, '021122334455', '525400000002');
    await peer.waitFor(/lcore 1 is waked up from rx interrupt on port 0 queue 1\n/);
    await peer.waitFor(SLEEPS);
    const burst = Array.from({ length: 32 }, (_, i) => datagram(0x0a010000 + i, i));
    await right!.send(burst, 1);
    t.deepEqual((await left!.take(32)).map(({ bytes }) => bytes[42]), burst.map((_, i) => i)); // prettier-ignore
    await peer.waitFor(SLEEPS);
    await endBy(t, peer, 'SIGTERM');

    t.is(peer.output.match(/lcore 0 sleeps/g)?.length, 1);
    t.false(peer.output.includes('lcore 0 is waked up'));
    const [idle, awake] = tableOf(peer.output, 'polls');
    t.like(idle, { lcore: 0, full: 0, sleeps: 1, 'wake-ups': 0, missed: 0, spurious: 0 });
    t.is(idle!['polls'], idle!['empty']);
    t.like(awake, { lcore: 1, full: 1, sleeps: 3, 'wake-ups': 2 });
    const rows = tableOf(peer.output, 'port').map(({ lcore, port, received, sent }) => [lcore, port, received, sent]);
    t.deepEqual(rows, [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 1, 32], [1, 1, 32, 1]]); // prettier-ignore
  },
);

for (const mode of ['--telemetry', '--pmd-mgmt=pause'] as const) {
  test.serial(`${mode}: an lcore on the CPU of the main thread forwards without sleeping`, async (t) => {
    const [backend] = startBackends(t, 1);
    const eal = ['-l', `${ourCpu}`, '--no-pci', '--no-huge', ...vdevs([backend!])];
    const peer = spawnL3fwd(t, eal, ['-p', '1', `--config=(0,0,${ourCpu})`, '--parse-ptype', mode]);
    await peer.waitFor(/entering main telemetry loop on lcore/);
    await backend!.send([datagram(NET0), datagram(NET0)]);
    await backend!.take(2);
    if (mode === '--telemetry') {
      const told = await eventually(
        'two lines while it polls',
        () => peer.output.match(/^\{.*\}$/gm) ?? [],
        (lines) => lines.filter((line) => !line.includes('"polls":0')).length > 1,
      );
      const lines = told.map((line) => JSON.parse(line) as { lcores: { polls: number; emptyPolls: number }[] });
      const [before, now] = lines.slice(-2).map((line) => line.lcores[0]!);
      t.true(now!.polls > before!.polls && now!.emptyPolls > before!.emptyPolls);
    }
    await endBy(t, peer, 'SIGINT');
    t.notRegex(peer.output, /sleeps until/);
    t.like(tableOf(peer.output, 'port')[0], { received: 2, sent: 2 });
  });
}

test.serial('what cannot be is one sentence and exit code 1: virtio has no packet types', async (t) => {
  const peer = spawnL3fwd(t, twoLcores, ['-p', '1', '--config=(0,0,1)']);
  t.is(await peer.end(), 'exit code 1');
  t.regex(
    peer.output,
    /EAL: Error - exiting with code: 1\n {2}Cause: error\[E[A-Z]+\]: PMD can not provide needed ptypes: [^\n]*--parse-ptype[^\n]*\n$/,
  );
});
