/** The hostile back-end (test/attack/peers/back-end.c), and one beside it that has manners and makes packets. */
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';
import { compiled } from './attack.js';
import { eventually, startPeer, temporaryDirectory, type Peer } from '../../support/peers.js';

export interface State {
  readonly connections: number;
  readonly open: number;
  readonly messages: number;
  readonly replies: number;
  /** Packets that the program has sent, and those that it was given. */
  readonly taken: number;
  readonly made: number;
}

export class BackEnd {
  readonly peer: Peer;

  constructor(
    t: ExecutionContext,
    readonly path: string,
  ) {
    this.peer = startPeer(t, 'back-end', compiled('back-end'), []);
  }

  async ask(command: string): Promise<string> {
    return (await this.peer.ask(command, /^(?:ok|error).*$/m))[0];
  }

  async state(): Promise<State> {
    const words = (await this.ask('state')).split(' ').slice(1);
    const pairs = words.flatMap((word, i) => (i % 2 === 0 ? [[word, Number(words[i + 1])] as const] : []));
    return Object.fromEntries(pairs) as unknown as State;
  }
}

/** Two back-ends at their sockets: one that is going to misbehave, one that never does and makes packets. */
export async function backEnds(t: ExecutionContext): Promise<readonly [bad: BackEnd, good: BackEnd]> {
  const directory = temporaryDirectory(t);
  const both = ['bad', 'good'].map((name) => new BackEnd(t, join(directory, name)));
  for (const end of both) await end.ask(`listen ${end.path}`);
  await both[1]!.ask('traffic on');
  return [both[0]!, both[1]!];
}

export const vdev = (i: number, { path }: BackEnd, more = '') =>
  `net_virtio_user${i},path=${path},queue_size=256${more}`;

/** Packets go on: from the good back-end to the bad one, or at least into the program. */
export async function movesOn(what: string, end: BackEnd, key: 'taken' | 'made', ms = 15_000): Promise<void> {
  const before = await end.state();
  await eventually(
    `${what}: ${key} goes on`,
    async () => (await end.state())[key],
    (n) => n > before[key] + 100,
    ms,
  );
}
