/**
 * Other people's programs, and our own, as child processes with a prompt: dpdk-testpmd at either end of a vhost-user socket, our
 * testpmd from source. Everything started here ends with the test, however that went.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Peer } from '../../tools/bench/common/peer.js';
import { dpdkCommand, ourCommand, type DpdkOptions, type OurOptions } from '../../tools/bench/common/testpmd.js';

export { Peer } from '../../tools/bench/common/peer.js';
export {
  ourCpu,
  peerCpu,
  portStats,
  type DpdkOptions,
  type OurOptions,
  type PortCounters,
} from '../../tools/bench/common/testpmd.js';

/** What starts and ends peers: an ava test, or anything else that undoes what it was given. */
export interface Scope {
  teardown(undo: () => void | Promise<void>): void;
}

/** A fresh directory, short enough for socket paths, that goes with the scope. */
export function temporaryDirectory(scope: Scope): string {
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-'));
  scope.teardown(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Starts a process that ends with the scope. */
export function startPeer(
  scope: Scope,
  name: string,
  command: string,
  args: readonly string[],
  env?: NodeJS.ProcessEnv,
) {
  const peer = new Peer(name, command, args, env);
  scope.teardown(() => peer.kill());
  return peer;
}

const found = new Map<string, boolean>();

/** True when a program can be run here. */
export function isInstalled(program: string): boolean {
  let known = found.get(program);
  if (known === undefined) {
    known = spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
    found.set(program, known);
  }
  return known;
}

/** dpdk-testpmd at its prompt. */
export async function startDpdk(scope: Scope, options: DpdkOptions): Promise<Peer> {
  const peer = startPeer(scope, 'dpdk-testpmd', ...dpdkCommand(options));
  await peer.waitFor(/testpmd> /, 30_000);
  return peer;
}

/**
 * dpdk-testpmd on a virtio_user port. It complains on stderr that the port has no promiscuous mode, in the middle of its
 * first prompt, so that prompt is nothing to wait for.
 */
export async function startFrontEnd(scope: Scope, options: DpdkOptions): Promise<Peer> {
  const peer = startPeer(scope, 'dpdk-testpmd', ...dpdkCommand(options));
  await peer.waitFor(/Checking link statuses\.\.\.[^]*?\nDone\n/, 30_000); // its errors come in between, or not
  return peer;
}

/** Our testpmd from source, at its prompt, with the driver's log. */
export async function startOurs(scope: Scope, options: OurOptions): Promise<Peer> {
  const ealArgs = ['--log-level', 'pmd.net.virtio.*:info', ...(options.ealArgs ?? [])];
  const peer = startPeer(scope, 'our testpmd', ...ourCommand({ ...options, ealArgs }));
  await peer.waitFor(/testpmd> /, 30_000);
  return peer;
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Asks again and again until `good` holds of the answer.
 * @throws Error that names `what` after `ms` milliseconds.
 */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T> | T,
  good: (value: T) => boolean,
  ms = 20_000,
): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const value = await ask();
    if (good(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${ms} ms; last seen: ${JSON.stringify(value)}`);
    await sleep(100);
  }
}
