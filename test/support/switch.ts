/** Our vhost-switch as a process, from source. */
import { ourCpu, startPeer, type Peer, type Scope } from './peers.js';

/** What it prints when it refuses a front-end something, gives a ring up, or cannot go on. */
export const REFUSAL = /is given up|connection closed|was not handled|\brefused\b|failed (?!to connect)|at most|Error/;

/** On CPU 1, or the only one. Once it listens on all of `sockets`, unless it is to connect to them. */
export async function startSwitch(
  scope: Scope,
  sockets: string | readonly string[],
  ...options: readonly string[]
): Promise<Peer> {
  const files = typeof sockets === 'string' ? [sockets] : sockets;
  const peer = startPeer(scope, 'vhost-switch', process.execPath, [
    ...['--import', './tools/ts.mjs', 'tools/vhost-switch/main.ts', '--lcores', `${ourCpu}`],
    ...files.flatMap((path) => ['--socket-file', path]),
    ...options,
  ]);
  if (!options.includes('--client')) for (const path of files) await peer.waitFor(listens(path), 60_000);
  return peer;
}

const listens = (path: string) => new RegExp(`\\(${path}\\) binding succeeded`);
