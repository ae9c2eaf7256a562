/** The program's parts, as commands see them, and how a line becomes a command. */
import { isVirtioPmdError } from '../../native/errors.js';
import { grammar } from './commands.js';
import { explain } from './explain.js';
import { Forwarding } from './forwarding.js';
import { Ports } from './ports.js';
import type { Session } from './session.js';

export class Testpmd {
  readonly forwarding: Forwarding;
  readonly ports: Ports;

  /** @param interrupted aborts when the user wants to leave. */
  constructor(
    readonly session: Session,
    readonly interrupted: AbortSignal,
  ) {
    this.forwarding = new Forwarding(session);
    this.ports = new Ports(session, this.forwarding);
    session.eal.lcores.onMessage = (_, message) => session.print(String(message));
  }

  /** Runs one line of input. Never throws for what a user can do. */
  async execute(line: string): Promise<void> {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) return;
    const parsed = grammar.parse(text);
    if (parsed.kind !== 'command') {
      this.session.print(explain(text, parsed));
      return;
    }
    try {
      await parsed.row.run(this, parsed.args);
    } catch (error) {
      if (!isVirtioPmdError(error)) throw error;
      this.session.complain(error.message);
    }
  }
}
