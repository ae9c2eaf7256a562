/** Shared by both directions of a split ring, on the device's side: its parts, our position, notifications. */
import { fence } from '../../native/order.js';
import { signalPeer } from '../../native/peer-event.js';
import { splitNeedsNotify } from '../kick.js';
import { DESC_SIZE, USED_F_NO_NOTIFY } from '../layout.js';
import { KICKS, KICKS_SUPPRESSED } from '../stats.js';
import { AVAIL_JUMPED, brokenReason, Chain } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import { PoolAccess } from './pool-access.js';
import { BROKEN, CALL_FD, POSITION, type RingDescription, type RingState } from './ring-state.js';

export class SplitRing {
  readonly stats: Float64Array;

  /** Descriptor table: `descU32[desc]` is its first word. */
  protected readonly descU32: Uint32Array;
  protected readonly desc: number;
  /** Avail ring: `availU16[avail]` is its flags, then idx, then the entries. */
  protected readonly availU16: Uint16Array;
  protected readonly avail: number;
  /** Used ring: `usedU16[usedFlags]`, idx behind it; `usedU32[usedEntries]` is the id of entry 0. */
  protected readonly usedU16: Uint16Array;
  protected readonly usedFlags: number;
  protected readonly usedU32: Uint32Array;
  protected readonly usedEntries: number;
  protected readonly chain: Chain;
  protected readonly access: PoolAccess;
  /**
   * Buffers consumed when the current burst began, modulo 2^16: the index of avail and used side, as we use them in order. Never
   * read from the guest's memory.
   */
  protected position = 0;

  private readonly words: Int32Array;

  /** @param direction DESC_F_WRITE when we write into the buffers, or 0. */
  constructor(
    readonly spec: RingDescription,
    readonly state: RingState,
    protected readonly memory: GuestMemory,
    direction: number,
  ) {
    const { size } = spec;
    const { desc, avail, used } = splitParts(spec, memory);
    this.words = state.words;
    this.stats = state.stats;
    this.descU32 = desc.views.u32;
    this.desc = desc.offset >>> 2;
    this.availU16 = avail.views.u16;
    this.avail = avail.offset >>> 1;
    this.usedU16 = used.views.u16;
    this.usedFlags = used.offset >>> 1;
    this.usedU32 = used.views.u32;
    this.usedEntries = (used.offset + 4) >>> 2;
    this.chain = new Chain(memory, size, direction, spec.indirect);
    this.access = new PoolAccess(memory, direction);
  }

  /** Offset of the avail event in `usedU16`. */
  private get availEvent(): number {
    return this.usedFlags + 2 + this.spec.size * 4;
  }

  hasWork(): boolean {
    return this.offered() !== 0;
  }

  /** Never more than the ring has, even when the guest says so. */
  offered(): number {
    if (this.isBroken) return 0;
    const offered = (Atomics.load(this.availU16, this.avail + 1) - this.words[POSITION]!) & 0xffff;
    return offered < this.spec.size ? offered : this.spec.size;
  }

  awaitKick(): boolean {
    if (this.isBroken) return false;
    if (this.spec.eventIdx) this.usedU16[this.availEvent] = this.words[POSITION]!;
    else this.usedU16[this.usedFlags] = 0;
    fence();
    return this.hasWork();
  }

  ignoreKicks(): void {
    suppressKicks(this.spec, this.usedU16, this.usedFlags, this.words[POSITION]!);
  }

  protected get isBroken(): boolean {
    return this.words[BROKEN] !== 0;
  }

  /** Begins a burst. @returns buffers that the guest has made available and we have not used; 0 when the ring is (now) broken. */
  protected pending(): number {
    const { words } = this;
    if (words[BROKEN] !== 0) return 0;
    const position = words[POSITION]!;
    this.position = position;
    const idx = Atomics.load(this.availU16, this.avail + 1); // observe
    const pending = (idx - position) & 0xffff;
    if (pending <= this.spec.size) return pending;
    this.giveUp(AVAIL_JUMPED);
    return 0;
  }

  protected giveUp(code: number): void {
    this.state.fail(brokenReason(code));
  }

  /** Publishes the next `n` used entries, which are written already, and notifies the guest if it wants that. */
  protected publish(n: number): void {
    const { words } = this;
    const before = this.position;
    const after = (before + n) & 0xffff;
    words[POSITION] = after;
    Atomics.store(this.usedU16, this.usedFlags + 1, after); // publish
    const callFd = words[CALL_FD]!;
    if (callFd < 0) return;
    const { eventIdx, size } = this.spec;
    // the store above and this load are sequentially consistent: the fence in between is part of them
    const word = Atomics.load(this.availU16, eventIdx ? this.avail + 2 + size : this.avail);
    if (!splitNeedsNotify(eventIdx, word, after, before)) this.stats[KICKS_SUPPRESSED]!++;
    else if (signalPeer(callFd)) this.stats[KICKS]!++;
  }
}

/** The ring's three parts. @throws VirtioPmdError EPEER when one is misaligned or does not lie in the memory */
function splitParts({ index, size, eventIdx, ...spec }: RingDescription, memory: GuestMemory) {
  const event = eventIdx ? 2 : 0;
  return {
    desc: memory.ring(spec.descAddr, size * DESC_SIZE, 16, `descriptor table of ring ${index}`),
    avail: memory.ring(spec.driverAddr, 4 + size * 2 + event, 2, `avail ring of ring ${index}`),
    used: memory.ring(spec.deviceAddr, 4 + size * 8 + event, 4, `used ring of ring ${index}`),
  };
}

/**
 * We poll, so the driver need not kick. With EVENT_IDX the flag must stay 0 (2.7.10); the event index is then set to a value
 * that idx passes once in 65536 buffers.
 */
function suppressKicks({ eventIdx, size }: RingDescription, usedU16: Uint16Array, flags: number, position: number) {
  usedU16[flags] = eventIdx ? 0 : USED_F_NO_NOTIFY;
  if (eventIdx) usedU16[flags + 2 + size * 4] = (position - 1) & 0xffff;
}

/**
 * Prepares the start of a split ring. @returns its position: the used index. Any earlier back-end stopped there, even one that
 * died, as all use buffers in order.
 * @throws VirtioPmdError EPEER when a part is misaligned or does not lie in the memory
 */
export function startSplit(spec: RingDescription, memory: GuestMemory): number {
  const { used } = splitParts(spec, memory);
  const flags = used.offset >>> 1;
  const position = Atomics.load(used.views.u16, flags + 1);
  suppressKicks(spec, used.views.u16, flags, position);
  return position;
}
