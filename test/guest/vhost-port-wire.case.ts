/**
 * Two Linux guests and one testpmd that is the wire between them: a pair of net_vhost ports with split rings, and one with packed
 * rings. On each pair one end connects to QEMU and the other listens. testpmd is killed and started again, under a TCP stream too.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, sleep, temporaryDirectory, type Peer, type Scope } from '../support/peers.js';
import { casesInGuest } from './support/cases.js';
import { startGuest, type Guest, type GuestOptions } from './support/guest.js';
import { Namespace } from './support/namespace.js';
import { interfaceOf, kernelComplaints, served } from './support/vhost-nics.js';
import { COMPLAINT, pingAll, startForwarding, startPorts } from './support/vhost-port.js';

const BYTES = 2 << 20;
/** Of the stream that goes on while testpmd is killed. */
const LONG_BYTES = 24 << 20;
const FORMATS = ['split', 'packed'] as const;
type Format = (typeof FORMATS)[number];

interface End {
  readonly format: Format;
  readonly guest: 1 | 2;
  /** The port connects and QEMU listens, or the other way round. */
  readonly client: boolean;
  readonly properties: string;
}

/** In the order of the ports: each two are a wire. The properties of two ends differ. */
const ENDS: readonly End[] = [
  { format: 'split', guest: 1, client: true, properties: '' },
  { format: 'split', guest: 2, client: false, properties: 'mrg_rxbuf=off' },
  { format: 'packed', guest: 1, client: false, properties: 'packed=on,event_idx=off' },
  { format: 'packed', guest: 2, client: true, properties: 'packed=on' },
];

let scope: Scope;
let directory: string;
let testpmd: Peer;
let second: Promise<Guest>;

const socketOf = ({ format, guest }: End) => join(directory, `${format}${guest}`);

async function startWire(): Promise<void> {
  // those of a process that was killed
  for (const end of ENDS) if (!end.client) rmSync(socketOf(end), { force: true });
  const vdevs = ENDS.map((end, i) => `net_vhost${i},iface=${socketOf(end)}${end.client ? ',client=1' : ''}`);
  testpmd = await startPorts(scope, vdevs, { forwarding: 2, args: ['--forward-mode=io', '--port-topology=paired'] });
  await startForwarding(testpmd);
}

function options(number: 1 | 2): GuestOptions {
  const nics = ENDS.filter(({ guest }) => guest === number).map((end) =>
    served(end.format, socketOf(end), {
      properties: end.properties,
      chardev: end.client ? 'server=on' : 'reconnect=1',
    }),
  );
  return { iommu: false, memory: '384M', cpus: 1, number, hugepages: 0, nics, more: { bare: true } };
}

const inGuest = casesInGuest(async (all) => {
  scope = all;
  directory = temporaryDirectory(scope);
  await startWire();
  second = startGuest(scope, options(2));
  second.catch(() => {}); // the case says so
  return options(1);
});

/** One end of a wire: 10.1.0.1 in the first guest, 10.1.0.2 in the second. */
interface Host {
  readonly guest: Guest;
  readonly network: Namespace;
  /** Of the interface. */
  readonly name: string;
}

async function hostsOf(t: Scope, first: Guest, format: Format): Promise<readonly [Host, Host]> {
  const make = async (guest: Guest, x: number): Promise<Host> => {
    const network = await Namespace.make(t, guest);
    const name = await interfaceOf(guest, format);
    await network.take(name, x);
    return { guest, network, name };
  };
  return [await make(first, 1), await make(await second, 2)];
}

/** Each pings the other one; 8000 bytes are six fragments. */
async function pings([a, b]: readonly [Host, Host]): Promise<void> {
  for (const [from, address] of [
    [a, '10.1.0.2'],
    [b, '10.1.0.1'],
  ] as const) {
    await from.network.ok(`until ping -c 1 -W 1 ${address}; do :; done`);
    for (const size of [18, 56, 1472, 8000]) await pingAll(from.network, address, { size });
  }
}

/** Starts random bytes over TCP. @returns a function that waits for their end: the MD5 sums of what was sent and of what arrived */
async function stream(from: Host, to: Host, address: string, bytes = BYTES): Promise<() => Promise<[string, string]>> {
  await to.network.ok('rm -f /tmp/never /tmp/got; mkfifo /tmp/never');
  // a peer that has nothing more to say would end the connection: this one reads what never comes
  await to.network.ok(
    '(nc -l -p 5000 <>/tmp/never | md5sum >/tmp/got.new; mv /tmp/got.new /tmp/got) >/dev/null 2>&1 &',
  );
  await to.network.ok("until netstat -tln | grep -q ':5000 '; do usleep 100000; done");
  const sent = await from.network.ok(`head -c ${bytes} /dev/urandom >/tmp/data; md5sum </tmp/data`);
  await from.network.ok(`nc ${address} 5000 </tmp/data >/dev/null 2>&1 &`);
  return async () => {
    const got = await to.network.ok('until [ -e /tmp/got ]; do usleep 100000; done; cat /tmp/got', 120);
    return [sent.slice(0, 32), got.slice(0, 32)];
  };
}

async function checkStreams(t: { is: (a: string, b: string, what: string) => unknown }, [a, b]: readonly [Host, Host]) {
  for (const [from, to, address] of [
    [a, b, '10.1.0.2'],
    [b, a, '10.1.0.1'],
  ] as const) {
    const [sent, got] = await (await stream(from, to, address))();
    t.is(got, sent, `what is sent to ${address} arrives unchanged`);
  }
}

for (const format of FORMATS) {
  inGuest(`${format}: pings, fragments and TCP both ways between two guests`, async (t, first) => {
    const hosts = await hostsOf(t, first, format);
    await pings(hosts);
    await checkStreams(t, hosts);
    for (const { network, guest } of hosts) {
      t.is((await network.snmp()).get('Tcp.InCsumErrors'), 0);
      t.is(await kernelComplaints(guest), '');
    }
    t.notRegex(testpmd.output, COMPLAINT);
  });

  inGuest(
    `${format}: testpmd is killed under a TCP stream and started again: it arrives unchanged`,
    async (t, first) => {
      const hosts = await hostsOf(t, first, format);
      const [a, b] = hosts;
      await pings(hosts);
      const received = async () => (await b.network.counters(b.name)).rxBytes;
      const before = await received();
      const arrived = await stream(a, b, '10.1.0.2', LONG_BYTES);
      const some = (now: number) => now > before + (1 << 20);
      const at = await eventually('the stream has begun', received, some, 30_000);
      await testpmd.kill();
      t.true(at - before < LONG_BYTES, 'the stream has not ended yet');
      await sleep(300);
      await startWire();
      const [sent, got] = await arrived();
      t.is(got, sent);
      await pings(hosts);
      await checkStreams(t, hosts);
      for (const { guest, network } of hosts) {
        t.is((await network.snmp()).get('Tcp.InCsumErrors'), 0);
        t.is(await kernelComplaints(guest), '');
      }
      t.notRegex(testpmd.output, /is given up|connection closed|refused/);
    },
  );
}
