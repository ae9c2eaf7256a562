/** Shared by both directions of a packed ring, on the device's side: its parts, our position, notifications. */
import { fence, WEAK_ORDER } from '../../native/order.js';
import { signalPeer } from '../../native/peer-event.js';
import { packedNeedsNotify } from '../kick.js';
import { DESC_F_AVAIL, DESC_F_AVAIL_USED, DESC_F_USED, DESC_SIZE, DESC_WORDS, EVENT_F_DISABLE } from '../layout.js';
import { KICKS, KICKS_SUPPRESSED, STATS_COUNT } from '../stats.js';
import { brokenReason, Chain } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import { findInterrupted, findPosition, isPlausible, type InterruptedPosition } from './packed-position.js';
import { PoolAccess } from './pool-access.js';
import type { VringSpec } from './queue.js';

export class PackedRing {
  readonly stats = new Float64Array(STATS_COUNT);
  broken: string | undefined = undefined;

  /** Descriptor ring: `descU32[desc]` is its first word. */
  protected readonly descU32: Uint32Array;
  protected readonly desc: number;
  protected readonly chain: Chain;
  protected readonly access: PoolAccess;
  /** Position and wrap counter of the next list: the same for avail and used side, as we use buffers in order. */
  protected position: number;
  protected wrap: number;

  // state of the current burst
  /** Descriptors consumed. */
  protected consumed = 0;
  /** Descriptors, consumed ones included, that are known to be available. */
  protected ready = 0;
  /** First used descriptor of the burst, which is written last: index of its last word, or -1, and value. */
  private firstWord = -1;
  private firstValue = 0;

  private readonly driverEvent: Uint16Array;
  private readonly driverEventAt: number;
  private callFd: number;

  /** @param direction DESC_F_WRITE when we write into the buffers, or 0. */
  constructor(
    readonly spec: VringSpec,
    protected readonly memory: GuestMemory,
    private readonly direction: number,
  ) {
    const { index, size, base } = spec;
    const desc = memory.ring(spec.descAddr, size * DESC_SIZE, 16, `descriptor ring of ring ${index}`);
    const driver = memory.ring(spec.driverAddr, 4, 4, `driver event suppression of ring ${index}`);
    const device = memory.ring(spec.deviceAddr, 4, 4, `device event suppression of ring ${index}`);
    this.descU32 = desc.views.u32;
    this.desc = desc.offset >>> 2;
    this.driverEvent = driver.views.u16;
    this.driverEventAt = driver.offset >>> 1;
    this.chain = new Chain(memory, size, direction, spec.indirect);
    this.access = new PoolAccess(memory, direction);
    this.callFd = spec.callFd;
    this.position = base & 0x7fff;
    this.wrap = (base >>> 15) & 1;
    this.recover();
    // we poll: the driver need not kick
    device.views.u16[(device.offset >>> 1) + 1] = EVENT_F_DISABLE;
  }

  base(): number {
    const half = this.position | (this.wrap << 15);
    return (half | (half << 16)) >>> 0;
  }

  hasWork(): boolean {
    return this.broken === undefined && isAvailable(this.observe(this.position), this.wrap);
  }

  setCallFd(fd: number): void {
    this.callFd = fd;
  }

  protected giveUp(code: number): void {
    this.fail(brokenReason(code));
  }

  fail(why: string): void {
    this.broken = why;
  }

  /**
   * Moves to the position that the descriptors show, when they contradict `base`, or when the front-end has lost its
   * back-end and does not know the position, or gives that of a new ring.
   */
  private recover(): void {
    const { base, left } = this.spec;
    const given = { position: this.position, wrap: this.wrap === 0 ? 0 : 1 } as const;
    // plain loads: the message that starts a ring came after the ring's contents, and 32768 loads take half the time
    const { descU32, desc } = this;
    const flagsOf = (slot: number) => descU32[desc + slot * DESC_WORDS + 3]! >>> 16;
    const isPossible = isPlausible(flagsOf, given);
    if (isPossible && left !== undefined && !(isInitial(base) && !isInitial(left))) {
      this.mend(left);
      return;
    }
    const found = findPosition(flagsOf, this.spec.size);
    const interrupted = found === undefined ? findInterrupted(flagsOf, this.spec.size) : undefined;
    if (found !== undefined) {
      this.position = found.position;
      this.wrap = found.wrap;
    } else if (interrupted !== undefined && (this.direction === 0 || interrupted.passed === 1)) {
      this.finish(interrupted);
    } else if (!isPossible) {
      this.fail(
        `its descriptors contradict the position ${given.position} (wrap counter ${given.wrap}) and do not tell another: restart the guest's driver`,
      );
    }
  }

  /**
   * Corrects descriptors that the front-end has used between our last run, which ended at `left`, and the current position.
   * QEMU up to 8.0 uses them with the wrong wrap counter: see getVringBase.
   */
  private mend(left: number): void {
    const { size } = this.spec;
    const from = left & 0x7fff;
    const wrap = (left >>> 15) & 1;
    const count = this.position - from + (wrap === this.wrap ? 0 : size);
    for (let ahead = 0; ahead < count; ahead++) {
      const slot = (from + ahead) % size;
      const counter = slot < from ? 1 - wrap : wrap;
      const flags = this.observe(slot);
      const isUsed = ((flags & DESC_F_AVAIL) === 0) === ((flags & DESC_F_USED) === 0);
      if (isUsed) this.markUsed(slot, counter); // otherwise it is part of a list
    }
  }

  private markUsed(slot: number, counter: number): void {
    const word = this.desc + slot * DESC_WORDS + 3;
    const flags = (counter ? DESC_F_AVAIL_USED : 0) | this.direction;
    Atomics.store(this.descU32, word, (this.descU32[word]! & 0xffff) | (flags << 16));
  }

  /**
   * Completes an interrupted burst: marks the skipped buffers as used, without changes. A single one ends a burst, and its
   * length is in the descriptor already. Several are packets of the guest, which are lost.
   */
  private finish(at: InterruptedPosition): void {
    this.position = at.position;
    this.wrap = at.wrap;
    for (let ahead = at.passed - 1; ahead >= 0; ahead--) {
      const slot = this.at(ahead);
      this.markUsed(slot, slot < at.position ? 1 - at.wrap : at.wrap);
    }
    const after = findPosition((slot) => this.observe(slot), this.spec.size);
    if (after === undefined) return; // the guest has changed the ring meanwhile
    this.position = after.position;
    this.wrap = after.wrap;
  }

  /** @returns false when there is nothing to do, or the ring is broken. */
  protected begin(): boolean {
    this.consumed = 0;
    this.ready = 0;
    this.firstWord = -1;
    return this.hasWork();
  }

  /**
   * Counts the available descriptors from `ahead` on, at most `n` of them. On weakly ordered CPUs one fence orders the reads
   * of their other words after those of their flags.
   * @returns whether there is one.
   */
  protected look(ahead: number, n: number): boolean {
    if (ahead < this.ready) return true;
    const { descU32, desc } = this;
    const { size } = this.spec;
    if (ahead >= size) return false;
    let position = this.position + ahead;
    let wrap = this.wrap;
    if (position >= size) {
      position -= size;
      wrap ^= 1;
    }
    let ready = ahead;
    const end = ahead + n < size ? ahead + n : size;
    while (ready < end && isAvailable(descU32[desc + position * DESC_WORDS + 3]! >>> 16, wrap)) {
      ready++;
      if (++position === size) {
        position = 0;
        wrap ^= 1;
      }
    }
    this.ready = ready;
    if (WEAK_ORDER) fence();
    return ahead < ready;
  }

  /** Ring position of the `ahead`th descriptor from where the burst began. */
  protected at(ahead: number): number {
    const position = this.position + ahead;
    return position < this.spec.size ? position : position - this.spec.size;
  }

  /**
   * Writes the used descriptor of the buffer `id` that began at descriptor `ahead` of the burst. The guest does not see it
   * before `publish`: it waits for the burst's first one.
   */
  protected use(ahead: number, id: number, length: number): void {
    let position = this.position + ahead;
    let wrap = this.wrap;
    if (position >= this.spec.size) {
      position -= this.spec.size;
      wrap ^= 1;
    }
    const word = this.desc + position * DESC_WORDS;
    const flags = (wrap ? DESC_F_AVAIL_USED : 0) | this.direction;
    this.descU32[word + 2] = length;
    if (this.firstWord < 0) {
      this.firstWord = word + 3;
      this.firstValue = (id | (flags << 16)) >>> 0;
    } else {
      this.descU32[word + 3] = id | (flags << 16);
    }
  }

  /** Publishes the used descriptors of the burst and notifies the guest if it wants that. */
  protected publish(): void {
    if (this.firstWord < 0) return;
    Atomics.store(this.descU32, this.firstWord, this.firstValue); // publish
    const { size, eventIdx } = this.spec;
    const added = this.consumed;
    this.position += added;
    if (this.position >= size) {
      this.position -= size;
      this.wrap ^= 1;
    }
    if (this.callFd < 0) return;
    // the store above and these loads are sequentially consistent: the fence in between is part of them
    const flags = Atomics.load(this.driverEvent, this.driverEventAt + 1);
    const offWrap = Atomics.load(this.driverEvent, this.driverEventAt);
    if (!packedNeedsNotify(eventIdx, flags, offWrap, size, this.position, this.wrap, added)) {
      this.stats[KICKS_SUPPRESSED]!++;
    } else if (signalPeer(this.callFd)) this.stats[KICKS]!++;
  }

  private observe(position: number): number {
    return Atomics.load(this.descU32, this.desc + position * DESC_WORDS + 3) >>> 16;
  }
}

/** Whether a base is that of a new ring. Only the avail half counts: front-ends differ in the other one. */
const isInitial = (base: number) => (base & 0xffff) === 0x8000;

/** A descriptor is available when its AVAIL bit equals the wrap counter and its USED bit does not (2.8.1). */
function isAvailable(flags: number, wrap: number): boolean {
  return (flags & DESC_F_AVAIL_USED) === (wrap ? DESC_F_AVAIL : DESC_F_USED);
}
