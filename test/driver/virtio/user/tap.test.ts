/**
 * Taps of the kernel, without vhost-net: names, queues, addresses, filters, offloads, deletion, privileges, packets. All of it
 * happens in a network namespace that goes with the process which runs support/tap-child.ts.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { whyNoTap } from '../../../support/tap.js';
import { packetScenarios } from './support/tap-packets.js';
import { scenarios } from './support/tap-scenarios.js';
import { needs } from '../../../support/needs.js';

const test = needs(whyNoTap());

const root = fileURLToPath(new URL('../../../..', import.meta.url));
// /run is where ip keeps other namespaces
const CHILD =
  'mount -t sysfs none /sys && mount -t tmpfs none /run && exec "$0" --import ./tools/ts.mjs test/driver/virtio/user/support/tap-child.ts';
let results: Record<string, string> | undefined;

function resultOf(title: string): string {
  if (results === undefined) {
    const args = ['--net', '--mount', 'sh', '-c', CHILD, process.execPath];
    const { stdout, stderr, error } = spawnSync('unshare', args, { cwd: root, encoding: 'utf8', timeout: 120_000 });
    if (!stdout) return `${error?.message ?? ''}${stderr}`;
    results = JSON.parse(stdout) as Record<string, string>;
  }
  return results[title] ?? 'it was not run';
}

for (const title of Object.keys({ ...packetScenarios, ...scenarios })) {
  test.serial(title, (t) => {
    t.is(resultOf(title), 'ok');
  });
}
