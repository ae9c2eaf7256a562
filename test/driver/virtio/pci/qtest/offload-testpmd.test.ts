/** testpmd's csum mode between two kernels, on an lcore: checksums and segments by the devices, and by the mode itself. */
import type { ExecutionContext } from 'ava';
import type { Machine } from '../../../support/qtest.js';
import { stackErrors, startApart, tcpEcho, udpEcho, type KernelEnd } from './support/net.js';
import { MIB } from './support/net-transfer.js';
import { ourCpu, peerCpu, startPeer, type Peer } from '../../../../support/peers.js';
import { setForwarding, startForwarding, stopForwarding } from '../../../../support/traffic.js';
import { lacks, needs } from '../../../../support/needs.js';
import { whyNoTap } from '../../../../support/tap.js';

const test = needs(lacks('qemu-system-x86_64') || whyNoTap());

async function startTestpmd(t: ExecutionContext, { devargs }: Machine, ...options: string[]): Promise<Peer> {
  const ours = startPeer(t, 'our testpmd', process.execPath, [
    ...['--import', './tools/ts.mjs', 'tools/testpmd/main.ts'],
    ...['--lcores', `0@${peerCpu},1@${ourCpu}`, '--no-huge'],
    ...['-a', `${devargs},addr=04.0`, '-a', `${devargs},addr=05.0`],
    ...['--', '-i', '--total-num-mbufs=4096', ...options],
  ]);
  await ours.waitFor(/testpmd> /, 60_000);
  await setForwarding('csum', ours);
  // the kernels speak to each other, not to testpmd
  for (const port of [0, 1]) await ours.ask(`csum mac-swap off ${port}`, /testpmd> /);
  return ours;
}

interface Sizes {
  readonly [name: string]: number;
}

async function xstats(ours: Peer, port: number): Promise<Sizes> {
  const [text] = await ours.ask(`show port xstats ${port}`, /rx_good_packets[^]*testpmd> /);
  return Object.fromEntries([...text.matchAll(/^(\w+): (\d+)$/gm)].map(([, name, value]) => [name!, Number(value)]));
}

/** TCP and UDP in both directions; no kernel finds anything wrong, and long packets pass or do not. */
async function transfer(t: ExecutionContext, ours: Peer, ends: readonly [KernelEnd, KernelEnd], long: boolean) {
  await startForwarding(ours);
  const [a, b] = ends;
  for (const host of [b.ipv4, b.ipv6]) {
    await tcpEcho(t, a, host, MIB);
    await udpEcho(t, a, host, [0, 1, 2, 63, 1452, 5000]);
  }
  for (const port of [0, 1]) {
    const stats = await xstats(ours, port);
    t.is(stats['rx_q0_size_1519_max_packets']! > 0, long, `port ${port}`);
    t.is(stats['tx_q0_size_1519_max_packets']! > 0, long, `port ${port}`);
    t.is(stats['rx_q0_errors'], 0);
  }
  for (const end of ends) t.deepEqual(stackErrors(end), []);
  await stopForwarding(ours);
}

for (const { name, options, long } of [
  {
    name: 'checksums and segments by the device',
    options: ['--rx-offloads=0x201c', '--tx-offloads=0x802c'],
    long: true,
  },
  { name: 'checksums by the device', options: ['--rx-offloads=0xc', '--tx-offloads=0xc'], long: false },
  { name: 'checksums that the kernels leave out, made by the mode', options: ['--rx-offloads=0xc'], long: false },
  { name: 'checksums that are there, made anew by the mode', options: [], long: false },
]) {
  test.serial(`set fwd csum: ${name}`, async (t) => {
    const { machine, ends } = await startApart(t);
    const ours = await startTestpmd(t, machine, ...options);
    await transfer(t, ours, ends, long);
    t.is(await ours.stop(), 'exit code 0');
  });
}

test.serial('csum set, tso set and port config switch offloads on between two transfers', async (t) => {
  const { machine, ends } = await startApart(t);
  const ours = await startTestpmd(t, machine);
  await transfer(t, ours, ends, false);
  const tell = (command: string) => ours.ask(command, /testpmd> /);
  await tell('clear port xstats all');
  await ours.ask('port stop all', /Done/);
  for (const port of [0, 1]) {
    for (const name of ['udp_cksum', 'tcp_cksum', 'tcp_lro', 'scatter']) {
      await tell(`port config ${port} rx_offload ${name} on`);
    }
    for (const name of ['tcp_tso', 'multi_segs']) await tell(`port config ${port} tx_offload ${name} on`);
    for (const layer of ['udp', 'tcp']) await tell(`csum set ${layer} hw ${port}`);
    await tell(`tso set 900 ${port}`);
  }
  await ours.ask('port start all', /Done/);
  await transfer(t, ours, ends, true);
  t.is(await ours.stop(), 'exit code 0');
});
