/**
 * The kernel's stack at both ends: two taps in two network namespaces, and between them our testpmd, which passes on what comes.
 * Each end checks checksums as it does on any wire.
 */
import type { ExecutionContext } from 'ava';
import type { InGuest } from './cases.js';
import { kernelThreads } from './exception-guide.js';
import type { Guest } from './guest.js';
import { Namespace, transfer } from './namespace.js';
import type { GuestProcess } from './process.js';
import { quit, start, startTestpmd, stop, xstat } from './testpmd.js';

const MEGABYTE = 1_000_000;
const ETHERNET_FRAME = 1514;
/** As the guide has it: UDP and TCP checksums and TCP segmentation on Tx, large packets and unfinished checksums on Rx. */
const OFFLOADS = ['--tx-offloads=0x2c', '--enable-lro', '--enable-rx-cksum'];
/** Types of virtio_net_hdr. */
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;

interface NetHeaders {
  readonly packets: number;
  readonly longest: number;
  readonly needsChecksum: number;
  readonly gso: Readonly<Record<string, number>>;
}

interface Ends {
  readonly testpmd: GuestProcess;
  readonly a: Namespace;
  readonly b: Namespace;
}

/** 10.1.0.1 is a and 10.1.0.2 is b. */
const kernelPorts = (devargs = '') =>
  ['a', 'b'].map(
    (end, i) => `virtio_user${i},path=/dev/vhost-net,iface=tap-${end},mac=02:00:00:00:00:0${end}${devargs}`,
  );

async function twoEnds(
  t: ExecutionContext,
  guest: Guest,
  { vdevs = kernelPorts(), args }: { vdevs?: readonly string[]; args: readonly string[] },
): Promise<Ends> {
  const testpmd = await startTestpmd(t, guest, { vdevs, mbufs: 12288, args });
  const [a, b] = [await Namespace.make(t, guest), await Namespace.make(t, guest)];
  await a.take('tap-a', 1);
  await b.take('tap-b', 2);
  return { testpmd, a, b };
}

/** The net headers of what reaches an end while `work` goes on: they are ours, as nothing puts packets together before. */
async function netHeaders(
  t: ExecutionContext,
  guest: Guest,
  { end, tap }: { end: Namespace; tap: string },
  work: () => Promise<void>,
): Promise<NetHeaders> {
  const command = end.command(`exec ${process.execPath} /app/net-headers.mjs ${tap}`);
  const listener = await guest.start(t, 'net-headers', command);
  await listener.waitFor(/listening/);
  await work();
  const [line] = await listener.ask('done', /\{.*\}/);
  await listener.end();
  return JSON.parse(line) as NetHeaders;
}

/** No packet with a wrong checksum has come in at either end. */
async function checkSums(t: ExecutionContext, { a, b }: Ends): Promise<void> {
  for (const end of [a, b]) {
    const counters = await end.snmp();
    for (const name of ['Ip.InHdrErrors', 'Icmp.InCsumErrors', 'Tcp.InCsumErrors', 'Tcp.InErrs', 'Udp.InCsumErrors']) {
      t.is(counters.get(name), 0, name);
    }
  }
}

/** A line by UDP. */
async function datagram(t: ExecutionContext, guest: Guest, { a, b }: Ends): Promise<void> {
  const program = `${process.execPath} /app/datagram.mjs 7000`;
  const receiver = await guest.start(t, 'datagram', b.command(`exec ${program}`));
  await receiver.waitFor(/listening/);
  await a.ok(`${program} 10.1.0.2 over-the-exception-path`);
  await receiver.waitFor(/received over-the-exception-path/);
}

async function withoutOffloads(t: ExecutionContext, guest: Guest): Promise<void> {
  const ends = await twoEnds(t, guest, { args: ['--forward-mode=io'] });
  const { testpmd, a, b } = ends;
  await start(testpmd);
  await a.ping('10.1.0.2');
  await a.ping('fd00::2', 1400);
  await datagram(t, guest, ends);
  const seen = await netHeaders(t, guest, { end: b, tap: 'tap-b' }, async () => {
    await transfer(guest, { from: a, to: b, address: '10.1.0.2' }, { bytes: 2 * MEGABYTE });
    await transfer(guest, { from: b, to: a, address: 'fd00::1' }, { bytes: MEGABYTE });
  });
  t.true(seen.packets > (2 * MEGABYTE) / ETHERNET_FRAME, JSON.stringify(seen));
  t.is(seen.longest, ETHERNET_FRAME);
  t.is(seen.needsChecksum, 0);
  t.deepEqual(seen.gso, {});
  await checkSums(t, ends);
  for (const port of [0, 1]) t.is(await xstat(testpmd, 'rx_q0_size_1519_max_packets', port), 0);
  await quit(t, testpmd);
}

/** Two queues, as the guide's last command line has it. */
async function withOffloads(t: ExecutionContext, guest: Guest): Promise<void> {
  const ends = await twoEnds(t, guest, {
    vdevs: kernelPorts(',queues=2,queue_size=1024'),
    args: [...OFFLOADS, '--txq=2', '--rxq=2', '--txd=1024', '--rxd=1024', '--forward-mode=csum'],
  });
  const { testpmd, a, b } = ends;
  t.is(await kernelThreads(guest), 4, 'a kernel thread for each queue pair');
  await testpmd.ask('port stop all', /Done/);
  for (const port of [0, 1]) {
    await testpmd.ask(`csum set tcp hw ${port}`, /testpmd> /);
    await testpmd.ask(`csum set udp hw ${port}`, /testpmd> /);
    await testpmd.ask(`csum mac-swap off ${port}`, /testpmd> /);
    await testpmd.ask(`tso set 1000 ${port}`, /testpmd> /);
  }
  await testpmd.ask('port start all', /Done/);
  await start(testpmd);
  await a.ping('10.1.0.2');
  await a.ping('fd00::2', 1400);
  await datagram(t, guest, ends);
  const seen = await netHeaders(t, guest, { end: b, tap: 'tap-b' }, async () => {
    await transfer(guest, { from: a, to: b, address: '10.1.0.2' }, { bytes: MEGABYTE, flows: 6 });
    await transfer(guest, { from: a, to: b, address: 'fd00::2' }, { bytes: MEGABYTE });
  });
  t.log(JSON.stringify(seen));
  t.true(seen.longest > ETHERNET_FRAME, 'longer than the MTU');
  t.true(seen.needsChecksum > 0);
  for (const type of [GSO_TCPV4, GSO_TCPV6]) t.true((seen.gso[`${type}:1000`] ?? 0) > 0, `GSO type ${type}, size 1000`);
  await checkSums(t, ends);
  t.true((await xstat(testpmd, 'rx_q0_size_1519_max_packets', 0)) > 0, 'large packets received');
  for (const port of [0, 1]) {
    for (const name of ['rx_q0', 'rx_q1', 'tx_q0', 'tx_q1']) {
      t.true((await xstat(testpmd, `${name}_good_packets`, port)) > 0, `port ${port}, ${name}`);
    }
    t.is(await xstat(testpmd, 'rx_errors', port), 0);
  }
  await stop(testpmd);
  await testpmd.ask('port stop all', /Done/);
  for (const what of ['rxq', 'txq']) await testpmd.ask(`port config all ${what} 1`, /testpmd> /);
  await testpmd.ask('port start all', /Done/);
  await start(testpmd);
  await transfer(guest, { from: a, to: b, address: '10.1.0.2' }, { bytes: 200_000, flows: 4 }); // none on the other queue
  await quit(t, testpmd);
}

/** Forwarding that changes nothing hands on checksums that nobody has finished: the kernel at the other end must notice. */
async function unfinished(t: ExecutionContext, guest: Guest): Promise<void> {
  const { testpmd, a, b } = await twoEnds(t, guest, { args: ['--enable-rx-cksum', '--forward-mode=io'] });
  await start(testpmd);
  await a.ping('10.1.0.2'); // ICMP's checksum is always finished
  await a.run('echo nobody will read this | timeout 5 nc 10.1.0.2 5001');
  t.true((await b.snmp()).get('Tcp.InCsumErrors')! > 0);
  await stop(testpmd);
  await testpmd.ask('port stop all', /Done/);
  await testpmd.ask('set fwd csum', /Set csum packet forwarding mode/);
  for (const port of [0, 1]) {
    await testpmd.ask(`csum set tcp sw ${port}`, /testpmd> /);
    await testpmd.ask(`csum mac-swap off ${port}`, /testpmd> /);
  }
  await testpmd.ask('port start all', /Done/);
  await start(testpmd);
  await transfer(guest, { from: a, to: b, address: '10.1.0.2' }, { bytes: 200_000 });
  await quit(t, testpmd);
}

/** docs/examples/pass-on.ts makes of what was flagged on Rx what has to be asked for on Tx. */
async function passedOn(t: ExecutionContext, guest: Guest): Promise<void> {
  const mode = '/app/dist/docs/examples/pass-on.js';
  const ends = await twoEnds(t, guest, { args: [...OFFLOADS, `--forward-mode=${mode}`] });
  const { testpmd, a, b } = ends;
  await start(testpmd);
  const seen = await netHeaders(t, guest, { end: b, tap: 'tap-b' }, async () => {
    await transfer(guest, { from: a, to: b, address: '10.1.0.2' }, { bytes: 4 * MEGABYTE });
  });
  t.true(
    Object.keys(seen.gso).some((gso) => gso.startsWith(`${GSO_TCPV4}:14`)),
    JSON.stringify(seen),
  );
  await checkSums(t, ends);
  await quit(t, testpmd);
}

/** tap-a, port 1, port 0, the switch, port 2, port 3, tap-b. */
async function throughVhostUser(t: ExecutionContext, guest: Guest): Promise<void> {
  const sockets = ['/tmp/switch-a', '/tmp/switch-b'];
  const files = sockets.map((path) => `--socket-file ${path}`).join(' ');
  const fabric = await guest.start(t, 'vhost-switch in the guest', `vhost-switch ${files}`);
  await guest.ok(`until [ -S ${sockets[0]} ] && [ -S ${sockets[1]} ]; do sleep 0.2; done`);
  const [kernelA, kernelB] = kernelPorts();
  const ends = await twoEnds(t, guest, {
    vdevs: [`virtio_user10,path=${sockets[0]}`, kernelA!, `virtio_user11,path=${sockets[1]}`, kernelB!],
    args: ['--forward-mode=io'],
  });
  const { testpmd, a, b } = ends;
  await start(testpmd);
  await a.ping('10.1.0.2');
  await transfer(guest, { from: a, to: b, address: '10.1.0.2' }, { bytes: MEGABYTE });
  await checkSums(t, ends);
  await quit(t, testpmd);
  await fabric.terminate();
  await fabric.end();
}

export function trafficCases(inGuest: InGuest): void {
  inGuest('io between two stacks, without offloads: ping, UDP and TCP, every packet whole', withoutOffloads);
  inGuest('csum between two stacks, with offloads and two queues: large packets, segments of 1000 bytes', withOffloads);
  inGuest('checksums left unfinished are counted by the kernel; the csum mode finishes them', unfinished);
  inGuest('the documented mode that hands offloads on: large packets with the sizes that they came with', passedOn);
  inGuest('io between vhost-user ports and ports of the kernel, over our switch', throughVhostUser);
}
