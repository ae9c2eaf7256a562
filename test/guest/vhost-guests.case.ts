/** Two guests behind one switch, one with split rings and one with packed ones; the switch listens and QEMU comes back to it. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryDirectory, type Peer, type Scope } from '../support/peers.js';
import { REFUSAL, startSwitch } from '../support/switch.js';
import { casesInGuest } from './support/cases.js';
import { startGuest, type Guest, type GuestOptions } from './support/guest.js';
import { interfaceOf, kernelComplaints, served } from './support/vhost-nics.js';

const NIC = 'nic';
const BYTES = 4 << 20;

let scope: Scope;
let ours: Peer;
let sockets: string[];
let second: Promise<Guest>;

function options(number: number, properties: string): GuestOptions {
  const path = sockets[number - 1]!;
  return {
    iommu: false,
    memory: '256M',
    cpus: 1,
    number,
    hugepages: 0,
    nics: [served(NIC, path, { properties, chardev: 'reconnect=1' })],
    more: { bare: true },
  };
}

const inGuest = casesInGuest(async (all) => {
  scope = all;
  const directory = temporaryDirectory(scope);
  sockets = ['1', '2'].map((name) => join(directory, name));
  ours = await startSwitch(scope, sockets);
  second = startGuest(scope, options(2, 'packed=on'));
  second.catch(() => {}); // the case says so
  return options(1, '');
});

const address = (x: number) => `10.1.0.${x}`;

async function setUp(guest: Guest, x: number): Promise<void> {
  const name = await interfaceOf(guest, NIC);
  await guest.ok(`ip addr add ${address(x)}/24 dev ${name} && ip link set ${name} up`);
}

/** Waits for an answer; then three of either size have to come. */
async function ping(guest: Guest, x: number): Promise<void> {
  await guest.ok(`until ping -c 1 -W 1 ${address(x)}; do :; done`);
  for (const size of [56, 1400])
    await guest.ok(`ping -c 3 -W 20 -s ${size} ${address(x)} | grep ' 0% packet loss'`, 90);
}

/** Random bytes over TCP. @returns the MD5 sums of what was sent and of what arrived */
async function stream(from: Guest, to: Guest, x: number): Promise<[string, string]> {
  // a peer that has nothing more to say would end the connection: this one reads what never comes
  await to.ok(
    'rm -f never got; mkfifo never; (nc -l -p 5000 <>never | md5sum >got.new; mv got.new got) >/dev/null 2>&1 &',
  );
  await to.ok("until netstat -tln | grep -q ':5000 '; do usleep 100000; done");
  const sent = await from.ok(`head -c ${BYTES} /dev/urandom >data; md5sum <data; nc ${address(x)} 5000 <data`, 120);
  const got = await to.ok('until [ -e got ]; do usleep 100000; done; cat got');
  return [sent.slice(0, 32), got.slice(0, 32)];
}

inGuest('two guests: pings and TCP both ways, and again after the switch was killed', async (t, first) => {
  const other = await second;
  await setUp(first, 1);
  await setUp(other, 2);
  for (const round of ['at first', 'after the switch was killed']) {
    await ping(first, 2);
    await ping(other, 1);
    for (const [from, to, x] of [
      [first, other, 2],
      [other, first, 1],
    ] as const) {
      const [sent, got] = await stream(from, to, x);
      t.is(got, sent, `what ${from.mac(NIC)} sent arrives unchanged, ${round}`);
    }
    t.notRegex(ours.output, REFUSAL);
    if (round !== 'at first') break;
    await ours.kill();
    for (const path of sockets) rmSync(path); // its end was not one in which it could have done so
    ours = await startSwitch(scope, sockets);
  }
  for (const guest of [first, other]) {
    t.is(await kernelComplaints(guest), '');
    t.regex(await guest.ok('grep ^Tcp: /proc/net/snmp'), /^Tcp: .* InCsumErrors\nTcp: .* 0\n$/);
  }
});
