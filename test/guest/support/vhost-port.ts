/** Our testpmd as the back-end of guests: net_vhost ports, from source. */
import { ourCommand } from '../../../tools/bench/common/testpmd.js';
import { eventually, ourCpu, peerCpu, startPeer, type Peer, type Scope } from '../../support/peers.js';
import type { Namespace } from './namespace.js';

/** What a port says when it refuses a front-end something, gives a ring up, or drops what the guest offers. */
export const COMPLAINT =
  /is given up|connection closed|was not handled|\brefused\b|mismatches|drops what|dropped what|Error|\n +at /;

/** `forwarding` lcores, which share the CPU that the guests' peers leave free. */
export async function startPorts(
  scope: Scope,
  vdevs: readonly string[],
  { forwarding = 1, args = [] }: { readonly forwarding?: number; readonly args?: readonly string[] } = {},
): Promise<Peer> {
  const lcores = Array.from({ length: forwarding }, (_, i) => `${i + 1}@${ourCpu}`);
  const command = ourCommand({
    vdevs,
    lcores: [`0@${peerCpu}`, ...lcores].join(),
    ealArgs: ['--no-huge', '--log-level', 'pmd.net.v.*:info'],
    args: [`--nb-cores=${forwarding}`, '--total-num-mbufs=16384', ...args],
  });
  const peer = startPeer(scope, 'our testpmd', ...command);
  await peer.waitFor(/testpmd> /, 90_000); // beside machines that boot
  return peer;
}

/** Types `start`. */
export async function startForwarding(testpmd: Peer): Promise<void> {
  await testpmd.ask('start', /packet forwarding - ports=[^]*testpmd> /);
}

/** Types `stop`. @returns the statistics */
export async function stopForwarding(testpmd: Peer): Promise<string> {
  return (await testpmd.ask('stop', /Telling cores to stop[^]*Done\.[^]*?testpmd> /))[0];
}

/** All counters of `show port xstats`. */
export async function xstatsOf(testpmd: Peer, port: number): Promise<ReadonlyMap<string, number>> {
  const [text] = await testpmd.ask(`show port xstats ${port}`, /NIC extended statistics[^]*?testpmd> /);
  return new Map([...text.matchAll(/^(\w+): (\d+)$/gm)].map(([, name, value]) => [name!, Number(value)]));
}

/** Echo requests that a network's stack has sent, and answers that have come, whole and with the right checksum. */
async function echoes(network: Namespace): Promise<readonly [asked: number, answered: number]> {
  const counters = await network.snmp();
  return [counters.get('Icmp.OutEchos')!, counters.get('Icmp.InEchoReps')!];
}

/**
 * So many pings of `size` bytes in a row. The stack counts the answers: ping waits a second for the last one, and its socket has
 * room for a few, which is not enough when the host stands still for a moment. @throws Error when an answer is missing
 */
export async function pingAll(
  network: Namespace,
  address: string,
  { size = 56, count = 20, prefix = '' }: { size?: number; count?: number; prefix?: string } = {},
): Promise<void> {
  const [, before] = await echoes(network);
  const line = `${prefix} ping -c ${count} -i 0.02 -W 20 -s ${size} ${address}`;
  const { output } = await network.run(line, 90);
  await eventually(
    `${count} answers to ${line}:\n${output}`,
    async () => (await echoes(network))[1] - before,
    (answers) => answers === count,
  );
}

/** Pings without end. @returns a function that ends them: how many of them had no answer, `ms` milliseconds after the last one */
export async function pingEndlessly(network: Namespace, address: string): Promise<(ms: number) => Promise<number>> {
  const [askedBefore, answeredBefore] = await echoes(network);
  const pid = (await network.ok(`ping -q -i 0.05 -s 1000 ${address} >/dev/null 2>&1 & echo $!`)).trim();
  return async (ms) => {
    await network.ok(`kill ${pid}`);
    const missing = async () => {
      const [asked, answered] = await echoes(network);
      if (asked - askedBefore < 10) throw new Error(`only ${asked - askedBefore} pings were sent`);
      return asked - askedBefore - (answered - answeredBefore);
    };
    const deadline = Date.now() + ms;
    for (;;) {
      const count = await missing();
      if (count === 0 || Date.now() > deadline) return count;
    }
  };
}
