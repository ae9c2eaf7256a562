/**
 * A QEMU with several NICs, each on a tap with virtio_net_hdr: at their other ends is the kernel of this machine, in network
 * namespaces of the test's own. So what our driver asks of the device, and what it is told, passes through a stack that is
 * not ours.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import type { ExecutionContext } from 'ava';
import { createEal, type Eal } from '../../../../../../driver/eal/eal.js';
import { attach } from '../../../../../../driver/port/attach.js';
import type { Port } from '../../../../../../driver/port/port.js';
import type { PortConfig } from '../../../../../../driver/port/types.js';
import type { Mempool, MempoolSpec } from '../../../../../../paths/mempool.js';
import { eventually, startPeer, type Peer } from '../../../../../support/peers.js';
import { startMachine, type Machine } from '../../../../support/qtest.js';
import { TAP_LAUNCHER } from '../../../../../support/tap.js';

/** The kernel's end of a tap: an address on it, in a network namespace, and a program that uses it. */
export interface KernelEnd {
  /** A process of the namespace. */
  readonly pid: number;
  readonly ipv4: string;
  readonly ipv6: string;
  /** net-program.ts. */
  readonly program: Peer;
}

export interface NetRequest {
  /** Options of the NICs. Default: two without any. */
  readonly devices?: readonly string[];
  /** Of the taps. Default 1500. */
  readonly mtu?: number;
  /** Queues of each tap. Default 1. */
  readonly queues?: number;
}

function startTaps(t: ExecutionContext, { devices = ['', ''], queues = 1 }: NetRequest): Promise<Machine> {
  return startMachine(t, {
    devices,
    netdevs: devices.map((_, i) => `tap,ifname=t${i},queues=${queues},script=no,downscript=no,vhost=off`),
    launcher: TAP_LAUNCHER,
  });
}

/** A machine whose first two taps are in namespaces of their own: nothing but our driver joins 10.9.0.1 and 10.9.0.2. */
export async function startApart(
  t: ExecutionContext,
  request: NetRequest = {},
): Promise<{ machine: Machine; ends: readonly [KernelEnd, KernelEnd] }> {
  const machine = await startTaps(t, request);
  const first = machine.qemu.pid;
  const second = await holdNamespace(t);
  ip(first, `link set t1 netns ${second}`);
  const ends = [bringUp(t, first, 0, request.mtu), bringUp(t, second, 1, request.mtu)] as const;
  for (const { program } of ends) await program.waitFor(/ready\n/);
  return { machine, ends };
}

/** A machine all of whose taps are on one bridge: the kernel carries frames from one to the other. */
export async function startBridge(t: ExecutionContext, request: NetRequest = {}): Promise<Machine> {
  const machine = await startTaps(t, request);
  const { devices = ['', ''], mtu = 1500 } = request;
  ip(
    machine.qemu.pid,
    'link add br0 type bridge',
    ...devices.map((_, i) => `link set t${i} mtu ${mtu} master br0 up`),
    'link set br0 up',
  );
  // nor does it look at what it carries
  const quiet = 'for f in /proc/sys/net/bridge/bridge-nf-call-*; do if test -e $f; then echo 0 >$f; fi; done';
  spawnSync('nsenter', [`--net=/proc/${machine.qemu.pid}/ns/net`, 'sh', '-c', quiet]);
  return machine;
}

/** A network namespace that is there until the test ends. @returns the process that holds it */
async function holdNamespace(t: ExecutionContext): Promise<number> {
  // cat ends with its input, should this process be killed
  const holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'ignore'] });
  t.teardown(() => void holder.kill('SIGKILL'));
  const pid = holder.pid!;
  const ours = readlinkSync('/proc/self/ns/net');
  await eventually(
    'a network namespace',
    () => readlinkSync(`/proc/${pid}/ns/net`),
    (theirs) => theirs !== ours,
  );
  return pid;
}

function bringUp(t: ExecutionContext, pid: number, i: number, mtu = 1500): KernelEnd {
  const [ipv4, ipv6] = [`10.9.0.${i + 1}`, `fd09::${i + 1}`];
  ip(
    pid,
    `link set t${i} address 02:00:00:00:00:0${i + 1} mtu ${mtu}`,
    `addr add ${ipv4}/24 dev t${i}`,
    `addr add ${ipv6}/64 dev t${i} nodad`,
    `link set t${i} up`,
  );
  const program = [
    process.execPath,
    '--import',
    './tools/ts.mjs',
    'test/driver/virtio/pci/qtest/support/net-program.ts',
  ];
  const peer = startPeer(t, `program ${i}`, 'nsenter', [`--net=/proc/${pid}/ns/net`, ...program]);
  return { pid, ipv4, ipv6, program: peer };
}

/** Runs commands of ip(8) in the namespace of a process. */
export function ip(pid: number, ...lines: readonly string[]): void {
  const args = [`--net=/proc/${pid}/ns/net`, 'ip', '-batch', '-'];
  const { status, stderr } = spawnSync('nsenter', args, { input: lines.join('\n'), encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip: ${stderr}`);
}

/** What the stack of a namespace has counted: `Tcp.InErrs`, `Udp6InCsumErrors` and so on. */
function stackCounters({ pid }: KernelEnd): Map<string, number> {
  const counters = new Map<string, number>();
  const lines = readFileSync(`/proc/${pid}/net/snmp`, 'utf8').trim().split('\n');
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const [protocol, ...names] = lines[i]!.split(' ');
    const [, ...values] = lines[i + 1]!.split(' ');
    names.forEach((name, j) => counters.set(`${protocol!.slice(0, -1)}.${name}`, Number(values[j])));
  }
  for (const line of readFileSync(`/proc/${pid}/net/snmp6`, 'utf8').trim().split('\n')) {
    const [name, value] = line.split(/\s+/);
    counters.set(name!, Number(value));
  }
  return counters;
}

/** Counters of packets that a stack found wrong. Those of TCP are of IPv4 and IPv6 together. */
const WRONG = [
  ...['Ip.InHdrErrors', 'Tcp.InErrs', 'Tcp.InCsumErrors', 'Udp.InErrors', 'Udp.InCsumErrors'],
  ...['Ip6InHdrErrors', 'Ip6InTruncatedPkts', 'Udp6InErrors', 'Udp6InCsumErrors', 'Icmp6InCsumErrors'],
];

/** Those of them that are not 0. */
export function stackErrors(end: KernelEnd): string[] {
  const counters = stackCounters(end);
  return WRONG.filter((name) => counters.get(name) !== 0).map((name) => `${name}: ${counters.get(name)}`);
}

// ---- programs at the ends ------------------------------------------------------------------------------------------

async function echoed(t: ExecutionContext, { program }: KernelEnd, command: string): Promise<void> {
  const [, verdict] = await program.ask(command, /^verdict: (.*)\n/m, 60_000);
  t.is(verdict, 'the same', command);
}

/** So many bytes go from one end to the other over each TCP connection, and back; their hashes are compared. */
export function tcpEcho(
  t: ExecutionContext,
  from: KernelEnd,
  to: string,
  bytes: number,
  connections = 1,
): Promise<void> {
  return echoed(t, from, `tcp ${to} ${bytes} ${connections}`);
}

/** Datagrams of these sizes go from one end to the other, and back; every byte is compared. */
export function udpEcho(t: ExecutionContext, from: KernelEnd, to: string, sizes: readonly number[]): Promise<void> {
  return echoed(t, from, `udp ${to} ${sizes.join(' ')}`);
}

// ---- ports ---------------------------------------------------------------------------------------------------------

export interface NetPortRequest extends Omit<PortConfig, 'mempool'> {
  /** Behind the machine's own devargs. */
  readonly devargs?: string;
}

export interface NetPorts {
  readonly eal: Eal;
  readonly mempool: MempoolSpec;
  readonly pool: Mempool;
  readonly ports: readonly Port[];
}

/**
 * A port on each NIC, promiscuous, configured and started; closed with the test.
 * @param dataRoom bytes of an mbuf
 */
export async function startPorts(
  t: ExecutionContext,
  machine: Machine,
  requests: readonly NetPortRequest[],
  dataRoom = 2048,
): Promise<NetPorts> {
  const eal = createEal({ noHuge: true, log: () => undefined });
  t.teardown(() => eal.close());
  const attached: { port: Port; config: Omit<PortConfig, 'mempool'> }[] = [];
  for (const [i, { devargs = '', ...config }] of requests.entries()) {
    const port = await attach(eal, `${machine.devargs},addr=0${4 + i}.0${devargs}`);
    t.teardown(() => port.close());
    attached.push({ port, config });
  }
  const mempool = eal.createMempool({ count: Math.min(4096, Math.floor((80 << 20) / (dataRoom + 256))), dataRoom });
  for (const { port, config } of attached) {
    port.configure({ mempool, ...config });
    port.start();
    port.filters.setPromiscuous(true);
  }
  const ports = attached.map(({ port }) => port);
  return { eal, mempool, pool: eal.mempool(mempool), ports };
}
