/**
 * QMP, QEMU's own control socket: what somebody does to a machine while a driver uses it. Answers carry the number of
 * their question; everything else that comes is an event.
 */
import { createConnection, type Socket } from 'node:net';
import { eventually, type Scope } from '../../support/peers.js';

interface Message {
  readonly id?: number;
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: unknown;
}

export class Qmp {
  /** Names of the events that have come, oldest first. */
  readonly events: string[] = [];
  private readonly waiting = new Map<number, (message: Message) => void>();
  private next = 0;
  private text = '';

  private constructor(private readonly socket: Socket) {
    socket.setEncoding('utf8').on('data', (text: string) => this.receive(text));
    socket.on('error', () => {}); // QEMU was killed
  }

  static async connect(scope: Scope, path: string): Promise<Qmp> {
    const socket = createConnection(path);
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    scope.teardown(() => void socket.destroy());
    const qmp = new Qmp(socket);
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  private receive(text: string): void {
    this.text += text;
    for (let end = this.text.indexOf('\n'); end >= 0; end = this.text.indexOf('\n')) {
      const message = JSON.parse(this.text.slice(0, end)) as Message;
      this.text = this.text.slice(end + 1);
      if (message.event !== undefined) this.events.push(message.event);
      else if (message.id !== undefined) this.waiting.get(message.id)?.(message);
    }
  }

  /** @throws Error with QEMU's words */
  execute(command: string, args: Record<string, unknown> = {}): Promise<unknown> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, (message) => {
        this.waiting.delete(id);
        if (message.error) reject(new Error(`QMP ${command}: ${message.error.desc}`));
        else resolve(message.return);
      });
      this.socket.write(`${JSON.stringify({ execute: command, arguments: args, id })}\n`);
    });
  }

  /** Waits until an event of that name has come. */
  async event(name: string): Promise<void> {
    await eventually(
      `QMP event ${name}`,
      () => this.events,
      (events) => events.includes(name),
    );
  }
}
