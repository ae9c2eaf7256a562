/**
 * Attacks on running programs. The attackers and the guest that suffers beside them are C (test/attack/peers), compiled here and
 * scripted line by line; see the comments at the beginning of front-end.c, victim.c and back-end.c.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import type { Peer } from '../../support/peers.js';
import { eventually, startPeer, temporaryDirectory, type Scope } from '../../support/peers.js';
import { root } from '../../../tools/bench/common/peer.js';

const shared = ['guest', 'ring', 'vhost-user', 'util', 'kinds'];
const programs = {
  'front-end': ['front-end', 'fuse', 'starve', 'flood', 'fuzz', ...shared],
  victim: ['victim', ...shared],
  'back-end': ['back-end', 'vhost-user', 'util', 'kinds'],
} as const;
type Program = keyof typeof programs;

const folder = mkdtempSync(join(tmpdir(), 'vpmd-peers-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

/** @returns the path of a program of test/attack/peers, compiled once per process. */
export function compiled(program: Program): string {
  const output = join(folder, program);
  if (existsSync(output)) return output;
  const sources = programs[program].map((name) => join(root, 'test/attack/peers', `${name}.c`));
  const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-pthread'];
  const { status, stderr } = spawnSync('cc', [...flags, '-o', output, ...sources], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`test/attack/peers/${program}: ${stderr}`);
  return output;
}

/** Why no file system in user space can be mounted here, or ''. */
export function whyNoFuse(): string {
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  const [, capabilities] = /^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))!;
  return (BigInt(`0x${capabilities}`) >> 21n) & 1n ? '' : 'FUSE may not be mounted (no CAP_SYS_ADMIN)';
}

/** The hostile front-end. */
export class Attacker {
  readonly peer: Peer;

  constructor(t: Scope) {
    this.peer = startPeer(t, 'front-end', compiled('front-end'), []);
  }

  /** One command. @returns its answer, a line. */
  async ask(command: string, ms = 60_000): Promise<string> {
    return (await this.peer.ask(command, /^(?:ok|refused|closed|silent|error).*$/m, ms))[0];
  }

  /** Commands in order. @returns the answers. */
  async all(...commands: readonly string[]): Promise<string[]> {
    const answers: string[] = [];
    for (const command of commands) answers.push(await this.ask(command));
    return answers;
  }
}

export interface Measured {
  readonly rounds: number;
  /** Microseconds for 64 packets there and back. */
  readonly median: number;
  readonly p99: number;
  readonly max: number;
  readonly lost: number;
  /** Packets whose content is not what was sent. */
  readonly wrong: number;
}

/** The well-behaved guest. */
export class Victim {
  private constructor(readonly peer: Peer) {}

  static async start(t: Scope, sockets: readonly string[], listens = false): Promise<Victim> {
    const args = [...(listens ? ['--listen'] : []), ...sockets];
    const victim = new Victim(startPeer(t, 'victim', compiled('victim'), args));
    await victim.peer.waitFor(/^ready$/m, 60_000);
    return victim;
  }

  async measure(ms: number): Promise<Measured> {
    const pattern = /^rounds (\d+) median (\d+) p99 (\d+) max (\d+) lost (\d+) wrong (\d+)$/m;
    const [rounds, median, p99, max, lost, wrong] = (await this.peer.ask(`measure ${ms}`, pattern, ms + 60_000))
      .slice(1)
      .map(Number);
    return { rounds: rounds!, median: median!, p99: p99!, max: max!, lost: lost!, wrong: wrong! };
  }

  /** "canary intact", or where it was changed. */
  async canary(): Promise<string> {
    return (await this.peer.ask('canary', /^canary .*$/m))[0];
  }

  /** Connects anew. */
  async again(): Promise<void> {
    await this.peer.ask('again', /^ready$/m, 60_000);
  }
}

/** What the attacks are aimed at. */
export type TargetKind = 'switch' | 'client' | 'library';

export interface Target {
  readonly peer: Peer;
  readonly kind: TargetKind;
  /** Sockets; with a single one each guest gets its own packets back. */
  readonly sockets: readonly string[];
}

const ts = ['--import', './tools/ts.mjs'];

/** A running program, at its sockets. `client`: vhost-switch that connects to them; the guests listen. */
export async function startTarget(
  t: ExecutionContext,
  kind: TargetKind,
  sockets = 1,
  args: readonly string[] = [],
): Promise<Target> {
  const directory = temporaryDirectory(t);
  const paths = Array.from({ length: sockets }, (_, i) => join(directory, `s${i}`));
  const options = paths.flatMap((path) => ['--socket-file', path]);
  const command =
    kind === 'library'
      ? [...ts, 'test/attack/support/library.ts', paths[0]!]
      : [...ts, 'tools/vhost-switch/main.ts', ...options, ...(kind === 'client' ? ['--client'] : []), ...args];
  const peer = startPeer(t, kind, process.execPath, command);
  if (kind === 'client') await peer.waitFor(/connect/, 60_000);
  else await eventually('sockets', () => paths.every((path) => existsSync(path)), Boolean, 60_000);
  return { peer, kind, sockets: paths };
}

/** Ends a program as a service manager does. @returns how it ended; 'SIGTERM did not end it' after 15 s. */
export async function terminate({ peer }: Target): Promise<string> {
  if (peer.ended !== undefined) return peer.ended;
  process.kill(peer.pid, 'SIGTERM');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => (timer = setTimeout(resolve, 15_000, 'SIGTERM did not end it')));
  const how = await Promise.race([peer.end(), late]);
  clearTimeout(timer);
  return how;
}

/** Descriptors and mappings of a process that guests brought, and its memory in MiB. */
export function footprint(pid: number): { readonly fds: number; readonly maps: number; readonly rss: number } {
  const maps = readFileSync(`/proc/${pid}/maps`, 'utf8');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    fds: readdirSync(`/proc/${pid}/fd`).length,
    maps: maps.split(/memfd:peer|vpmd-/).length - 1,
    rss: Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) >> 10,
  };
}

/** The program lives, nothing of the victim was read or changed, its packets arrive. */
export async function unharmed(t: ExecutionContext, target: Target, victim: Victim, what: string): Promise<void> {
  t.is(target.peer.ended, undefined, `${what}: the program lives: ${target.peer.output.slice(-500)}`);
  t.is(await victim.canary(), 'canary intact', what);
  const { lost, wrong, rounds } = await victim.measure(100);
  t.deepEqual([lost, wrong, rounds > 0], [0, 0, true], `${what}: the victim's packets arrive`);
}
