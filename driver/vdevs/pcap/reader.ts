/**
 * Reads the packets of a capture file, pcap or pcapng in either byte order, one after the other. `peek` finds the next packet,
 * `take` goes on behind it: a packet for which there is no mbuf stays the next one.
 *
 * Time stamps are not read: an mbuf has no place for them. A file that is damaged, or cut, ends there.
 */
import { fstatSync } from 'node:fs';
import {
  BYTE_ORDER_MAGIC,
  ENHANCED_PACKET,
  INTERFACE_DESCRIPTION,
  LINKTYPE_ETHERNET,
  MAX_PACKET,
  MIN_BLOCK,
  MIN_ENHANCED_PACKET,
  MIN_INTERFACE_DESCRIPTION,
  MIN_SECTION_HEADER,
  MIN_SIMPLE_PACKET,
  PACKET,
  PCAP_HEADER,
  PCAP_RECORD,
  SECTION_HEADER,
  SIMPLE_PACKET,
} from './format.js';
import {
  BIG_ENDIAN,
  DELIVERED,
  FD,
  FINISHED,
  FORMAT,
  INTERFACES,
  MAX_INTERFACES,
  PCAP,
  POSITION,
  SIZE,
  SNAPLEN,
  type CaptureState,
} from './state.js';
import { BAD_RECORD, BAD_VERSION, CUT, errnoNumber, noteTrouble, READ_FAILED, TOO_MANY_INTERFACES } from './trouble.js';
import { BEYOND, FileWindow, LATER, WINDOW_BYTES } from './window.js';

/** Answers of `peek`: there is a packet; not in this burst; never again. */
export type Found = 'packet' | 'later' | 'end';
/** Of one step: something that is no packet was skipped, or the file ends here. */
type Step = Found | 'skipped';

export class CaptureReader {
  /** The packet that `peek` has found: its bytes are `length` bytes of `window` from `at` on. */
  at = 0;
  length = 0;
  /** Whether its interface is Ethernet. */
  isEthernet = true;
  readonly window: FileWindow;
  /** Where the packet's record ends in the file. */
  private following = 0;

  /** @param infinite after the last packet the first one follows, if there was any */
  constructor(
    private readonly state: CaptureState,
    private readonly infinite: boolean,
  ) {
    this.window = new FileWindow(state);
  }

  /** A burst begins. */
  begin(): void {
    this.window.begin();
  }

  /** Finds the next packet. Never throws. */
  peek(): Found {
    const { words } = this.state;
    for (;;) {
      if (words[FINISHED] !== 0) return 'end';
      let step: Step;
      try {
        step = words[FORMAT] === PCAP ? this.record() : this.block();
      } catch (error) {
        step = this.fail(READ_FAILED, errnoNumber(error));
      }
      if (step === 'packet' || step === 'later') return step;
      if (step === 'end') this.finish();
    }
  }

  /** Goes on behind the packet that was found. @param delivered whether it was received, or dropped */
  take(delivered: boolean): void {
    if (delivered) this.state.words[DELIVERED] = 1;
    this.state.doubles[POSITION] = this.following;
  }

  private finish(): void {
    const { words, doubles } = this.state;
    if (!this.infinite || words[DELIVERED] === 0) {
      words[FINISHED] = 1;
      return;
    }
    words[DELIVERED] = 0;
    doubles[POSITION] = words[FORMAT] === PCAP ? PCAP_HEADER : 0;
  }

  private fail(code: number, errno = 0): 'end' {
    noteTrouble(this.state, code, errno);
    return 'end';
  }

  /** `length` bytes at `position`, or why there are none. At `position` itself a file may end. */
  private read(position: number, length: number): number | 'later' | 'end' {
    let index = this.window.at(position, length);
    if (index === BEYOND && !this.infinite && this.hasGrown()) index = this.window.at(position, length);
    if (index === LATER) return 'later';
    if (index !== BEYOND) return index;
    return position >= this.state.doubles[SIZE]! ? 'end' : this.fail(CUT);
  }

  /** Whether somebody has written to the file meanwhile. */
  private hasGrown(): boolean {
    const { words, doubles } = this.state;
    const { size } = fstatSync(words[FD]!);
    if (size <= doubles[SIZE]!) return false;
    doubles[SIZE] = size;
    return true;
  }

  private u32(index: number): number {
    return this.window.view.getUint32(index, this.state.words[BIG_ENDIAN] === 0);
  }

  private u16(index: number): number {
    return this.window.view.getUint16(index, this.state.words[BIG_ENDIAN] === 0);
  }

  /** The next record of a pcap file. */
  private record(): Step {
    const { words, doubles } = this.state;
    const position = doubles[POSITION]!;
    const header = this.read(position, PCAP_RECORD);
    if (typeof header === 'string') return header;
    const captured = this.u32(header + 8);
    if (captured > MAX_PACKET) return this.fail(BAD_RECORD);
    const record = this.read(position, PCAP_RECORD + captured);
    if (typeof record === 'string') return record;
    this.at = record + PCAP_RECORD;
    this.length = Math.min(captured, words[SNAPLEN]!);
    this.isEthernet = true;
    this.following = position + PCAP_RECORD + captured;
    return 'packet';
  }

  /** The next block of a pcapng file. */
  private block(): Step {
    const { doubles } = this.state;
    const position = doubles[POSITION]!;
    const header = this.read(position, MIN_BLOCK);
    if (typeof header === 'string') return header;
    const type = this.u32(header);
    if (type === SECTION_HEADER && !this.setByteOrder(header)) return this.fail(BAD_RECORD);
    const total = this.u32(header + 4);
    if (total < MIN_BLOCK || total % 4 !== 0) return this.fail(BAD_RECORD);
    this.following = position + total;
    switch (type) {
      case SECTION_HEADER:
        return this.section(position, total);
      case INTERFACE_DESCRIPTION:
        return this.interface(position, total);
      case ENHANCED_PACKET:
      case PACKET:
        return this.packet(position, total, type === PACKET);
      case SIMPLE_PACKET:
        return this.simplePacket(position, total);
      default:
        return this.skip();
    }
  }

  /** Goes on behind a block; when the file ends in it, the next step says so. */
  private skip(): 'skipped' | 'end' {
    const { doubles } = this.state;
    if (this.following > doubles[SIZE]! && (this.infinite || !this.hasGrown() || this.following > doubles[SIZE]!)) {
      return this.fail(CUT);
    }
    doubles[POSITION] = this.following;
    return 'skipped';
  }

  /** Sets the byte order of a section. @returns false when its header has neither */
  private setByteOrder(header: number): boolean {
    const isBig = this.window.view.getUint32(header + 8) === BYTE_ORDER_MAGIC;
    this.state.words[BIG_ENDIAN] = isBig ? 1 : 0;
    return this.u32(header + 8) === BYTE_ORDER_MAGIC;
  }

  private section(position: number, total: number): Step {
    if (total < MIN_SECTION_HEADER) return this.fail(BAD_RECORD);
    const block = this.read(position, MIN_SECTION_HEADER);
    if (typeof block === 'string') return block;
    if (this.u16(block + 12) !== 1) return this.fail(BAD_VERSION);
    this.state.words[INTERFACES] = 0;
    return this.skip();
  }

  private interface(position: number, total: number): Step {
    const { words, ethernet } = this.state;
    if (total < MIN_INTERFACE_DESCRIPTION) return this.fail(BAD_RECORD);
    const block = this.read(position, MIN_INTERFACE_DESCRIPTION);
    if (typeof block === 'string') return block;
    const id = words[INTERFACES]!;
    if (id === MAX_INTERFACES) return this.fail(TOO_MANY_INTERFACES);
    const bit = 1 << (id & 7);
    if (this.u16(block + 8) === LINKTYPE_ETHERNET) ethernet[id >> 3]! |= bit;
    else ethernet[id >> 3]! &= ~bit;
    if (id === 0) words[SNAPLEN] = snaplenOf(this.u32(block + 12));
    words[INTERFACES] = id + 1;
    return this.skip();
  }

  /** An Enhanced Packet Block, or the Packet Block of old: only the number of its interface is shorter. */
  private packet(position: number, total: number, old: boolean): Step {
    const block = this.wholeBlock(position, total, MIN_ENHANCED_PACKET);
    if (typeof block === 'string') return block;
    const captured = this.u32(block + 20);
    const id = old ? this.u16(block + 8) : this.u32(block + 8);
    return this.found(block, 28, captured, total, id);
  }

  private simplePacket(position: number, total: number): Step {
    const block = this.wholeBlock(position, total, MIN_SIMPLE_PACKET);
    if (typeof block === 'string') return block;
    const captured = Math.min(this.u32(block + 8), this.state.words[SNAPLEN]!);
    return this.found(block, 12, captured, total, 0);
  }

  private wholeBlock(position: number, total: number, least: number): number | 'later' | 'end' {
    if (total < least || total > WINDOW_BYTES) return this.fail(BAD_RECORD);
    const block = this.read(position, total);
    if (typeof block === 'number' && this.u32(block + total - 4) !== total) return this.fail(BAD_RECORD);
    return block;
  }

  private found(block: number, data: number, captured: number, total: number, id: number): Step {
    const { words, ethernet } = this.state;
    const fits = captured <= MAX_PACKET && data + captured + 4 <= total;
    if (!fits || id >= words[INTERFACES]!) return this.fail(BAD_RECORD);
    this.at = block + data;
    this.length = captured;
    this.isEthernet = (ethernet[id >> 3]! & (1 << (id & 7))) !== 0;
    return 'packet';
  }
}

/** The limit of packets' lengths by a file's number: 0 is none, and so is one that is larger than any packet. */
export function snaplenOf(snaplen: number): number {
  return snaplen === 0 || snaplen > MAX_PACKET ? MAX_PACKET : snaplen;
}
