/** Traffic between our testpmd and a dpdk-testpmd: starting it, and seeing that it flows, whole and of the right size. */
import type { ExecutionContext } from 'ava';
import { usingLines } from '../../paths/select.js';
import type { Recipe } from '../../tools/common/recipes.js';
import { eventually, portStats, sleep, type Peer } from './peers.js';

/** Fails unless the log of our testpmd names the paths of `recipe` for port `port`. */
export function checkPathLines(t: ExecutionContext, ours: Peer, recipe: Recipe, port = 0): void {
  for (const line of usingLines(recipe, port)) t.true(ours.output.includes(line), `the log has "${line}"`);
}

/** Sets a forwarding mode on both sides. */
export async function setForwarding(mode: string, ...peers: readonly Peer[]): Promise<void> {
  for (const peer of peers) await peer.ask(`set fwd ${mode}`, new RegExp(`Set ${mode} packet forwarding mode`));
}

export async function stopForwarding(peer: Peer): Promise<void> {
  await peer.ask('stop', /Done\.|Packet forwarding not started/);
}

/** `start`, with what makes packets: '' or 'tx_first N'. */
export async function startForwarding(peer: Peer, how = ''): Promise<void> {
  await peer.ask(`start ${how}`.trim(), /packet forwarding - ports=[^]*testpmd> /);
}

/**
 * Packets of `size` bytes go round between both sides, injected by `far`. Packets of before are flushed: ours has stopped
 * when `far` stops, and `start` throws away what has been received.
 */
export async function loopPackets(t: ExecutionContext, ours: Peer, far: Peer, size: number): Promise<void> {
  await stopForwarding(ours);
  await stopForwarding(far);
  await far.ask(`set txpkts ${size}`, /testpmd> /);
  await startForwarding(ours);
  await startForwarding(far, 'tx_first 32');
  await flow(far, 1000); // the last of the old ones
  const { bytes, packets } = await flow(far, 1000);
  // DPDK counts a burst's packets and its bytes one after the other, and we read in between: a burst of doubt at either end
  t.true(
    Math.abs(bytes - packets * size) <= 2 * 32 * size,
    `packets have ${size} bytes: ${packets} packets, ${bytes} bytes`,
  );
}

/** Waits until `peer` has received `atLeast` packets more on `port`. @returns what came meanwhile. */
export async function flow(peer: Peer, atLeast: number, port = 0): Promise<{ packets: number; bytes: number }> {
  const before = await portStats(peer, port);
  const after = await eventually(
    `${peer.name}: ${atLeast} more packets received on port ${port}`,
    () => portStats(peer, port),
    (now) => now.rxPackets >= before.rxPackets + atLeast,
  );
  return { packets: after.rxPackets - before.rxPackets, bytes: after.rxBytes - before.rxBytes };
}

/** Fails if packets still arrive at `peer`. */
export async function checkStill(t: ExecutionContext, peer: Peer): Promise<void> {
  await sleep(200); // what was in its rings
  const before = await portStats(peer);
  await sleep(300);
  const after = await portStats(peer);
  t.is(after.rxPackets, before.rxPackets, `${peer.name} receives nothing any more`);
  t.is(after.rxPps, 0);
}
