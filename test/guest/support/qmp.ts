/** QEMU's machine protocol: one JSON object a line, commands answered in order, events in between. */
import type { Socket } from 'node:net';
import { Incoming } from './incoming.js';

interface Message {
  readonly event?: string;
  readonly error?: { readonly desc: string };
  readonly return?: unknown;
}

export class Qmp {
  /** Names of the events so far. */
  readonly events: string[] = [];
  private readonly incoming: Incoming;

  private constructor(private readonly socket: Socket) {
    this.incoming = new Incoming(socket, 'QMP');
  }

  static async open(socket: Socket): Promise<Qmp> {
    const qmp = new Qmp(socket);
    await qmp.incoming.line(10_000); // the greeting
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** One command at a time. @throws Error with QEMU's words */
  async execute(command: string, args: object = {}): Promise<unknown> {
    this.socket.write(JSON.stringify({ execute: command, arguments: args }));
    for (;;) {
      const message = await this.next(10_000);
      if (message.error) throw new Error(`${command}: ${message.error.desc}`);
      if ('return' in message) return message.return;
    }
  }

  /** Waits for an event that has not come yet, or takes one that has. */
  async waitEvent(name: string, ms: number): Promise<void> {
    const deadline = Date.now() + ms;
    while (!this.events.includes(name)) await this.next(deadline - Date.now());
    this.events.splice(this.events.indexOf(name), 1);
  }

  private async next(ms: number): Promise<Message> {
    const message = JSON.parse(await this.incoming.line(ms)) as Message;
    if (message.event !== undefined) this.events.push(message.event);
    return message;
  }
}
