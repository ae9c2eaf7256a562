/** A user's forwarding mode as an engine. */
import { VirtioPmdError } from '../../../native/errors.js';
import { describe, loadMode, sentenceOf } from './load-mode.js';
import type { UserMode } from './modes.js';
import type { Engine, ForwardStream } from './stream.js';

class UserEngine implements Engine {
  constructor(
    private readonly mode: UserMode,
    private readonly turn: () => void,
  ) {}

  run(): void {
    try {
      this.turn();
    } catch (error) {
      throw thrownBy(this.mode, error);
    }
  }
}

const thrownBy = (mode: UserMode, error: unknown) =>
  new VirtioPmdError('ELCORE', sentenceOf(mode, error), { cause: error });

/** @throws VirtioPmdError when the mode cannot be loaded, throws, or does not return a function. */
export async function createUserEngine(mode: UserMode, stream: ForwardStream): Promise<Engine> {
  const make = await loadMode(mode);
  let turn: unknown;
  try {
    turn = make(stream);
  } catch (error) {
    throw thrownBy(mode, error);
  }
  if (typeof turn === 'function') return new UserEngine(mode, turn as () => void);
  throw new VirtioPmdError(
    'ELCORE',
    `${mode.name}: its function returned ${describe(turn)} and must return a function, which runs one turn`,
  );
}
