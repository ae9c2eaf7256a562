/**
 * DPDK's virtio_user and our switch with a relay between them: who says what in which order, and a connection that ends at any
 * of these messages.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { dpdkCommand } from '../../tools/bench/common/testpmd.js';
import {
  eventually,
  portStats,
  sleep,
  startFrontEnd,
  startPeer,
  temporaryDirectory,
  type Peer,
} from '../support/peers.js';
import { startSwitch } from '../support/switch.js';
import { flow, setForwarding, startForwarding, stopForwarding } from '../support/traffic.js';
import { VhostUserRelay } from '../support/vhost-user-relay.js';
import { lacks, needs } from '../support/needs.js';

const test = needs(lacks('dpdk-testpmd'));

async function relayed(t: ExecutionContext): Promise<{ ours: Peer; relay: VhostUserRelay; path: string }> {
  const directory = temporaryDirectory(t);
  const [path, behind] = [join(directory, 'r'), join(directory, 's')];
  const ours = await startSwitch(t, behind);
  return { ours, relay: VhostUserRelay.start(t, { front: { listen: path }, back: { connect: behind } }), path };
}

const vdev = (path: string, packed: number) => `net_virtio_user0,path=${path},queues=1,packed_vq=${packed}`;

/** Fails unless `wanted` are lines of `lines`, in that order; other lines may be between them. */
function inOrder(t: ExecutionContext, lines: readonly string[], wanted: readonly RegExp[]): void {
  let at = 0;
  for (const pattern of wanted) {
    while (at < lines.length && !pattern.test(lines[at]!)) at++;
    t.true(at < lines.length, `${pattern} in this place of\n${lines.join('\n')}`);
    at++;
  }
}

const SIZE = 256;

/** Where a packed ring stands after so many buffers of one descriptor: slot and wrap counter, twice over in a word. */
function packedPosition(buffers: number): number {
  const wrap = Math.floor(buffers / SIZE) % 2 === 0 ? 1 << 15 : 0;
  return (buffers % SIZE) * 0x10001 + wrap; // without the used wrap counter: see getVringBase
}

for (const [format, packed] of [
  ['split', 0],
  ['packed', 1],
] as const) {
  test.serial(
    `${format}: DPDK's port starts and closes: the messages, and where the rings stood in the end`,
    async (t) => {
      const { relay, path } = await relayed(t);
      const far = await startFrontEnd(t, { vdevs: [vdev(path, packed)] });
      inOrder(t, relay.lines(), [
        /^> SET_OWNER$/,
        /^> GET_FEATURES$/,
        /^< GET_FEATURES 0x/,
        /^> SET_PROTOCOL_FEATURES 0x/,
        /^> SET_FEATURES 0x/,
        /^> SET_STATUS 0xb$/,
        /^> SET_MEM_TABLE 1 regions \+1 fd$/,
        /^> SET_VRING_NUM 0: 0x100$/,
        packed ? /^> SET_VRING_BASE 0: 0x8000$/ : /^> SET_VRING_BASE 0: 0x0$/,
        /^> SET_VRING_ADDR 0: 0x/,
        /^> SET_VRING_KICK 0 \+1 fd$/,
        /^> SET_VRING_KICK 1 \+1 fd$/,
        /^> SET_VRING_ENABLE 0: 0x1$/,
        /^> SET_STATUS 0xf$/,
      ]);
      await setForwarding('mac', far);
      await startForwarding(far, 'tx_first 1');
      await flow(far, 1000);
      await stopForwarding(far);
      await sleep(200); // what was on its way has come back: as many buffers of either ring are used
      const { txPackets } = await portStats(far);
      const before = relay.log.length;
      t.is(await far.stop(), 'exit code 0');
      await eventually('the end of the connection', () => relay.ended, Boolean);
      const position = packed ? packedPosition(txPackets) : txPackets & 0xffff;
      inOrder(t, relay.lines(before), [
        /^> SET_VRING_ENABLE 0: 0x0$/,
        /^> GET_VRING_BASE 0: 0x0$/,
        new RegExp(`^< GET_VRING_BASE 0: 0x${position.toString(16)}$`),
        /^> GET_VRING_BASE 1: /,
        new RegExp(`^< GET_VRING_BASE 1: 0x${position.toString(16)}$`),
      ]);
    },
  );
}

test.serial('a connection that ends at any message: the switch keeps nothing of it and serves the next', async (t) => {
  const { ours, relay, path } = await relayed(t);
  const openFds = () => readdirSync(`/proc/${ours.pid}/fd`).length;
  const idle = openFds();
  const whole = await startFrontEnd(t, { vdevs: [vdev(path, 0)] });
  const messages = relay.log.filter(({ from }) => from === 'front').length;
  await whole.kill();
  t.true(messages > 20, relay.lines().join('\n'));
  for (let last = 1; last < messages; last += 3) {
    let seen = 0;
    relay.cut = ({ from }) => from === 'front' && ++seen === last;
    const far = startPeer(t, 'dpdk-testpmd', ...dpdkCommand({ vdevs: [vdev(path, 0)] }));
    await eventually(
      `a cut at message ${last}`,
      () => relay.ended,
      (ended) => ended > 0 && seen >= last,
      30_000,
    );
    await far.kill();
    await eventually(`descriptors of the switch, cut at message ${last}`, openFds, (count) => count === idle);
  }
  relay.cut = () => false;
  const far = await startFrontEnd(t, { vdevs: [vdev(path, 0)] });
  await setForwarding('mac', far);
  await startForwarding(far, 'tx_first 1');
  await flow(far, 1000);
  t.is(await far.stop(), 'exit code 0');
});
