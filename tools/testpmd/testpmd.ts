/** The parts of the program, for commands. */
import { Forwarding } from './forwarding.js';
import { Ports } from './ports.js';
import type { Session } from './session.js';

export class Testpmd {
  readonly forwarding: Forwarding;
  readonly ports: Ports;

  /** @param interrupted aborted when the user ends the program. */
  constructor(
    readonly session: Session,
    readonly interrupted: AbortSignal,
  ) {
    this.forwarding = new Forwarding(session);
    this.ports = new Ports(session, this.forwarding);
    session.eal.lcores.onMessage = (_, message) => session.print(String(message));
  }
}
