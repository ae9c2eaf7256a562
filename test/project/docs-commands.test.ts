/** The commands of the pages: each block is run as it is printed, with its peers, or a list says why not here. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { isListening } from '../../native/socket.js';
import { blocksOf, Desk, pages, readPage, root, type Command, type CommandBlock } from './support/command-blocks.js';
import { Ovs, whyNoOvs } from '../support/ovs.js';
import { eventually, portStats, type Peer } from '../support/peers.js';
import { lacks, needs } from '../support/needs.js';

const MINUTE = 60_000;

const blocks = pages().flatMap((page) => blocksOf(page, readPage(page)));

/** Blocks that no test of this file runs, by the beginning of their titles: why, and how many when there are several. */
const elsewhere: readonly (readonly [title: string, why: string, count?: number])[] = [
  ['README.md: npm start', 'npm start is start.test.ts; npm test is what runs this'],
  [
    'docs/benchmarks.md: npm run bench',
    'hours; bench/run.test.ts runs the programs with little to do, bench/options.test.ts the options',
    6,
  ],
  ['docs/benchmarks.md: sudo npm run bench', 'the same'],
  [
    'docs/devbind.md: npx devbind --status-dev net',
    'changes the drivers of NICs; devbind-*.test.ts, and in a guest vfio.case.ts',
  ],
  ['docs/exception-path.md: # testpmd -l 0-1', '/dev/vhost-net, which only the guest has: exception.case.ts', 2],
  ['docs/exception-path.md: # ip link show dev tap0', 'the same'],
  ['docs/exception-path.md: testpmd> ', 'the same', 3],
  ['docs/exception-path.md: testpmd --vdev', 'the same'],
  ['docs/guest.md: qemu-system-x86_64', 'a guest: npm run test:guest boots it'],
  ['docs/guest.md: # ', 'in the guest: vfio.case.ts', 2],
  ['docs/interrupt-mode.md: $ ping', "DPDK's tap, and an address on it; event-driven.ts is run by docs.test.ts"],
  [
    'docs/ports.md: npx testpmd --lcores',
    'a port that waits for its guest: interop/net-vhost.test.ts, interop/pcap.test.ts',
    2,
  ],
  ['docs/ports.md: # ip link add veth0', 'interfaces of the machine; driver/vdevs has them in a network namespace'],
  ['docs/ports.md: # testpmd', 'the same'],
  ['docs/pci.md: modprobe vfio-pci', 'a PCI NIC, which only the guest has: vfio.case.ts, no-iommu.case.ts', 2],
  ['docs/pci.md: modprobe igb_uio', 'the same: no-iommu.case.ts'],
  ['docs/pci.md: npx devbind -u', 'the same'],
  ['docs/programmable-forwarding.md: npm install', 'changes a project; package-install.test.ts installs'],
  ['docs/testing.md: apt-get install', 'changes the machine'],
  ['docs/vdpa.md: # modprobe', 'the simulator of vDPA, which only the guest has: vdpa.case.ts'],
  [
    'tools/vfio-bindings-generator/README.md: npm run bindings',
    'vfio-bindings-generator/linux.test.ts and vfio-bindings-generator/command.test.ts',
  ],
];

/** Blocks that are run, by the beginning of their titles. */
const titles = {
  back: "README.md: npx testpmd --lcores '0@0,1@0'",
  dpdk: 'README.md: dpdk-testpmd',
  ours: "README.md: npx testpmd --lcores '0@0,1@1'",
  ovs: 'README.md: ovs-vsctl add-port',
  vhost: 'docs/interrupt-mode.md: $ dpdk-testpmd',
  l3fwd: 'docs/interrupt-mode.md: $ npx l3fwd-power',
  packets: 'docs/interrupt-mode.md: testpmd> start tx_first 4',
  reflector: 'docs/programmable-forwarding.md: npx testpmd',
  qtest: 'docs/qtest.md: npx testpmd',
  machine: 'docs/qtest.md: qemu-system-x86_64',
  firmware: 'docs/qtest.md: head -c 65536',
} as const;

function block(name: keyof typeof titles): CommandBlock {
  const found = blocks.find(({ title }) => title.startsWith(titles[name]));
  if (found === undefined) throw new Error(`no block '${titles[name]}'`);
  return found;
}

test('every block of every page is run here, or is in the list with the reason', (t) => {
  t.true(blocks.length > 20);
  const list = [...Object.values(titles).map((title) => [title, 'run'] as const), ...elsewhere];
  for (const { title } of blocks)
    t.true(
      list.some(([start]) => title.startsWith(start)),
      `${title}: run it, or say why not`,
    );
  for (const [start, , count = 1] of list) {
    t.is(blocks.filter(({ title }) => title.startsWith(start)).length, count, start);
  }
});

test('blocks are found, fenced and indented, with what is typed', (t) => {
  const text = [
    ...[
      '```sh',
      'npx a \\',
      '  --b',
      'testpmd> start',
      '```',
      'text',
      '',
      '    $ npx c',
      '    output',
      '',
      '    testpmd> quit',
      'text',
    ],
    ...['    no command', '', '```ts', '    npx not', '```', '    testpmd> more'],
  ].join('\n');
  t.deepEqual(
    blocksOf('p', text).map(({ commands }) => commands),
    [[{ line: 'npx a --b', typed: ['start'] }], [{ line: 'npx c', typed: ['quit'] }], [{ line: '', typed: ['more'] }]],
  );
});

/** Waits for the prompt, and types what the page has typed. */
async function type(peer: Peer, { typed }: Command): Promise<void> {
  await peer.waitFor(/testpmd> /, 2 * MINUTE);
  for (const line of typed) await peer.ask(line, /testpmd> /, MINUTE);
}

const listens = (desk: Desk, name: string) =>
  eventually(`${name} listens`, () => isListening(join(desk.directory, name)), Boolean, 2 * MINUTE);

const received = (peer: Peer, least = 1) =>
  eventually(
    'packets',
    () => portStats(peer),
    ({ rxPackets }) => rxPackets >= least,
    MINUTE,
  );

const twoCpus = lacks('taskset') || (existsSync('/sys/devices/system/cpu/cpu1') ? '' : 'there is no second CPU');
const dpdkTest = needs(lacks('dpdk-testpmd'));
const twoCpusTest = needs(lacks('dpdk-testpmd') || twoCpus);
const oursTest = needs(twoCpus);
const ovsTest = needs(whyNoOvs());
const qemuTest = needs(lacks('qemu-system-x86_64'));

/** The quick start of the README, with a program for the device's end. */
async function bothEnds(t: ExecutionContext, deviceEnd: 'back' | 'dpdk'): Promise<void> {
  t.timeout(10 * MINUTE);
  const desk = new Desk(t);
  const [theirs] = block(deviceEnd).commands;
  const [ours] = block('ours').commands;
  const far = desk.start(theirs!);
  await type(far, theirs!);
  await listens(desk, 'vhost.sock');
  const near = desk.start(ours!);
  await type(near, ours!);
  t.regex(near.output, /Recipe: split mergeable/);
  await far.ask('start tx_first 32', /testpmd> /, MINUTE);
  await received(near);
  await received(far);
  await near.ask('quit', /Bye/, MINUTE);
  t.is(await near.end(), 'exit code 0');
}

oursTest.serial('README: both ends', (t) => bothEnds(t, 'back'));
twoCpusTest.serial('README: with DPDK', (t) => bothEnds(t, 'dpdk'));

ovsTest.serial('README: with Open vSwitch', async (t) => {
  t.timeout(10 * MINUTE);
  const ovs = await Ovs.start(t);
  const desk = new Desk(t, {
    'ovs-vsctl': `exec /usr/bin/ovs-vsctl --db='unix:${join(ovs.directory, 'db.sock')}' --timeout=60 "$@"`,
  });
  const [add, ours] = block('ovs').commands;
  await desk.run(add!);
  const near = desk.start(ours!);
  await type(near, ours!);
  const up = async () => (await near.ask('show port info 0', /Link status: \w+/, MINUTE))[0];
  await eventually('the link is up', up, (text) => text.endsWith('up'), MINUTE);
  await near.ask('quit', /Bye/, MINUTE);
  t.is(await near.end(), 'exit code 0');
});

twoCpusTest.serial('interrupt-mode: 128 packets wake l3fwd-power', async (t) => {
  t.timeout(10 * MINUTE);
  const desk = new Desk(t);
  const [vhost] = block('vhost').commands;
  const far = desk.start(vhost!);
  await type(far, vhost!);
  await listens(desk, 'vhost.sock');
  const near = desk.start(block('l3fwd').commands[0]!);
  await near.waitFor(/lcore 1 sleeps until interrupt triggers/, 2 * MINUTE);
  const [start, stop] = block('packets').commands[0]!.typed;
  await far.ask(start!, /testpmd> /, MINUTE);
  await near.waitFor(/lcore 1 is waked up from rx interrupt on port 0 queue 0/, MINUTE);
  await received(far, 128);
  const [report] = await far.ask(stop!, /RX-packets: [^]*testpmd> /, MINUTE);
  t.regex(report, /RX-packets: 128 .*\n.*TX-packets: 128 /);
  process.kill(near.pid, 'SIGTERM');
  t.is(await near.end(), 'exit code 0');
  t.regex(near.output, /IPv4 forwarded[^]* 128 /);
});

dpdkTest.serial('programmable-forwarding: the reflector', async (t) => {
  t.timeout(10 * MINUTE);
  const desk = new Desk(t);
  const [vhost] = block('dpdk').commands; // any back-end will do
  const far = desk.start(vhost!);
  await type(far, vhost!);
  await listens(desk, 'vhost.sock');
  const [ours] = block('reflector').commands;
  const near = desk.start(ours!, join(root, 'docs/examples')); // where ./reflector.ts is
  await type(near, ours!);
  await near.ask('start', /testpmd> /, MINUTE);
  await far.ask('start tx_first 32', /testpmd> /, MINUTE);
  await received(far);
  await near.ask('quit', /Bye/, MINUTE);
  t.is(await near.end(), 'exit code 0');
});

qemuTest.serial('qtest: two functions of a QEMU that testpmd starts', async (t) => {
  t.timeout(10 * MINUTE);
  const [ours] = block('qtest').commands;
  const near = new Desk(t).start(ours!);
  await type(near, ours!);
  await received(near);
  await near.ask('quit', /Bye/, MINUTE);
  t.is(await near.end(), 'exit code 0');
});

qemuTest.serial('qtest: a QEMU started by hand', async (t) => {
  t.timeout(10 * MINUTE);
  const desk = new Desk(t);
  for (const command of block('firmware').commands) await desk.run(command);
  const [machine, ours] = block('machine').commands;
  desk.start(machine!);
  await eventually('the socket of QEMU', () => existsSync(join(desk.directory, 'q')), Boolean, 2 * MINUTE);
  const near = desk.start(ours!);
  await type(near, ours!);
  await near.ask('show port info 0', /Link status: up/, MINUTE);
  await near.ask('quit', /Bye/, MINUTE);
  t.is(await near.end(), 'exit code 0');
});
