/** The program's parts, as commands see them, and how a line becomes a command. */
import { isVirtioPmdError } from '../../native/errors.js';
import { nearest } from '../../driver/nearest.js';
import { grammar, readableSyntax } from './commands.js';
import { Forwarding } from './forwarding.js';
import { splitWords } from './grammar.js';
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
    if (parsed.kind === 'unknown') {
      const meant = nearest(splitWords(text)[0]!, grammar.verbs);
      this.session.print(`Command not found${meant === undefined ? '' : `\n  did you mean ${meant}?`}`);
      return;
    }
    if (parsed.kind === 'bad') {
      this.session.print(['Bad arguments', ...parsed.usage.map((usage) => `  ${readableSyntax(usage)}`)].join('\n'));
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
