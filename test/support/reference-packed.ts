/** The device's side of a packed ring (virtio 1.2 section 2.8): see reference-ring.ts. */
import {
  DESC_F_AVAIL,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_USED,
  DESC_F_WRITE,
  DESC_SIZE,
} from '../../paths/layout.js';
import {
  ReferenceRing,
  ReferenceSplitRing,
  type Buffer,
  type KickMode,
  type Piece,
  type RingTerms,
  type Used,
} from './reference-ring.js';

export class ReferencePackedRing extends ReferenceRing {
  private readonly desc: number;
  private availAt: number;
  private availWrap: number;
  usedAt: number;
  usedWrap: number;

  constructor(terms: RingTerms) {
    super(terms);
    this.desc = terms.ringOff + this.layout.desc;
    this.availAt = terms.start.index;
    this.availWrap = terms.start.wrap;
    this.usedAt = terms.start.index;
    this.usedWrap = terms.start.wrap;
  }

  protected next(): Buffer | undefined {
    const { view, terms } = this;
    const driver = terms.ringOff + this.layout.driver;
    const eventFlags = view.getUint16(driver + 2, true);
    this.require(eventFlags <= (terms.eventIdx ? 2 : 1), `driver event flags ${eventFlags}`);
    if (!this.isAvailable()) return undefined;
    const pieces: Piece[] = [];
    const ids = new Set(this.outstanding.map((buffer) => buffer.id));
    for (let descriptors = 1; ; descriptors++) {
      this.require(this.isAvailable(), `descriptor ${this.availAt} of a list is not available`);
      this.require(descriptors <= terms.size, 'a list longer than the queue');
      const at = this.desc + this.availAt * DESC_SIZE;
      const flags = view.getUint16(at + 14, true);
      this.checkFlags(flags, false);
      if (flags & DESC_F_INDIRECT) pieces.push(...this.readTable(this.table(at)));
      else pieces.push(this.piece(at));
      this.step();
      if (flags & DESC_F_NEXT) continue;
      const id = view.getUint16(at + 12, true);
      this.require(id < terms.size, `buffer id ${id} of ${terms.size}`);
      this.require(!ids.has(id), `buffer id ${id} is outstanding already`);
      return { id, descriptors, members: [], pieces };
    }
  }

  private isAvailable(): boolean {
    if (this.outstandingDescriptors === this.terms.size) return false;
    const flags = this.view.getUint16(this.desc + this.availAt * DESC_SIZE + 14, true);
    const avail = (flags & DESC_F_AVAIL) !== 0;
    const used = (flags & DESC_F_USED) !== 0;
    return avail === (this.availWrap === 1) && used !== avail;
  }

  private step(): void {
    if (++this.availAt < this.terms.size) return;
    this.availAt = 0;
    this.availWrap ^= 1;
  }

  private readTable(table: Piece): Piece[] {
    const pieces: Piece[] = [];
    for (let at = table.offset; at < table.offset + table.length; at += DESC_SIZE) {
      const flags = this.view.getUint16(at + 14, true);
      this.require((flags & ~DESC_F_WRITE) === 0, `flags 0x${flags.toString(16)} in an indirect table`);
      this.checkFlags(flags, true);
      pieces.push(this.piece(at));
    }
    return pieces;
  }

  /** Writes a used descriptor at `slot` (any of the ring's) under wrap counter `wrap`. */
  writeUsed(slot: number, wrap: number, id: number, length: number, writeFlag = !this.terms.tx): void {
    const at = this.desc + slot * DESC_SIZE;
    this.view.setUint16(at + 12, id, true);
    this.view.setUint32(at + 8, length, true);
    const flags = (wrap ? DESC_F_AVAIL | DESC_F_USED : 0) | (writeFlag ? DESC_F_WRITE : 0);
    this.view.setUint16(at + 14, flags, true);
  }

  /** Moves the used position on by `descriptors`. */
  advance(descriptors: number): void {
    this.usedAt += descriptors;
    if (this.usedAt < this.terms.size) return;
    this.usedAt -= this.terms.size;
    this.usedWrap ^= 1;
  }

  use(used: readonly Used[]): void {
    const writes = used.map(({ buffer, length }) => {
      this.forget(buffer);
      const write = [this.usedAt, this.usedWrap, buffer.id, length] as const;
      this.advance(buffer.descriptors);
      return write;
    });
    for (const write of writes.reverse()) this.writeUsed(...write); // the first one last: it shows them all
  }

  useBatch(buffers: readonly Buffer[]): void {
    if (buffers.length === 0) return;
    const { usedAt, usedWrap } = this;
    for (const buffer of buffers) {
      this.forget(buffer);
      this.advance(buffer.descriptors);
    }
    this.writeUsed(usedAt, usedWrap, buffers.at(-1)!.id, 0);
  }

  setKickMode(mode: KickMode): void {
    const device = this.terms.ringOff + this.layout.device;
    const flags = mode === 'always' ? 0 : mode === 'never' ? 1 : 2;
    const event = typeof mode === 'string' ? 0 : mode.at | (mode.wrap << 15);
    this.view.setUint16(device, event, true);
    this.view.setUint16(device + 2, flags, true);
  }
}

export function referenceRing(terms: RingTerms): ReferenceSplitRing | ReferencePackedRing {
  return terms.packed ? new ReferencePackedRing(terms) : new ReferenceSplitRing(terms);
}
