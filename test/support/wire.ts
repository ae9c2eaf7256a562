/**
 * The other end of a -netdev stream of QEMU's: frames over a Unix socket, each with its length in front (4 bytes, network
 * byte order).
 */
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { sleep, temporaryDirectory, type Scope } from './peers.js';

/**
 * Asks every few milliseconds until `good` holds of the answer: devices take their time, and there are many frames to wait for.
 * @throws Error that names `what` after 20 s.
 */
export async function soon<T>(what: string, ask: () => T, good: (value: T) => boolean): Promise<T> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const value = ask();
    if (good(value)) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within 20 s; last seen: ${String(value)}`);
    await sleep(2);
  }
}

export class Wire {
  /** Frames that came, oldest first; who looks at them takes them out. */
  readonly received: Uint8Array[] = [];
  private socket: Socket | undefined;
  private rest = Buffer.alloc(0);

  private constructor(
    private readonly server: Server,
    private readonly path: string,
  ) {
    server.on('connection', (socket) => {
      this.socket = socket;
      this.rest = Buffer.alloc(0);
      socket.on('data', (bytes) => this.receive(bytes)).on('error', () => {});
    });
  }

  /** Listens until the scope ends. */
  static async listen(scope: Scope): Promise<Wire> {
    const path = join(temporaryDirectory(scope), 'wire');
    const wire = new Wire(createServer(), path);
    await new Promise<void>((resolve) => wire.server.listen(path, resolve));
    scope.teardown(() => {
      wire.socket?.destroy();
      wire.server.close();
    });
    return wire;
  }

  /** For QEMU's command line, without its id. */
  get netdev(): string {
    return `stream,server=off,addr.type=unix,addr.path=${this.path}`;
  }

  private receive(bytes: Buffer): void {
    this.rest = Buffer.concat([this.rest, bytes]);
    while (this.rest.length >= 4) {
      const end = 4 + this.rest.readUInt32BE(0);
      if (this.rest.length < end) return;
      this.received.push(new Uint8Array(this.rest.subarray(4, end)));
      this.rest = this.rest.subarray(end);
    }
  }

  send(frame: Uint8Array): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(frame.length);
    this.socket!.write(Buffer.concat([length, frame]));
  }

  /** Takes the first frame out for which `wanted` holds, once it has come. */
  async take(what: string, wanted: (frame: Uint8Array) => boolean = () => true): Promise<Uint8Array> {
    const find = () => this.received.findIndex(wanted);
    const at = await soon(what, find, (index) => index >= 0);
    return this.received.splice(at, 1)[0]!;
  }
}
