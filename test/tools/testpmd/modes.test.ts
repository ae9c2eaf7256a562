/** Forwarding modes of users in our testpmd as a process: what they may do, and that none of their errors does harm. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createEal } from '../../../driver/eal/eal.js';
import { PacketBackend } from '../../support/packet-backend.js';
import { eventually, ourCpu, peerCpu, temporaryDirectory, type Peer } from '../../support/peers.js';
import { spawnTestpmd, startTestpmd } from '../../support/testpmd-process.js';
import { isRight, udpPacket } from '../../support/udp.js';

const modes = {
  'io.mjs': 'export default (stream) => () => stream.send(stream.receive());',
  'throws.ts': `interface Unused { a: number }
export default (stream: { receive(): number; send(n: number): void }) => {
  let total = 0;
  return () => {
    total += stream.receive();
    if (total > 100) throw new RangeError('enough of it');
    stream.send(0);
  };
};`,
  'throws-made.mjs': 'export default () => {\n  throw new Error("not today");\n};',
  'returns-nothing.mjs': 'export default () => {};',
  'asynchronous.mjs': 'export default async () => () => {};',
  'never-returns.mjs': 'export default () => () => { for (;;); };',
  'sends-rubbish.mjs': 'export default (s) => () => { s.pkts[0] = -1; s.send(1); };',
  'frees-twice.mjs':
    'export default (s) => () => { const n = s.receive(); if (n > 0) s.pool.free(s.pkts[0]); s.free(n); };',
  'says.mjs':
    'export default (s) => { s.log(`burst ${s.burst}, port ${s.tx.spec.portId}, own ${s.ownMac.length}, peer ${s.peerMac}`); return () => {}; };',
  'one-throws.mjs':
    'export default (s) => () => { const n = s.receive(); if (n > 0 && s.rx.spec.queueId === 1) throw new Error("one"); s.send(n); };',
  'ends-its-thread.mjs': 'export default () => () => process.exit(7);',
};

/** Writes the modes into a directory. @returns it. */
function modeDirectory(t: ExecutionContext): string {
  const directory = temporaryDirectory(t);
  for (const [name, source] of Object.entries(modes)) writeFileSync(join(directory, name), source);
  return directory;
}

const ready = (ours: Peer) => ours.waitFor(/testpmd> /, 60_000);
const start = (ours: Peer, mode: string) =>
  ours.ask(
    'start tx_first 8',
    new RegExp(`${mode} packet forwarding - [^]*${mode} packet forwarding packets/burst=32\n[^]*testpmd> `),
  );
const stop = (ours: Peer, pattern: RegExp) => ours.ask('stop', pattern, 30_000);

test.serial('a mode from a file, at the prompt: named where the mode is, forwards, counts; a log line; back to io', async (t) => {
  const directory = modeDirectory(t);
  const ours = await startTestpmd(t);
  await ready(ours);
  await ours.ask(`set fwd ${directory}/says.mjs`, /Set says\.mjs packet forwarding mode\n/);
  await ours.ask('start', /testpmd> [^]*burst 32, port 0, own 6, peer 2,0,0,0,0,0\n/);
  await stop(ours, /Done\./);
  await ours.ask(`set fwd ${directory}/io.mjs retry`, /Set io\.mjs packet forwarding mode with retry\n/);
  await ours.ask('show config fwd', /io\.mjs packet forwarding with retry - ports=1 - cores=1 - streams=1/);
  await ours.ask('set burst 16', /testpmd> /);
  await ours.ask('start tx_first 8', /io\.mjs packet forwarding with retry packets\/burst=16\n[^]*testpmd> /);
  await eventually('packets', async () => (await ours.ask('show fwd stats all', /RX-packets: (\d+)[^]*Accumulated/))[1], (n) => Number(n) > 1000);
  await stop(ours, /RX-packets: [1-9]\d* [^]*TX-packets: [1-9][^]*Done\./);
  t.notRegex(ours.output, /neither sent nor freed|freed .* twice/);
  await ours.ask('set fwd io', /Set io packet forwarding mode\n/);
  await ours.ask('set fwd nothing', /Bad arguments\n {2}set fwd \(io\|mac\|[^)]*\) \[retry\]\n[^]*set fwd \(path\) \[retry\]\n/);
  await ours.ask('set fwd ./nothing.ts', /forwarding mode \.\/nothing\.ts: no such file/);
  await ours.ask('show config fwd', /\nio packet forwarding - ports=1/);
  t.is(await ours.stop(), 'exit code 0');
}); // prettier-ignore

test.serial('a mode that throws: said at once with file and line; stop, start, port stop, another mode go on', async (t) => {
  const directory = modeDirectory(t);
  const ours = await startTestpmd(t);
  await ready(ours);
  await ours.ask(`set fwd ${directory}/throws.ts`, /Set throws\.ts packet forwarding mode\n/);
  for (let round = 0; round < 2; round++) {
    await start(ours, 'throws.ts');
    await ours.waitFor(/lcore 1[^\n]*throws\.ts:6: RangeError: enough of it\nlcore 1 forwards no more/);
    await ours.ask('port stop 0', /Please remove port 0 from forwarding configuration\.\n/);
    // it held what it had received, and has neither sent nor freed it
    const [text] = await stop(ours, /Waiting for lcores[^]*throws\.ts has left (\d+) mbufs neither sent nor freed: free again[^]*Done\./);
    t.regex(text, /RX-packets: [1-9]\d\d /);
    t.notRegex(text, /enough of it/, 'it is not said twice');
  }
  await ours.ask('port stop 0', /Stopping ports\.\.\.\n[^]*Done\n/);
  await ours.ask('port start 0', /Port 0: [^]*Done\n/);
  await ours.ask('set fwd io', /Set io packet forwarding mode\n/);
  await ours.ask('start tx_first', /io packet forwarding[^]*testpmd> /);
  await eventually('packets', async () => (await ours.ask('show fwd stats all', /RX-packets: (\d+)[^]*Accumulated/))[1], (n) => Number(n) > 1000);
  await stop(ours, /Done\./);
  await ours.ask('port stop 0', /Done\n/);
  await ours.ask('port close 0', /Port 0 is closed\n/);
  t.is(await ours.stop(), 'exit code 0');
  t.notRegex(ours.output, /\n {4}at /);
}); // prettier-ignore

test.serial('modes that cannot be made, send rubbish, free twice or end their thread: one sentence each, and start works again', async (t) => {
  const directory = modeDirectory(t);
  const ours = await startTestpmd(t);
  await ready(ours);
  const set = (mode: string) => ours.ask(`set fwd ${directory}/${mode}`, /Set [^\n]* packet forwarding mode\n/);
  for (const [mode, sentence] of [
    ['throws-made.mjs', /throws-made\.mjs:2: not today\n/],
    ['returns-nothing.mjs', /returns-nothing\.mjs: its function returned undefined and must return a function/],
    ['asynchronous.mjs', /asynchronous\.mjs: its function returned a promise and must return a function/],
  ] as const) {
    await set(mode);
    await ours.ask('start', sentence);
    await ours.ask('stop', /Packet forwarding not started\n/);
  }
  await set('sends-rubbish.mjs');
  await ours.ask('start', /sends-rubbish\.mjs:1: send\(1\): pkts\[0\] is -1, and mbufs have numbers from 0 to \d+\nlcore 1 forwards no more/);
  await stop(ours, /Done\./);
  await set('frees-twice.mjs');
  await start(ours, 'frees-twice.mjs');
  await eventually('packets', async () => (await ours.ask('show fwd stats all', /RX-packets: (\d+)[^]*Accumulated/))[1], (n) => Number(n) > 0);
  await stop(ours, /frees-twice\.mjs has freed \d+ mbufs? twice, or freed and sent: put right[^]*Done\./);
  await set('ends-its-thread.mjs');
  await ours.ask('start', /the job ended its thread \(process\.exit\(7\)\)\nlcore 1 forwards no more/);
  await stop(ours, /Done\./);
  await set('io.mjs');
  await start(ours, 'io.mjs');
  await stop(ours, /Done\./);
  await ours.ask('quit', /Bye\.\.\.\n/);
  t.is(await ours.end(), 'exit code 0');
  t.notRegex(ours.output, /\n {4}at /);
}); // prettier-ignore

test.serial('a mode that throws on one lcore: the other goes on', async (t) => {
  const directory = modeDirectory(t);
  const lcores = `0@${peerCpu},1@${ourCpu},2@${ourCpu}`;
  const args = ['-i', '--nb-cores=2', '--rxq=2', '--txq=2', `--forward-mode=${directory}/one-throws.mjs`];
  const ours = await startTestpmd(t, { queues: 2, args, eal: ['--lcores', lcores] });
  await ready(ours);
  await start(ours, 'one-throws.mjs');
  await ours.waitFor(/lcore 2[^\n]*one-throws\.mjs:1: one\nlcore 2 forwards no more/);
  const received = async () => Number((await ours.ask('show fwd stats all', /Accumulated[^]*?RX-packets: (\d+)/))[1]);
  const before = await received();
  await eventually('more packets', received, (now) => now > before + 100);
  await stop(ours, /one-throws\.mjs has left [^]*Done\./);
  t.is(await ours.stop(), 'exit code 0');
}); // prettier-ignore

test.serial('a mode that never returns: stop gives up and says so, quit still ends it', async (t) => {
  const directory = modeDirectory(t);
  const ours = await startTestpmd(t, { args: ['-i', `--forward-mode=${directory}/never-returns.mjs`] });
  await ready(ours);
  await ours.ask('start', /never-returns\.mjs packet forwarding[^]*testpmd> /);
  await stop(ours, /lcore 1 has not ended its turn of never-returns\.mjs for 5 s: a turn must return[^]*Done\./);
  await ours.ask('start', /lcore 1 is busy with a job/);
  ours.send('quit');
  t.is(await ours.end(), 'exit code 1');
  t.notRegex(ours.output, /\n {4}at /);
});

const failures: readonly [title: string, mode: string, sentence: RegExp][] = [
  ['a missing file', 'nowhere.ts', /Cause: error\[E[A-Z]+\]: testpmd: forwarding mode [^\n]*nowhere\.ts: no such file[^\n]*\n$/],
  ['a name that is no mode', '../nothing', /no such file/],
  ['a module without the export', 'none.mjs', /Cause: error\[E[A-Z]+\]: testpmd: forwarding mode none\.mjs has no default export[^\n]*\n$/],
]; // prettier-ignore
for (const [title, mode, sentence] of failures) {
  test.serial(`${title} on the command line: one sentence and exit code 1`, async (t) => {
    const directory = modeDirectory(t);
    writeFileSync(join(directory, 'none.mjs'), 'export const mode = 1;');
    const ours = spawnTestpmd(t, [], ['-i', `--forward-mode=${directory}/${mode}`]);
    t.is(await ours.end(), 'exit code 1');
    t.regex(ours.output, sentence);
    t.notRegex(ours.output, /\n {4}at /);
  });
}

test.serial('without -i: a mode that cannot be made, or that throws, ends testpmd with exit code 1', async (t) => {
  const directory = modeDirectory(t);
  for (const [mode, sentence] of [
    ['throws-made.mjs', /throws-made\.mjs:2: not today\n[^]*Cause: error\[E[A-Z]+\]: Start packet forwarding failed\n$/],
    ['throws.ts', /throws\.ts:6: RangeError: enough of it\n[^]*Port 0 is closed[^]*Cause: error\[E[A-Z]+\]: Packet forwarding failed on every lcore\n$/],
  ] as const) {
    const ours = await startTestpmd(t, { args: ['--tx-first', '--burst=128', `--forward-mode=${directory}/${mode}`] });
    t.is(await ours.end(), 'exit code 1', ours.output);
    t.regex(ours.output, sentence);
  }
}); // prettier-ignore

/** A port of our testpmd in the given mode, and packets by hand. */
async function runExample(t: ExecutionContext, name: string): Promise<{ ours: Peer; backend: PacketBackend }> {
  const socket = join(temporaryDirectory(t), 's');
  const eal = createEal({ noHuge: true, memoryMiB: 16, log: () => {} });
  t.teardown(() => eal.close());
  const backend = new PacketBackend(eal.mempool(eal.createMempool({ count: 1024 })), socket);
  t.teardown(() => backend.close());
  const ours = spawnTestpmd(t, [`net_virtio_user0,path=${socket}`], ['-i', '-a', `--forward-mode=docs/examples/${name}`]);
  const serving = setInterval(() => backend.receive(), 1);
  t.teardown(() => clearInterval(serving));
  await ours.waitFor(/packets\/burst=32[^]*testpmd> /, 60_000);
  clearInterval(serving);
  return { ours, backend };
} // prettier-ignore

/** Sends one packet until one comes out. */
/** Sends until the answer comes. Answers to what was sent earlier, more than once, may still be on their way. */
const roundTrip = (backend: PacketBackend, sent: Uint8Array, expected: Uint8Array) =>
  eventually(
    'the answer comes',
    () => {
      backend.send(sent);
      return backend.receive();
    },
    (bytes) => bytes !== undefined && Buffer.compare(bytes, expected) === 0,
  );

test.serial('reflector.ts returns packets with their MAC addresses exchanged', async (t) => {
  const { backend } = await runExample(t, 'reflector.ts');
  const packet = Uint8Array.from({ length: 100 }, (_, i) => i);
  const expected = Uint8Array.from([...packet.slice(6, 12), ...packet.slice(0, 6), ...packet.slice(12)]);
  await roundTrip(backend, packet, expected);
  t.pass();
});

test.serial('udp-echo.ts answers datagrams, whose checksums stay right, and drops the rest', async (t) => {
  const { ours, backend } = await runExample(t, 'udp-echo.ts');
  for (const optionBytes of [0, 8]) {
    const [a, b] = [
      { mac: 0x11, ip: 0x0a000001, port: 5000 },
      { mac: 0x22, ip: 0x0a000002, port: 7 },
    ];
    const asked = udpPacket({ source: a, destination: b, optionBytes });
    t.true(isRight(asked));
    const answer = await roundTrip(backend, asked, udpPacket({ source: b, destination: a, optionBytes }));
    t.true(isRight(answer!));
  }
  const arp = new Uint8Array(60).fill(1);
  for (let i = 0; i < 10; i++) backend.send(arp);
  await eventually('they are counted as dropped', async () => (await ours.ask('show fwd stats all', /TX-dropped: (\d+)/))[1], (n) => Number(n) >= 10);
}); // prettier-ignore

test.serial('udp-filter.ts drops and counts datagrams to port 9, and hands on all else', async (t) => {
  const { ours, backend } = await runExample(t, 'udp-filter.ts');
  const to = (port: number) =>
    udpPacket({ source: { mac: 1, ip: 1, port: 9 }, destination: { mac: 2, ip: 2, port }, optionBytes: 4 });
  for (const harmless of [to(10), new Uint8Array(60).fill(9)]) await roundTrip(backend, harmless, harmless);
  await eventually(
    'ten are counted as dropped',
    async () => {
      backend.send(to(9));
      t.notDeepEqual(backend.receive(), to(9));
      return (await ours.ask('show fwd stats all', /TX-dropped: (\d+)/))[1];
    },
    (n) => Number(n) >= 10,
  );
});
