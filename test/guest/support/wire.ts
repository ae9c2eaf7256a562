/** The host's end of a NIC's cable: QEMU's `-netdev stream`, frames with their length in front. */
import type { Socket } from 'node:net';
import { Incoming } from './incoming.js';

/** An ethertype for experiments: whatever else is on the wire is not ours. */
const ETHERTYPE = 0x88b5;
const HEADER = 14;
/** Frames under way at a time, fewer than any ring holds. */
const WINDOW = 32;

/** A frame of `size` bytes that no other number has. */
export function frame(size: number, number: number, destination = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.set([...destination, 2, 0, 0, 0, 0xee, 1]);
  bytes.writeUInt16BE(ETHERTYPE, 12);
  for (let i = HEADER; i < size; i++) bytes[i] = (i * 31 + number * 17 + (i >> 8)) & 0xff;
  bytes.writeUInt32BE(number, HEADER);
  return bytes;
}

const numberOf = (bytes: Buffer) => bytes.readUInt32BE(HEADER);

export class Wire {
  private readonly incoming: Incoming;
  private last = 0;

  constructor(
    readonly name: string,
    private readonly socket: Socket,
  ) {
    this.incoming = new Incoming(socket, `wire of ${name}`);
  }

  send(bytes: Uint8Array): void {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    this.socket.write(Buffer.concat([length, bytes]));
  }

  /** The next frame of ours. @param etherType of those that are */
  async receive(ms: number, etherType = ETHERTYPE): Promise<Buffer> {
    const deadline = Date.now() + ms;
    for (;;) {
      const bytes = await this.incoming.take((all) => {
        const end = all.length < 4 ? Infinity : 4 + all.readUInt32BE(0);
        return all.length < end ? undefined : [all.subarray(4, end), end];
      }, deadline - Date.now());
      if (bytes.length > HEADER + 4 && bytes.readUInt16BE(12) === etherType) return bytes;
    }
  }

  /**
   * Sends `count` frames of each size and waits for each of them at `back`, unchanged and in order.
   * @throws Error that says what was lost or different
   */
  async pingPong(sizes: readonly number[], count: number, back: Wire = this, ms = 20_000): Promise<void> {
    for (const size of sizes) {
      for (let sent = 0; sent < count; sent += WINDOW) {
        const frames = Array.from({ length: Math.min(WINDOW, count - sent) }, () => frame(size, ++this.last));
        frames.forEach((bytes) => this.send(bytes));
        for (const bytes of frames) await this.expect(bytes, back, ms);
      }
    }
  }

  private async expect(sent: Buffer, back: Wire, ms: number): Promise<void> {
    const which = `frame ${numberOf(sent)} of ${sent.length} bytes`;
    const got = await back.receive(ms).catch((error: unknown) => {
      throw new Error(`${which}: sent, and not back (${(error as Error).message})`);
    });
    if (got.equals(sent)) return;
    const at = sent.findIndex((byte, i) => got[i] !== byte);
    throw new Error(`${which}: frame ${numberOf(got)} of ${got.length} bytes came back, different from byte ${at} on`);
  }
}
