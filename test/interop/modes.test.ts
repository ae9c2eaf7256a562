/** Users' forwarding modes with DPDK's vhost PMD at the other end: the examples of docs/programmable-forwarding.md. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { eventually, portStats, startDpdk, startOurs, temporaryDirectory, type Peer } from '../support/peers.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));
import { flow, setForwarding, startForwarding, stopForwarding } from '../support/traffic.js'; // prettier-ignore

const modes = (name: string) => join('docs/examples', name);

/** Our testpmd in the mode `name`, forwarding, and DPDK's in rxonly, which shows what it receives. */
async function start(t: ExecutionContext, name: string, udpPorts: string): Promise<{ ours: Peer; far: Peer }> {
  const socket = join(temporaryDirectory(t), 's');
  const far = await startDpdk(t, {
    vdevs: [`net_vhost0,iface=${socket},queues=1,client=0`],
    args: [`--tx-udp=${udpPorts}`, '--eth-peer=0,02:00:00:00:00:77'],
  });
  const ours = await startOurs(t, {
    vdevs: [`net_virtio_user0,path=${socket},queues=1,mrg_rxbuf=1,in_order=0`],
    args: [`--forward-mode=${modes(name)}`, '--port-topology=loop'],
  });
  await startForwarding(ours);
  await setForwarding('rxonly', far);
  return { ours, far };
}

async function end(t: ExecutionContext, { ours, far }: { ours: Peer; far: Peer }): Promise<void> {
  await stopForwarding(far);
  const [text] = await ours.ask('stop', /Accumulated[^]*Done\./);
  t.notRegex(text, /neither sent nor freed|twice/);
  t.is(await ours.stop(), 'exit code 0');
  t.is(await far.stop(), 'exit code 0');
}

for (const name of ['reflector.ts', 'udp-echo.ts']) {
  test.serial(`${name} with DPDK net_vhost: packets come back to whom they came from`, async (t) => {
    const both = await start(t, name, '1000,7');
    await both.far.ask('set verbose 1', /Change verbose level/);
    // the source is now whom DPDK sent to. The lcore's lines may tear the prompt apart: not to be waited for
    const answer = /src=02:00:00:00:00:77 - dst=[0-9A-F:]{17} - [^\n]*type=0x0800 - length=64/;
    await both.far.ask('start tx_first', answer);
    await eventually('all are back', () => portStats(both.far), ({ rxPackets }) => rxPackets === 32); // prettier-ignore
    await stopForwarding(both.far);
    await both.far.ask('set verbose 0', /Change verbose level/);
    await setForwarding('io', both.far);
    await startForwarding(both.far, 'tx_first 32');
    await flow(both.far, 10_000);
    await end(t, both);
  });
}

test.serial('udp-filter.ts with DPDK net_vhost: what goes to port 9 is dropped and counted, the rest comes back', async (t) => {
  for (const [ports, back] of [
    ['1000,9', 0],
    ['9,1000', 32],
  ] as const) {
    const both = await start(t, 'udp-filter.ts', ports);
    await both.far.ask('start tx_first', /testpmd> /);
    const dropped = async () => Number((await both.ours.ask('show fwd stats all', /TX-dropped: (\d+)/))[1]);
    await eventually('all have been received', () => portStats(both.ours), ({ rxPackets }) => rxPackets === 32);
    await eventually('and are dropped or not', dropped, (n) => n === 32 - back);
    await eventually('and are back or not', () => portStats(both.far), ({ rxPackets }) => rxPackets === back);
    await end(t, both);
  }
}); // prettier-ignore
