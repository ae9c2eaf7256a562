/** The program's parts, as commands see them. */
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
}
