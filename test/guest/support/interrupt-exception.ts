/** Interrupt mode on vhost-net: l3fwd-power routes between two stacks of the kernel, and sleeps between their packets. */
import type { ExecutionContext } from 'ava';
import type { InGuest } from './cases.js';
import type { Guest } from './guest.js';
import { asleep, ended, idle, startL3fwd, woken } from './interrupt-program.js';
import { Namespace, transfer } from './namespace.js';

const BYTES = 500_000;
const LCORE = 1;

/** Network 10.x.0.0/24 of port x - 1, whose router is at 10.x.0.254; nothing is sent but what the case sends. */
async function network(t: ExecutionContext, guest: Guest, x: number): Promise<Namespace> {
  const end = await Namespace.make(t, guest);
  const tap = `net${x}`;
  await guest.ok(`ip link set ${tap} netns ${end.pid}`);
  const lines = [
    `echo 1 >/proc/sys/net/ipv6/conf/${tap}/disable_ipv6`,
    `ip addr add 10.${x}.0.1/24 dev ${tap}`,
    `ip link set ${tap} address 02:00:00:00:01:0${x} up`,
    `arp -s 10.${x}.0.254 02:00:00:00:00:0${x}`,
    `ip route add default via 10.${x}.0.254`,
  ];
  await end.ok(lines.join(' && '));
  return end;
}

/** One lcore for both ports: a ping wakes it on the first, and the answer comes back through it. */
async function routes(t: ExecutionContext, guest: Guest): Promise<void> {
  const config = [0, 1].map((port) => ({ port, queue: 0, lcore: LCORE }));
  const program = await startL3fwd(t, guest, {
    lcores: `0@0,${LCORE}@1`,
    vdevs: [1, 2].map((x) => `virtio_user${x},path=/dev/vhost-net,iface=net${x},mac=02:00:00:00:00:0${x}`),
    config,
    routes: [
      ['10.1.0.0/24', 0],
      ['10.2.0.0/24', 1],
    ],
    args: [0, 1].map((port) => `--eth-dest=${port},02:00:00:00:01:0${port + 1}`),
  });
  const [a, b] = [await network(t, guest, 1), await network(t, guest, 2)];
  for (const [from, to, port] of [
    [a, '10.2.0.1', 0],
    [b, '10.1.0.1', 1],
  ] as const) {
    t.regex(await from.ok(`ping -c 1 -W 20 ${to}`), /ttl=63/);
    await woken(program, config[port]!);
    await asleep(program, LCORE);
  }
  await idle(guest, program);
  await transfer(guest, { from: a, to: b, address: '10.2.0.1' }, { bytes: BYTES });
  t.regex(await a.ok('ping -c 5 -i 0.2 -W 20 10.2.0.1'), / 0% packet loss/);
  await asleep(program, LCORE);
  t.is(await ended(program), 0);
}

/** docs/examples/event-driven.ts: no lcores, one event loop. */
async function eventDriven(t: ExecutionContext, guest: Guest): Promise<void> {
  const sample = '/app/dist/docs/examples/event-driven.js';
  const program = await guest.start(
    t,
    'the event-driven program',
    `${process.execPath} ${sample} /dev/vhost-net,iface=events,up=1 10.3.0.2`,
  );
  await guest.ok('until ip link show events | grep -q LOWER_UP; do sleep 0.2; done 2>/dev/null');
  await guest.ok('ip addr add 10.3.0.1/24 dev events');
  for (let i = 0; i < 2; i++) {
    await guest.ok('until ping -c 1 -W 1 10.3.0.2; do :; done');
    t.regex(await guest.ok('ping -c 5 -i 0.2 -W 20 10.3.0.2', 90), / 0% packet loss/);
    await idle(guest, program);
  }
  t.is(await ended(program), 0, program.output);
}

export function interruptCases(inGuest: InGuest): void {
  inGuest('l3fwd-power asleep between two networks: a ping wakes it and is answered, and then it is idle', routes);
  inGuest('the documented event-driven program answers pings, and is idle between them', eventDriven);
}
