/** Our testpmd as a process, against the embedded back-end on a thread of the test. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { createEal } from '../../driver/eal/eal.js';
import { vhostCounterBytes, type VhostJobData } from '../../driver/vhost/embedded.js';
import { isListening } from '../../native/socket.js';
import { eventually, ourCpu, peerCpu, startPeer, temporaryDirectory, type Peer } from './peers.js';

/** A vhost-user back-end that returns every packet. @returns its socket. */
export function startBackend(t: ExecutionContext, queues = 1, disabledFeatures = 0n): string {
  const path = join(temporaryDirectory(t), 's');
  const lcores = new Map([
    [0, [peerCpu]],
    [1, [peerCpu]],
  ]);
  const eal = createEal({ noHuge: true, lcores, pinMain: false, log: () => {} });
  t.teardown(() => eal.close());
  const mempool = eal.createMempool({ count: 4096 });
  const job: VhostJobData = {
    path,
    queues,
    disabledFeatures,
    mode: 'loopback',
    mempool,
    counters: new SharedArrayBuffer(vhostCounterBytes),
  };
  eal.lcores.launch(1, new URL('../../driver/vhost/embedded.js', import.meta.url), 'vhostJob', job);
  return path;
}

const lcores = `0@${peerCpu},1@${ourCpu}`;

export function spawnTestpmd(
  t: ExecutionContext,
  vdevs: readonly string[],
  args: readonly string[],
  eal: readonly string[] = [],
): Peer {
  return startPeer(t, 'our testpmd', process.execPath, [
    ...['--import', './tools/ts.mjs', 'tools/testpmd/main.ts', '--lcores', lcores, '--no-huge', '--no-pci', ...eal],
    ...vdevs.flatMap((vdev) => ['--vdev', vdev]),
    ...['--', ...args],
  ]);
}

export async function waitForSocket(path: string): Promise<string> {
  await eventually('back-end socket', () => isListening(path), Boolean, 60_000); // a busy machine compiles slowly
  return path;
}

export async function startTestpmd(
  t: ExecutionContext,
  options: { queues?: number; args?: readonly string[]; eal?: readonly string[] } = {},
): Promise<Peer> {
  const { queues = 1, args = ['-i'], eal = [] } = options;
  const path = await waitForSocket(startBackend(t, queues));
  return spawnTestpmd(t, [`net_virtio_user0,path=${path},queues=${queues}`], args, eal);
}
