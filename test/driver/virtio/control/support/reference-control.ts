/**
 * The device's side of a control virtqueue, as slow and as obvious as possible: it checks every command against the rules
 * for drivers (virtio 1.2 sections 2.7, 2.8 and 5.1.6.5), and answers when a test says so.
 */
import { viewsOf, type Mapping } from '../../../../../native/region.js';
import type { QueueSetup } from '../../../../../driver/virtio/transport.js';
import {
  DESC_F_AVAIL,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_USED,
  DESC_F_WRITE,
  DESC_SIZE,
} from '../../../../../paths/layout.js';

export interface ControlTerms {
  readonly mapping: Mapping;
  /** Device address of the mapping's first byte. */
  readonly addressBase: bigint;
  readonly setup: QueueSetup;
  readonly packed: boolean;
  readonly eventIdx: boolean;
}

/** A command that the driver made available. */
export interface TakenCommand {
  readonly id: number;
  readonly descriptors: number;
  readonly class: number;
  readonly command: number;
  readonly args: readonly Uint8Array[];
  /** Where the answer goes, from the mapping's first byte. */
  readonly ack: number;
}

interface Descriptor {
  readonly offset: number;
  readonly length: number;
  readonly flags: number;
  /** Split: the next descriptor. Packed: the buffer id. */
  readonly link: number;
}

export abstract class ReferenceControl {
  readonly view: DataView;

  constructor(readonly terms: ControlTerms) {
    this.view = new DataView(viewsOf(terms.mapping).u8.buffer, 0, terms.mapping.byteLength);
  }

  /** The next command, or undefined. */
  abstract take(): TakenCommand | undefined;

  /** Answers a command. Tests that lie name another id. */
  use(taken: TakenCommand, ack: number | undefined, id = taken.id, length = 1): void {
    if (ack !== undefined) this.view.setUint8(taken.ack, ack);
    this.writeUsed(taken, id, length);
  }

  /** What NOTIFICATION_DATA has to say now. */
  abstract get position(): number;

  protected abstract writeUsed(taken: TakenCommand, id: number, length: number): void;

  protected descriptor(index: number): Descriptor {
    const { setup, addressBase, mapping, packed } = this.terms;
    const at = setup.desc + index * DESC_SIZE;
    const offset = Number(this.view.getBigUint64(at, true) - addressBase);
    const length = this.view.getUint32(at + 8, true);
    this.require(offset >= 0 && offset + length <= mapping.byteLength, `descriptor ${index} is outside the memory`);
    this.require(length > 0, `descriptor ${index} has no length`);
    const [first, second] = [this.view.getUint16(at + 12, true), this.view.getUint16(at + 14, true)];
    return packed ? { offset, length, link: first, flags: second } : { offset, length, flags: first, link: second };
  }

  /** Header, arguments, one byte for the answer. */
  protected command(id: number, chain: readonly Descriptor[]): TakenCommand {
    this.require(chain.length >= 2, `a chain of ${chain.length}`);
    const [header, ...args] = chain.slice(0, -1);
    const ack = chain.at(-1)!;
    this.require(header!.length === 2, `a header of ${header!.length} bytes`);
    this.require(ack.length === 1 && (ack.flags & DESC_F_WRITE) !== 0, 'the last descriptor is not a byte to write to');
    for (const { flags } of [header!, ...args]) this.require((flags & DESC_F_WRITE) === 0, 'an argument to write to');
    for (const { flags } of chain) this.require((flags & DESC_F_INDIRECT) === 0, 'an indirect descriptor');
    const bytes = ({ offset, length }: Descriptor) => new Uint8Array(this.view.buffer, offset, length).slice();
    const [commandClass, command] = bytes(header!);
    return {
      id,
      descriptors: chain.length,
      class: commandClass!,
      command: command!,
      args: args.map(bytes),
      ack: ack.offset,
    };
  }

  protected require(holds: boolean, what: string): void {
    if (!holds) throw new Error(`the driver broke a rule: ${what}`);
  }
}

class SplitControl extends ReferenceControl {
  private availIdx = 0;
  private usedIdx = 0;
  private nextHead = 0;

  get position(): number {
    return this.view.getUint16(this.terms.setup.driver + 2, true);
  }

  take(): TakenCommand | undefined {
    const { setup, eventIdx } = this.terms;
    const { view } = this;
    this.require(view.getUint16(setup.driver, true) === (eventIdx ? 0 : 1), 'the flags of the avail ring');
    const ahead = (this.position - this.availIdx) & 0xffff;
    this.require(ahead <= 1, `avail idx is ${ahead} ahead`);
    if (ahead === 0) return undefined;
    const head = view.getUint16(setup.driver + 4 + 2 * (this.availIdx % setup.size), true);
    this.availIdx = (this.availIdx + 1) & 0xffff;
    const chain: Descriptor[] = [];
    for (let id = head; ;) {
      this.require(id === this.nextHead, `descriptor ${id} where ${this.nextHead} is in order`);
      this.nextHead = (id + 1) % setup.size;
      const descriptor = this.descriptor(id);
      chain.push(descriptor);
      this.require(chain.length <= setup.size, 'a chain longer than the ring');
      if ((descriptor.flags & DESC_F_NEXT) === 0) return this.command(head, chain);
      id = descriptor.link;
    }
  }

  protected writeUsed(_: TakenCommand, id: number, length: number): void {
    const { setup } = this.terms;
    const at = setup.device + 4 + 8 * (this.usedIdx % setup.size);
    this.view.setUint32(at, id, true);
    this.view.setUint32(at + 4, length, true);
    this.advance(1);
  }

  advance(by: number): void {
    this.usedIdx = (this.usedIdx + by) & 0xffff;
    this.view.setUint16(this.terms.setup.device + 2, this.usedIdx, true);
  }
}

class PackedControl extends ReferenceControl {
  private at = 0;
  private wrap = 1;

  get position(): number {
    return this.at | (this.wrap << 15);
  }

  take(): TakenCommand | undefined {
    const { setup } = this.terms;
    this.require(this.view.getUint16(setup.driver + 2, true) === 1, 'the driver event flags');
    if (!this.isAvailable()) return undefined;
    const chain: Descriptor[] = [];
    for (;;) {
      this.require(this.isAvailable(), `descriptor ${this.at} of a list is not available`);
      const descriptor = this.descriptor(this.at);
      chain.push(descriptor);
      this.require(chain.length <= setup.size, 'a list longer than the ring');
      if (++this.at === setup.size) {
        this.at = 0;
        this.wrap ^= 1;
      }
      if ((descriptor.flags & DESC_F_NEXT) !== 0) continue;
      this.require(descriptor.link < setup.size, `buffer id ${descriptor.link}`);
      return this.command(descriptor.link, chain);
    }
  }

  private isAvailable(): boolean {
    const flags = this.view.getUint16(this.terms.setup.desc + this.at * DESC_SIZE + 14, true);
    const avail = (flags & DESC_F_AVAIL) !== 0;
    const used = (flags & DESC_F_USED) !== 0;
    return avail === (this.wrap === 1) && used !== avail;
  }

  /** A used descriptor where the list began; with only AVAIL and USED in its flags, as QEMU leaves it. */
  protected writeUsed(taken: TakenCommand, id: number, length: number): void {
    const { setup } = this.terms;
    const back = this.at - taken.descriptors;
    const slot = back < 0 ? back + setup.size : back;
    const wrap = back < 0 ? this.wrap ^ 1 : this.wrap;
    const at = setup.desc + slot * DESC_SIZE;
    this.view.setUint16(at + 12, id, true);
    this.view.setUint32(at + 8, length, true);
    this.view.setUint16(at + 14, wrap === 1 ? DESC_F_AVAIL | DESC_F_USED : 0, true);
  }
}

export function referenceControl(terms: ControlTerms): ReferenceControl {
  return terms.packed ? new PackedControl(terms) : new SplitControl(terms);
}

/** For tests that lie: moves the used index of a split ring by `by`. */
export function advanceUsed(device: ReferenceControl, by: number): void {
  if (!(device instanceof SplitControl)) throw new Error('only split rings have a used index');
  device.advance(by);
}
