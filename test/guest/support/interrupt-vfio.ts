/** Interrupt mode on NICs of vfio-pci: MSI-X vectors of one and of four Rx queues, with l3fwd-power asleep between packets. */
import type { ExecutionContext } from 'ava';
import { eventually } from '../../support/peers.js';
import { tapNetdev, whyNoTap } from '../../support/tap.js';
import { isRight, udpPacket } from '../../support/udp.js';
import type { InGuest } from './cases.js';
import type { Guest, Nic } from './guest.js';
import { asleep, checkRefused, ended, idle, startL3fwd, statistics, woken } from './interrupt-program.js';
import { packetsFromGuest, sendDatagram, setTapUp, sourcePort } from './interrupt-tap.js';
import type { GuestProcess } from './process.js';
import { bind } from './testpmd.js';

const QUEUES = 4;
const ROUNDS = 5;
const IPV4 = 0x0800;
const UDP = { payload: Uint8Array.from({ length: 100 }, (_, i) => i) };
const TTL_AT = 22;
const WOKEN = /is waked up/g;

/** Empty where there can be no tap: the case that needs it says why. */
export function interruptNics(properties: string): Nic[] {
  if (whyNoTap() !== '') return [];
  const device = `${properties},packed=on,mq=on,rss=on,vectors=${2 * QUEUES + 2}`;
  return [{ name: 'queues', properties: device, netdev: { type: tapNetdev(QUEUES) } }];
}

/** Interrupts that the kernel has seen from a NIC, by vector. */
export async function vectors(guest: Guest, nic: string): Promise<Map<number, number>> {
  const lines = (await guest.ok('cat /proc/interrupts')).split('\n');
  const found = new Map<number, number>();
  for (const line of lines) {
    const match = /:((?: +\d+)+) .*vfio-msix\[(\d+)\]\((\S+)\)/.exec(line);
    if (match === null || match[3] !== guest.bdf(nic)) continue;
    const counts = match[1]!.trim().split(/ +/).map(Number);
    found.set(
      Number(match[2]),
      counts.reduce((sum, count) => sum + count),
    );
  }
  return found;
}

const address = (text: string) => text.split('.').reduce((all, byte) => all * 256 + Number(byte), 0);

function datagram(number: number, ip: string): Uint8Array {
  const source = { mac: 1, ip: address('10.7.0.9'), port: 1000 + number };
  return udpPacket({ ...UDP, source, destination: { mac: 2, ip: address(ip), port: 9 } });
}

const ONE = { port: 0, queue: 0, lcore: 1 };

/** An l3fwd-power that lcore 1 of is asleep on queue 0 of a NIC, and what it forwards. */
export interface Sleeper {
  readonly nic: string;
  readonly program: GuestProcess;
  /** An address that it has a route for, back to where packets come from. */
  readonly destination: string;
  /** The MAC address that it gives to packets, in hex. */
  readonly nextHop: string;
}

async function split(t: ExecutionContext, guest: Guest): Promise<Sleeper> {
  const nic = 'split';
  const program = await startL3fwd(t, guest, {
    lcores: '0@0,1@1',
    devices: [guest.bdf(nic)],
    config: [ONE],
    routes: [['10.8.0.0/16', 0]],
    args: ['--eth-dest=0,02:00:00:00:00:77'],
  });
  return { nic, program, destination: '10.8.0.1', nextHop: '020000000077' };
}

/** One queue: frames wake the lcore, and changes of the link reach the program while it sleeps. */
export async function checkOneQueue(t: ExecutionContext, guest: Guest, sleeper: Sleeper): Promise<void> {
  const { nic, program, destination, nextHop } = sleeper;
  const assignment = ONE;
  const wire = guest.wire(nic);
  const forwarded = async (number: number) => {
    const sent = datagram(number, destination);
    wire.send(sent);
    const back = await wire.receive(20_000, IPV4);
    t.true(isRight(back));
    t.is(back[TTL_AT], sent[TTL_AT]! - 1);
    t.is(back.toString('hex', 0, 12), `${nextHop}${guest.mac(nic).replaceAll(':', '')}`);
    t.deepEqual([...back.subarray(26)], [...sent.subarray(26)]);
  };
  const wakeUp = async (number: number) => {
    await forwarded(number);
    await woken(program, assignment);
    await asleep(program, assignment.lcore);
  };
  const before = await vectors(guest, nic);
  const seen = async (vector: number) => (await vectors(guest, nic)).get(vector)! - before.get(vector)!;
  for (let i = 0; i < ROUNDS; i++) await wakeUp(i);
  t.true((await seen(1)) > ROUNDS / 2, 'interrupts wake it, not looks now and then');
  await idle(guest, program);

  for (const up of [false, true]) {
    await guest.qmp.execute('set_link', { name: nic, up });
    await program.waitFor(up ? /link up/i : /link down/i);
  }
  t.is(await seen(0), 2, 'vector 0 is for changes of the configuration');
  await wakeUp(ROUNDS);
  t.is(program.output.match(WOKEN)!.length, ROUNDS + 1, program.output);
  t.is(await ended(program), 0);
}

/** Four queues with an lcore each: RSS steers, and only the lcore whose queue has packets wakes. */
async function fourQueues(t: ExecutionContext, guest: Guest): Promise<void> {
  await bind(guest, 'vfio-pci', 'queues');
  setTapUp(guest.pid, guest.mac('queues'));
  const config = Array.from({ length: QUEUES }, (_, queue) => ({ port: 0, queue, lcore: queue + 1 }));
  const program = await startL3fwd(t, guest, {
    lcores: '0@0,1@0,2@1,3@0,4@1',
    devices: [guest.bdf('queues')],
    config,
    routes: [['10.9.0.0/24', 0]],
  });
  const before = packetsFromGuest(guest.pid);
  let sent = 0;
  const wakeUp = async (queue: number) => {
    sendDatagram(guest.pid, sourcePort(queue, QUEUES));
    sent++;
    await woken(program, config[queue]!);
    await eventually(
      'it is forwarded',
      () => packetsFromGuest(guest.pid) - before,
      (count) => count === sent,
    );
    await asleep(program, config[queue]!.lcore);
  };
  const interrupted = async () => {
    const counts = await vectors(guest, 'queues');
    return config.filter(({ queue }) => counts.get(queue + 1)! > 0).map(({ queue }) => queue);
  };
  t.deepEqual(await interrupted(), []);
  for (let i = 0; i < ROUNDS; i++) await wakeUp(2);
  t.deepEqual(await interrupted(), [2]);
  const sleeps = await statistics(program);
  for (const { queue, lcore } of config) {
    if (queue !== 2) t.deepEqual(sleeps.get(lcore), { wakeups: 0, spurious: 0, missed: 0 }, `lcore ${lcore}`);
  }
  for (const queue of [0, 1, 3]) await wakeUp(queue);
  t.deepEqual(await interrupted(), [0, 1, 2, 3]);
  t.is(program.output.match(WOKEN)!.length, ROUNDS + 3, program.output);
  t.is(await ended(program), 0);
}

async function tooFew(t: ExecutionContext, guest: Guest): Promise<void> {
  await checkRefused(t, guest, 'packed-single', /has 1 MSI-X vectors?, 2 are needed .*QEMU: vectors=4/);
}

export function interruptCases(inGuest: InGuest): void {
  inGuest(
    'l3fwd-power asleep on an MSI-X vector: each frame wakes it and comes back; link changes do not',
    async (t, guest) => checkOneQueue(t, guest, await split(t, guest)),
  );
  inGuest(`${QUEUES} queues, a vector and an lcore each: only the one with traffic is woken`, fourQueues, whyNoTap());
  inGuest('a NIC with too few vectors for Rx interrupts is refused, with how many to give it', tooFew);
}
