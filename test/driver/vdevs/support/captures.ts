/** Capture files, written and read slowly, field by field, in both formats and byte orders. */

/** Numbers behind each other, in one byte order. */
class Bytes {
  private readonly parts: Uint8Array[] = [];
  constructor(private readonly big: boolean) {}

  u16(value: number): this {
    const part = Buffer.alloc(2);
    if (this.big) part.writeUInt16BE(value);
    else part.writeUInt16LE(value);
    return this.raw(part);
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    if (this.big) part.writeUInt32BE(value >>> 0);
    else part.writeUInt32LE(value >>> 0);
    return this.raw(part);
  }

  raw(part: Uint8Array): this {
    this.parts.push(part);
    return this;
  }

  /** With zeros up to a multiple of four. */
  padded(part: Uint8Array): this {
    return this.raw(part).raw(new Uint8Array((4 - (part.length % 4)) % 4));
  }

  done(): Buffer {
    return Buffer.concat(this.parts);
  }
}

export interface PcapOptions {
  readonly big?: boolean;
  readonly nano?: boolean;
  readonly snaplen?: number;
  readonly linktype?: number;
  readonly magic?: number;
  readonly version?: readonly [number, number];
}

export function pcapFile(packets: readonly Uint8Array[], options: PcapOptions = {}): Buffer {
  const { big = false, nano = false, snaplen = 262144, linktype = 1, version = [2, 4] } = options;
  const magic = options.magic ?? (nano ? 0xa1b23c4d : 0xa1b2c3d4);
  const file = new Bytes(big).u32(magic).u16(version[0]).u16(version[1]).u32(0).u32(0).u32(snaplen).u32(linktype);
  packets.forEach((packet, i) => file.u32(i).u32(999).u32(packet.length).u32(packet.length).raw(packet));
  return file.done();
}

/** A block of a pcapng file. */
export type Block =
  | { readonly kind: 'section'; readonly big: boolean; readonly options?: Uint8Array }
  | { readonly kind: 'interface'; readonly linktype: number; readonly snaplen: number; readonly tsresol?: number }
  | { readonly kind: 'enhanced'; readonly id: number; readonly packet: Uint8Array; readonly options?: Uint8Array }
  | { readonly kind: 'old'; readonly id: number; readonly packet: Uint8Array }
  | { readonly kind: 'simple'; readonly packet: Uint8Array; readonly original?: number }
  | { readonly kind: 'unknown'; readonly type: number; readonly body: Uint8Array };

const NONE = new Uint8Array(0);

function bodyOf(block: Block, big: boolean): [type: number, body: Buffer] {
  const body = new Bytes(big);
  switch (block.kind) {
    case 'section':
      body
        .u32(0x1a2b3c4d)
        .u16(1)
        .u16(0)
        .u32(0xffffffff)
        .u32(0xffffffff)
        .padded(block.options ?? NONE);
      return [0x0a0d0d0a, body.done()];
    case 'interface':
      body.u16(block.linktype).u16(0).u32(block.snaplen);
      if (block.tsresol !== undefined) body.u16(9).u16(1).padded(Uint8Array.of(block.tsresol)).u32(0);
      return [1, body.done()];
    case 'enhanced':
      body
        .u32(block.id)
        .u32(7)
        .u32(8)
        .u32(block.packet.length)
        .u32(block.packet.length + 5);
      return [
        6,
        body
          .padded(block.packet)
          .padded(block.options ?? NONE)
          .done(),
      ];
    case 'old':
      body.u16(block.id).u16(3).u32(7).u32(8).u32(block.packet.length).u32(block.packet.length);
      return [2, body.padded(block.packet).done()];
    case 'simple':
      return [
        3,
        body
          .u32(block.original ?? block.packet.length)
          .padded(block.packet)
          .done(),
      ];
    case 'unknown':
      return [block.type, body.padded(block.body).done()];
  }
}

export function pcapngFile(blocks: readonly Block[]): Buffer {
  let big = false;
  return Buffer.concat(
    blocks.map((block) => {
      if (block.kind === 'section') big = block.big;
      const [type, body] = bodyOf(block, big);
      return new Bytes(big)
        .u32(type)
        .u32(body.length + 12)
        .raw(body)
        .u32(body.length + 12)
        .done();
    }),
  );
}

/** A packet of `length` bytes that no other has with another `seed`. ava compares Buffers in a fraction of the time of arrays. */
export function packetOf(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed * 31 + (i >> 8)) & 0xff));
}
