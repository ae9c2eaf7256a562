/** A measurement's processes and files, which are removed at its end, also after an error. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Peer } from './peer.js';

/** Output of testpmd when it has a prompt, has started forwarding, has stopped. */
export const PROMPT = /testpmd> /;
export const START = /packet forwarding - ports=[^]*testpmd> /;
export const STOP = /Accumulated forward statistics[^]*Done\./;

export interface Scope {
  /** Directory for sockets; its path is short. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** Starts a process. */
  start(name: string, command: readonly [string, readonly string[]]): Peer;
  /** Starts a testpmd and waits for its prompt. */
  testpmd(name: string, command: readonly [string, readonly string[]]): Promise<Peer>;
}

/** Runs `body`. Its processes are asked to quit at the end, or killed at once when `signal` fires. */
export async function withScope<T>(signal: AbortSignal, body: (scope: Scope) => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const directory = mkdtempSync(join(tmpdir(), 'vpmd-bench-'));
  const peers: Peer[] = [];
  const kill = () => peers.forEach((peer) => void peer.kill());
  const start: Scope['start'] = (name, [command, args]) => {
    const peer = new Peer(name, command, args);
    peers.push(peer);
    return peer;
  };
  const testpmd: Scope['testpmd'] = async (name, command) => {
    const peer = start(name, command);
    await peer.waitFor(PROMPT, 60_000);
    return peer;
  };
  signal.addEventListener('abort', kill);
  try {
    return await body({ directory, signal, start, testpmd });
  } finally {
    signal.removeEventListener('abort', kill);
    for (const peer of peers.reverse()) await (signal.aborted ? peer.kill() : peer.stop());
    rmSync(directory, { recursive: true, force: true });
  }
}
