/**
 * A Linux guest whose NICs are served by net_vhost ports of our testpmd, one for each kind of ring: it answers pings (icmpecho)
 * while the machine, its memory and its NICs change. Then l3fwd-power has the same sockets, asleep between the guest's packets.
 * QEMU listens and the ports connect.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { cpuShares } from '../support/interrupt-cpu.js';
import { ASLEEP, numbersOf } from '../support/interrupt-program.js';
import { spawnL3fwd } from '../support/l3fwd-program.js';
import { eventually, ourCpu, sleep, temporaryDirectory, type Peer, type Scope } from '../support/peers.js';
import { casesInGuest } from './support/cases.js';
import type { Guest } from './support/guest.js';
import { Namespace } from './support/namespace.js';
import { interfaceOf, kernelComplaints, served } from './support/vhost-nics.js';
import {
  COMPLAINT,
  pingAll,
  pingEndlessly,
  startForwarding,
  startPorts,
  stopForwarding,
  xstatsOf,
} from './support/vhost-port.js';

/** Queue pairs of each port; most NICs use one of them. */
const QUEUES = 2;
const SIZES = [18, 19, 56, 511, 1000, 1472];

interface Kind {
  readonly name: string;
  readonly properties: string;
  readonly queues?: number;
}

/** Between two of them each pair of properties is there. The ports have the same order. */
const KINDS: readonly Kind[] = [
  { name: 'split', properties: '' },
  { name: 'packed', properties: 'packed=on' },
  { name: 'split-plain', properties: 'mrg_rxbuf=off,event_idx=off' },
  { name: 'packed-plain', properties: 'packed=on,mrg_rxbuf=off,event_idx=off' },
  { name: 'split-queues', properties: 'mq=on,event_idx=off', queues: QUEUES },
  { name: 'packed-queues', properties: 'packed=on,mq=on,mrg_rxbuf=off', queues: QUEUES },
];
const KERNEL_DIMM = 256 << 20;

let scope: Scope;
let directory: string;
let testpmd: Peer;

const socketOf = (name: string) => join(directory, name);
const vdevs = (kinds: readonly Kind[]) =>
  kinds.map(({ name }, i) => `net_vhost${i},iface=${socketOf(name)},queues=${QUEUES},client=1`);

async function startEcho(): Promise<void> {
  testpmd = await startPorts(scope, vdevs(KINDS), {
    forwarding: 2,
    args: [`--rxq=${QUEUES}`, `--txq=${QUEUES}`, '--forward-mode=icmpecho'],
  });
  await startForwarding(testpmd);
}

const inGuest = casesInGuest(async (all) => {
  scope = all;
  directory = temporaryDirectory(scope);
  await startEcho();
  return {
    iommu: false,
    memory: '512M',
    memorySlots: 'slots=4,maxmem=2G',
    hugepages: 0,
    nics: KINDS.map(({ name, properties, queues = 1 }) =>
      served(name, socketOf(name), { properties, queues, chardev: 'server=on' }),
    ),
    arguments: ['-device', 'pcie-root-port,id=empty,chassis=99,addr=0xf'],
    more: { bare: true },
    kernelArguments: ['memhp_default_state=online_kernel'],
  };
});

/** A NIC in a network namespace, whose neighbour is 10.1.0.2. */
async function networkOf(t: Scope, guest: Guest, nic: string | { readonly mac: string }): Promise<Namespace> {
  const name = await interfaceOf(guest, nic);
  const network = await Namespace.make(t, guest);
  await network.take(name, 1);
  await network.ok('until ping -c 1 -W 1 10.1.0.2; do :; done');
  return network;
}

/** Pings of each size in a row. @throws Error when an answer is missing */
async function pings(network: Namespace, sizes = SIZES): Promise<void> {
  for (const size of sizes) await pingAll(network, '10.1.0.2', { size });
}

async function nothingWrong(t: ExecutionContext, guest: Guest): Promise<void> {
  t.is(await kernelComplaints(guest), '');
  t.notRegex(testpmd.output, COMPLAINT);
}

for (const [port, { name, properties, queues = 1 }] of KINDS.entries()) {
  const title = `${name} (${properties || 'as QEMU has it'}): pings of every size are answered, none is lost`;
  inGuest(title, async (t, guest) => {
    const network = await networkOf(t, guest, name);
    await pings(network);
    const before = await xstatsOf(testpmd, port);
    for (const cpu of [0, 1]) await pingAll(network, '10.1.0.2', { count: 10, prefix: `taskset -c ${cpu}` });
    const after = await xstatsOf(testpmd, port);
    for (let queue = 0; queue < queues; queue++) {
      for (const counter of [`rx_q${queue}_packets`, `tx_q${queue}_packets`]) {
        const packets = after.get(counter)! - before.get(counter)!;
        t.true(packets >= 10, `${counter}: ${packets}`);
      }
    }
    t.is(after.get('rx_errors'), 0);
    t.is(after.get('tx_errors'), 0);
    const [info] = await testpmd.ask(`show port info ${port}`, /Link status: \w+/);
    t.is(info.split(' ').at(-1), 'up');
    await nothingWrong(t, guest);
  });
}

for (const port of [0, 1]) {
  const { name } = KINDS[port]!;
  inGuest(`${name}: the machine is paused and its cable is pulled while pings flow: they go on`, async (t, guest) => {
    const network = await networkOf(t, guest, name);
    const end = await pingEndlessly(network, '10.1.0.2');
    const halts = [
      [() => guest.qmp.execute('stop'), () => guest.qmp.execute('cont')],
      [
        () => guest.qmp.execute('set_link', { name, up: false }),
        () => guest.qmp.execute('set_link', { name, up: true }),
      ],
    ] as const;
    for (let round = 0; round < 3; round++) {
      for (const [off, on] of halts) {
        await off();
        await testpmd.waitFor(new RegExp(`Port ${port}: link state change event`));
        await testpmd.ask(`show port info ${port}`, /Link status: down/);
        await sleep(200);
        await on();
        await testpmd.waitFor(new RegExp(`Port ${port}: link state change event`));
        await network.ok('until ping -c 1 -W 1 10.1.0.2; do :; done');
      }
    }
    t.log(`pings without an answer: ${await end(0)}`);
    await pings(network);
    await nothingWrong(t, guest);
  });
}

inGuest('memory is plugged in while pings flow on split and packed rings: none is lost', async (t, guest) => {
  const ends = [];
  const networks = [];
  for (const { name } of KINDS.slice(0, 2)) {
    const network = await networkOf(t, guest, name);
    networks.push(network);
    ends.push(await pingEndlessly(network, '10.1.0.2'));
  }
  const megabytes = async () => Number(/MemTotal: +(\d+)/.exec(await guest.ok('cat /proc/meminfo'))![1]) >> 10;
  const before = await megabytes();
  for (const i of [0, 1]) {
    const backend = { 'qom-type': 'memory-backend-memfd', id: `m${i}`, size: KERNEL_DIMM, share: true };
    await guest.qmp.execute('object-add', backend);
    await guest.qmp.execute('device_add', { driver: 'pc-dimm', id: `dimm${i}`, memdev: `m${i}` });
    await sleep(500);
  }
  const all = before + (2 * KERNEL_DIMM) / (1 << 20);
  await eventually('the guest has it', megabytes, (now) => now >= all * 0.97, 60_000);
  await sleep(500);
  for (const end of ends) t.is(await end(20_000), 0);
  for (const network of networks) await pings(network);
  await nothingWrong(t, guest);
});

/** Plugs a NIC in whose back-end is at `path`. */
async function plug(guest: Guest, path: string, mac: string, properties: object): Promise<void> {
  const addr = { type: 'unix', data: { path } };
  const backend = { type: 'socket', data: { addr, server: false } };
  await guest.qmp.execute('chardev-add', { id: 'plugged', backend });
  await guest.qmp.execute('netdev_add', { type: 'vhost-user', id: 'wire-plugged', chardev: 'plugged' });
  const device = { driver: 'virtio-net-pci', id: 'plugged', netdev: 'wire-plugged', bus: 'empty', mac, romfile: '' };
  await guest.qmp.execute('device_add', { ...device, vectors: 0, ...properties });
}

/** QEMU ends with an assertion when the netdev goes before the guest has let the device go. Its character device goes with it. */
async function pull(guest: Guest): Promise<void> {
  await guest.qmp.execute('device_del', { id: 'plugged' });
  // one for the virtio device within, and one for that of the bus
  for (let i = 0; i < 2; i++) await guest.qmp.waitEvent('DEVICE_DELETED', 60_000);
  await guest.qmp.execute('netdev_del', { id: 'wire-plugged' });
}

inGuest('a NIC is plugged in at a port attached at the prompt, and either goes first', async (t, guest) => {
  const port = KINDS.length;
  const other = await networkOf(t, guest, 'split');
  for (const [round, properties] of [{}, { packed: true }].entries()) {
    const path = socketOf(`plugged${round}`);
    await testpmd.ask(`port attach net_vhost${port + round},iface=${path},queues=${QUEUES}`, /Port 6 is attached/);
    await testpmd.ask(`port start ${port}`, /Done/);
    await stopForwarding(testpmd);
    await startForwarding(testpmd);
    const mac = `52:54:00:00:77:0${round}`;
    await plug(guest, path, mac, properties);
    const network = await networkOf(t, guest, { mac });
    await pings(network);
    if (round === 0) await pull(guest);
    await stopForwarding(testpmd);
    await testpmd.ask(`port stop ${port}`, /Done/);
    await testpmd.ask(`port detach ${port}`, /Device is detached/);
    await startForwarding(testpmd);
    if (round === 1) await pull(guest);
    await pings(other);
  }
  await nothingWrong(t, guest);
});

const NETWORKS = KINDS.slice(0, 4);
const LCORE = 1;
/** Pings with a pause before each, so that the lcore has fallen asleep, is about to, or has not. */
const PAUSES_MS = [400, 0, 20, 350, 1, 5, 2, 100, 3, 300];

/** Network 10.x.0.0/24 of port x - 1; nothing is sent but what the case sends. */
async function routed(t: Scope, guest: Guest, x: number): Promise<Namespace> {
  const name = await interfaceOf(guest, NETWORKS[x - 1]!.name);
  const end = await Namespace.make(t, guest);
  await guest.ok(`ip link set ${name} netns ${end.pid}`);
  const lines = [
    `echo 1 >/proc/sys/net/ipv6/conf/${name}/disable_ipv6`,
    `ip addr add 10.${x}.0.1/24 dev ${name}`,
    `ip link set ${name} up`,
    `arp -s 10.${x}.0.254 02:00:00:00:00:0${x}`,
    `ip route add default via 10.${x}.0.254`,
  ];
  await end.ok(lines.join(' && '));
  return end;
}

async function startRouter(t: ExecutionContext, guest: Guest): Promise<Peer> {
  const rules = socketOf('rules');
  writeFileSync(rules, NETWORKS.map((_, port) => `R10.${port + 1}.0.0/24 ${port}\n`).join(''));
  const router = spawnL3fwd(
    t,
    [
      ...['--lcores', `${LCORE}@${ourCpu}`, '--no-pci', '--no-huge'],
      ...vdevs(NETWORKS).flatMap((vdev) => ['--vdev', vdev]),
    ],
    [
      ...['-p', 'f', '-P', '--parse-ptype', '--interrupt-only', `--rule_ipv4=${rules}`],
      `--config=${NETWORKS.map((_, port) => `(${port},0,${LCORE})`).join()}`,
      ...NETWORKS.map(({ name }, port) => `--eth-dest=${port},${guest.mac(name)}`),
    ],
  );
  await router.waitFor(ASLEEP, 60_000);
  return router;
}

inGuest(
  "l3fwd-power on the same sockets sleeps between a guest's packets: its kicks wake it, with and without EVENT_IDX",
  async (t, guest) => {
    t.is(await testpmd.stop(), 'exit code 0', testpmd.output.slice(-3000));
    t.notRegex(testpmd.output, COMPLAINT);
    const router = await startRouter(t, guest);
    const networks: Namespace[] = [];
    for (const x of [1, 2, 3, 4]) networks.push(await routed(t, guest, x));
    await networks[0]!.ok('until ping -c 1 -W 1 10.2.0.1; do :; done');
    await networks[2]!.ok('until ping -c 1 -W 1 10.4.0.1; do :; done');
    await sleep(500);
    const [share] = (await cpuShares(router.pid, [`lcore-worker-${LCORE}`], 2000)).threads;
    t.true(share! < 0.05, `CPU: ${share}`);
    const before = (await numbersOf(router)).get(LCORE)!;
    let pinged = 0;
    for (const [from, to] of [
      [1, 2],
      [2, 1],
      [3, 4],
      [4, 3],
    ] as const) {
      const once = (ms: number) => `usleep ${ms * 1000}; ping -c 1 -W 20 10.${to}.0.1 | grep 'ttl=63'`;
      await networks[from - 1]!.ok(PAUSES_MS.map(once).join(' && '), 120);
      pinged += PAUSES_MS.length;
      await pingAll(networks[from - 1]!, `10.${to}.0.1`, { size: 1472, count: 50 });
      pinged += 50;
    }
    const numbers = (await numbersOf(router)).get(LCORE)!;
    t.log(JSON.stringify({ pinged, share, before, numbers }));
    t.is(numbers.received - before.received, 2 * pinged);
    t.is(numbers.sent - before.sent, 2 * pinged);
    t.true(numbers.wakeups - before.wakeups >= 4 * 4, 'for each long pause at least');
    t.true(numbers.missed - before.missed <= 2, `${numbers.missed - before.missed} packets were found without a kick`);
    t.is(await kernelComplaints(guest), '');
    process.kill(router.pid, 'SIGTERM');
    t.is(await router.end(), 'exit code 0');
    t.notRegex(router.output, COMPLAINT);
    await startEcho();
  },
);

// the last one: nothing in the guest is as it was
inGuest('the machine is reset while pings flow: every NIC has its pings again', async (t, guest) => {
  const undone = { teardown: () => {} }; // what was started is gone with the reset
  const networks = [];
  for (const { name } of KINDS) networks.push(await networkOf(undone, guest, name));
  for (const network of networks) await pingEndlessly(network, '10.1.0.2');
  await guest.reset();
  for (const { name } of KINDS) await pings(await networkOf(t, guest, name), [18, 1472]);
  await nothingWrong(t, guest);
});
