/** What comes in on a socket, taken piece by piece by whoever waits for it. */
import type { Socket } from 'node:net';

/** A parser: the piece at the beginning of `bytes` and its length, or undefined when it is not all there. */
type Parse<T> = (bytes: Buffer) => readonly [piece: T, length: number] | undefined;

export class Incoming {
  private bytes = Buffer.alloc(0);
  private closed = false;
  private wake = () => {};

  constructor(
    socket: Socket,
    private readonly name: string,
  ) {
    socket.on('data', (chunk) => {
      this.bytes = Buffer.concat([this.bytes, chunk]);
      this.wake();
    });
    socket.on('error', () => {}); // 'close' follows
    socket.on('close', () => {
      this.closed = true;
      this.wake();
    });
  }

  /** The next piece. One caller at a time. @throws Error when it does not come within `ms` milliseconds */
  async take<T>(parse: Parse<T>, ms: number): Promise<T> {
    const deadline = Date.now() + ms;
    for (;;) {
      const found = parse(this.bytes);
      if (found) {
        this.bytes = this.bytes.subarray(found[1]);
        return found[0];
      }
      if (this.closed) throw new Error(`${this.name}: closed`);
      if (Date.now() >= deadline) throw new Error(`${this.name}: nothing in ${ms} ms`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, deadline - Date.now());
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  /** The next line, without its end. */
  line(ms: number): Promise<string> {
    return this.take((bytes) => {
      const end = bytes.indexOf(10);
      return end < 0 ? undefined : [bytes.toString('latin1', 0, end), end + 1];
    }, ms);
  }

  /** The next `length` bytes. */
  exactly(length: number, ms: number): Promise<Buffer> {
    return this.take((bytes) => (bytes.length < length ? undefined : [bytes.subarray(0, length), length]), ms);
  }
}
