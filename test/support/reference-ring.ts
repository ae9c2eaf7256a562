/**
 * The device's side of one virtqueue, as slow and as obvious as possible: it takes what the driver makes available,
 * checks it against every rule for drivers that can be seen from here (virtio 1.2 sections 2.7 and 2.8), and uses it
 * in whatever order and grouping a test wants. It shares nothing with the paths it tests but the layout constants.
 */
import { viewsOf, type Mapping } from '../../native/region.js';
import {
  DESC_F_AVAIL,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_USED,
  DESC_F_WRITE,
  DESC_SIZE,
  packedLayout,
  splitLayout,
  type RingLayout,
} from '../../paths/layout.js';

/** The driver broke a rule. */
export class Violation extends Error {}

/** What both sides know about the queue. */
export interface RingTerms {
  readonly mapping: Mapping;
  /** Device address of the mapping's first byte. */
  readonly addressBase: bigint;
  readonly packed: boolean;
  readonly size: number;
  readonly ringOff: number;
  /** A transmit queue: everything is readable. A receive queue: everything is writable. */
  readonly tx: boolean;
  readonly inOrder: boolean;
  readonly indirect: boolean;
  readonly eventIdx: boolean;
  /** Descriptors that the driver may have outstanding. */
  readonly nbDesc: number;
  /** Where both sides begin: split an index, packed an index and wrap counter. */
  readonly start: { readonly index: number; readonly wrap: number };
}

/** A piece of memory that a descriptor refers to; `offset` counts from the mapping's first byte. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

/** A buffer (descriptor chain) that the driver made available. */
export interface Buffer {
  readonly id: number;
  /** Ring descriptors that it takes. */
  readonly descriptors: number;
  /** Split: their numbers. */
  readonly members: readonly number[];
  readonly pieces: readonly Piece[];
}

export interface Used {
  readonly buffer: Buffer;
  readonly length: number;
}

/** When the device wants to be told: always, never, or (EVENT_IDX) when this descriptor index is reached. */
export type KickMode = 'always' | 'never' | { readonly at: number; readonly wrap: number };

export abstract class ReferenceRing {
  readonly view: DataView;
  protected readonly layout: RingLayout;
  /** Buffers taken and not used, oldest first. */
  readonly outstanding: Buffer[] = [];
  protected outstandingDescriptors = 0;

  constructor(readonly terms: RingTerms) {
    const { buffer } = viewsOf(terms.mapping).u8;
    this.view = new DataView(buffer, 0, terms.mapping.byteLength);
    this.layout = terms.packed ? packedLayout(terms.size) : splitLayout(terms.size);
  }

  /** The next buffer that the driver made available, or undefined. */
  take(): Buffer | undefined {
    const buffer = this.next();
    if (buffer === undefined) return undefined;
    this.outstanding.push(buffer);
    this.outstandingDescriptors += buffer.descriptors;
    const { nbDesc, tx } = this.terms;
    this.require(this.outstandingDescriptors <= nbDesc, `${this.outstandingDescriptors} descriptors of ${nbDesc}`);
    if (!tx) this.requireDisjoint(buffer);
    return buffer;
  }

  /** Everything that is available now. */
  takeAll(): Buffer[] {
    const buffers: Buffer[] = [];
    for (let buffer = this.take(); buffer !== undefined; buffer = this.take()) buffers.push(buffer);
    return buffers;
  }

  /** Uses buffers, each with an entry of its own, and shows them to the driver all at once. */
  abstract use(used: readonly Used[]): void;

  /** IN_ORDER: uses several buffers, the oldest ones, with one entry that names the last of them. */
  abstract useBatch(buffers: readonly Buffer[]): void;

  abstract setKickMode(mode: KickMode): void;

  protected abstract next(): Buffer | undefined;

  protected forget(buffer: Buffer): void {
    const at = this.outstanding.indexOf(buffer);
    if (at < 0) throw new Error('the test used a buffer that is not outstanding');
    if (this.terms.inOrder && at !== 0) throw new Error('the test used a buffer out of order');
    this.outstanding.splice(at, 1);
    this.outstandingDescriptors -= buffer.descriptors;
  }

  /** A driver may give a device the same memory twice for reading, but not for writing. */
  private requireDisjoint(buffer: Buffer): void {
    for (const other of this.outstanding) {
      if (other === buffer) continue;
      for (const a of buffer.pieces) {
        for (const b of other.pieces) {
          const apart = a.offset + a.length <= b.offset || b.offset + b.length <= a.offset;
          this.require(apart, `buffers ${buffer.id} and ${other.id} overlap`);
        }
      }
    }
  }

  protected piece(at: number): Piece {
    const address = this.view.getBigUint64(at, true);
    return this.locate(address, this.view.getUint32(at + 8, true));
  }

  private locate(address: bigint, length: number): Piece {
    const { addressBase, mapping } = this.terms;
    const offset = Number(address - addressBase);
    const inside = offset >= 0 && offset + length <= mapping.byteLength;
    this.require(inside, `address 0x${address.toString(16)} length ${length} is outside the memory`);
    this.require(length > 0, 'a descriptor has no length');
    return { offset, length };
  }

  /** The flags of a descriptor without its NEXT (and wrap) bits: WRITE by direction, INDIRECT by negotiation. */
  protected checkFlags(flags: number, insideTable: boolean): void {
    const { tx, indirect } = this.terms;
    const rest = flags & ~(DESC_F_NEXT | DESC_F_WRITE | DESC_F_INDIRECT | DESC_F_AVAIL | DESC_F_USED);
    this.require(rest === 0, `flags 0x${flags.toString(16)} have unknown bits`);
    if (flags & DESC_F_INDIRECT) {
      this.require(indirect, 'INDIRECT was not negotiated');
      this.require(!insideTable, 'INDIRECT inside an indirect table');
      this.require((flags & DESC_F_NEXT) === 0, 'INDIRECT together with NEXT');
    } else {
      this.require(((flags & DESC_F_WRITE) !== 0) === !tx, `WRITE is ${tx ? 'set on Tx' : 'missing on Rx'}`);
    }
  }

  protected table(at: number): Piece {
    const table = this.piece(at);
    this.require(table.length % DESC_SIZE === 0, `an indirect table of ${table.length} bytes`);
    this.require(table.length / DESC_SIZE <= this.terms.size, 'an indirect table longer than the queue');
    return table;
  }

  protected require(holds: boolean, what: string): void {
    if (!holds) throw new Violation(what);
  }
}

export class ReferenceSplitRing extends ReferenceRing {
  private readonly desc: number;
  private readonly avail: number;
  private readonly used: number;
  private lastAvail: number;
  usedIdx: number;
  /** Descriptor tables of outstanding chains, to see whether the driver touches them. */
  private readonly snapshots = new Map<number, string>();
  /** IN_ORDER: the descriptor at which the next chain has to begin. */
  private expectedHead: number;

  constructor(terms: RingTerms) {
    super(terms);
    this.desc = terms.ringOff + this.layout.desc;
    this.avail = terms.ringOff + this.layout.driver;
    this.used = terms.ringOff + this.layout.device;
    this.lastAvail = terms.start.index;
    this.usedIdx = terms.start.index;
    this.expectedHead = terms.start.index % terms.size;
  }

  protected next(): Buffer | undefined {
    const { view, terms } = this;
    const flags = view.getUint16(this.avail, true);
    this.require(flags <= (terms.eventIdx ? 0 : 1), `avail flags ${flags}`);
    const ahead = (view.getUint16(this.avail + 2, true) - this.lastAvail) & 0xffff;
    const possible = terms.size - this.outstanding.length;
    this.require(ahead <= possible, `avail idx is ${ahead} ahead where ${possible} are possible`);
    if (ahead === 0) return undefined;
    const head = view.getUint16(this.avail + 4 + 2 * (this.lastAvail % terms.size), true);
    this.lastAvail = (this.lastAvail + 1) & 0xffff;
    return this.walk(head);
  }

  private walk(head: number): Buffer {
    const { view, terms } = this;
    const members: number[] = [];
    const pieces: Piece[] = [];
    if (terms.inOrder) this.require(head === this.expectedHead, `head ${head} where ${this.expectedHead} is in order`);
    for (let id = head; ;) {
      this.require(id < terms.size, `descriptor ${id} of ${terms.size}`);
      this.require(!members.includes(id), `the chain at ${head} loops`);
      this.require(!this.snapshots.has(id), `descriptor ${id} is outstanding already`);
      members.push(id);
      const at = this.desc + id * DESC_SIZE;
      const flags = view.getUint16(at + 12, true);
      this.require((flags & (DESC_F_AVAIL | DESC_F_USED)) === 0, 'packed flags in a split ring');
      this.checkFlags(flags, false);
      if (flags & DESC_F_INDIRECT) pieces.push(...this.walkTable(this.table(at)));
      else pieces.push(this.piece(at));
      if ((flags & DESC_F_NEXT) === 0) break;
      const following = view.getUint16(at + 14, true);
      if (terms.inOrder) this.require(following === (id + 1) % terms.size, `next of ${id} is ${following} in order`);
      id = following;
    }
    for (const id of members) this.snapshots.set(id, this.snapshot(id));
    this.expectedHead = (head + members.length) % terms.size;
    return { id: head, descriptors: members.length, members, pieces };
  }

  private walkTable(table: Piece): Piece[] {
    const { view, terms } = this;
    const count = table.length / DESC_SIZE;
    const pieces: Piece[] = [];
    for (let i = 0, steps = 0; ; steps++) {
      this.require(i < count, `next ${i} in a table of ${count}`);
      this.require(steps < count, 'an indirect table loops');
      const at = table.offset + i * DESC_SIZE;
      const flags = view.getUint16(at + 12, true);
      this.checkFlags(flags, true);
      pieces.push(this.piece(at));
      if ((flags & DESC_F_NEXT) === 0) return pieces;
      const following = view.getUint16(at + 14, true);
      if (terms.inOrder) this.require(following === i + 1, 'an indirect table out of order');
      i = following;
    }
  }

  private snapshot(id: number): string {
    const at = this.desc + id * DESC_SIZE;
    return `${this.view.getBigUint64(at, true)} ${this.view.getBigUint64(at + 8, true)}`;
  }

  protected override forget(buffer: Buffer): void {
    super.forget(buffer);
    for (const id of buffer.members) {
      const same = this.snapshots.get(id) === this.snapshot(id);
      this.require(same, `the driver changed descriptor ${id} while it was outstanding`);
      this.snapshots.delete(id);
    }
  }

  /** Writes a used entry `ahead` of the index, without moving that. */
  writeEntry(ahead: number, id: number, length: number): void {
    const at = this.used + 4 + 8 * (((this.usedIdx + ahead) & 0xffff) % this.terms.size);
    this.view.setUint32(at, id, true);
    this.view.setUint32(at + 4, length, true);
  }

  /** Moves the used index by `by`. */
  advance(by: number): void {
    this.usedIdx = (this.usedIdx + by) & 0xffff;
    this.view.setUint16(this.used + 2, this.usedIdx, true);
  }

  use(used: readonly Used[]): void {
    used.forEach(({ buffer, length }, i) => {
      this.forget(buffer);
      this.writeEntry(i, buffer.id, length);
    });
    this.advance(used.length);
  }

  /** The entry goes where the first one would have gone; the index moves by the size of the batch. */
  useBatch(buffers: readonly Buffer[]): void {
    if (buffers.length === 0) return;
    buffers.forEach((buffer) => this.forget(buffer));
    this.writeEntry(0, buffers.at(-1)!.id, 0);
    this.advance(buffers.length);
  }

  setKickMode(mode: KickMode): void {
    const { view, terms } = this;
    const availEvent = this.used + 4 + 8 * terms.size;
    if (terms.eventIdx) {
      // The flag has no meaning then. "Always" and "never" are indices just ahead and just behind.
      const at = mode === 'always' ? this.lastAvail : mode === 'never' ? (this.lastAvail - 1) & 0xffff : mode.at;
      view.setUint16(availEvent, at, true);
    } else {
      view.setUint16(this.used, mode === 'never' ? 1 : 0, true);
    }
  }
}

/** The bytes of a readable buffer. */
export function gather(ring: ReferenceRing, buffer: Buffer): Uint8Array {
  const total = buffer.pieces.reduce((sum, piece) => sum + piece.length, 0);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const { offset, length } of buffer.pieces) {
    bytes.set(new Uint8Array(ring.view.buffer, offset, length), at);
    at += length;
  }
  return bytes;
}

/** Writes `bytes` into a writable buffer, as many as fit. @returns how many. */
export function scatter(ring: ReferenceRing, buffer: Buffer, bytes: Uint8Array): number {
  let at = 0;
  for (const { offset, length } of buffer.pieces) {
    const part = bytes.subarray(at, at + length);
    new Uint8Array(ring.view.buffer, offset, length).set(part);
    at += part.length;
  }
  return at;
}

export const capacity = (buffer: Buffer) => buffer.pieces.reduce((sum, piece) => sum + piece.length, 0);
