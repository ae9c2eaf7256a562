/** Shared by both directions of a packed ring, on the device's side: its parts, our position, notifications. */
import { fence, WEAK_ORDER } from '../../native/order.js';
import { signalPeer } from '../../native/peer-event.js';
import { packedNeedsNotify } from '../kick.js';
import {
  DESC_F_AVAIL,
  DESC_F_AVAIL_USED,
  DESC_F_USED,
  DESC_SIZE,
  DESC_WORDS,
  EVENT_F_DESC,
  EVENT_F_DISABLE,
  EVENT_F_ENABLE,
} from '../layout.js';
import { KICKS, KICKS_SUPPRESSED } from '../stats.js';
import { brokenReason, Chain } from './chain.js';
import type { GuestMemory } from './guest-memory.js';
import { PoolAccess } from './pool-access.js';
import { BROKEN, CALL_FD, POSITION, type RingDescription, type RingState } from './ring-state.js';

/** The parts of a packed ring. @throws VirtioPmdError EPEER when one is misaligned or does not lie in the memory */
export function packedParts({ index, size, ...spec }: RingDescription, memory: GuestMemory) {
  return {
    desc: memory.ring(spec.descAddr, size * DESC_SIZE, 16, `descriptor ring of ring ${index}`),
    driver: memory.ring(spec.driverAddr, 4, 4, `driver event suppression of ring ${index}`),
    device: memory.ring(spec.deviceAddr, 4, 4, `device event suppression of ring ${index}`),
  };
}

export class PackedRing {
  readonly stats: Float64Array;

  /** Descriptor ring: `descU32[desc]` is its first word. */
  protected readonly descU32: Uint32Array;
  protected readonly desc: number;
  protected readonly chain: Chain;
  protected readonly access: PoolAccess;
  /** Position and wrap counter when the burst began: the same for avail and used side, as we use buffers in order. */
  protected position = 0;
  protected wrap = 0;

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
  private readonly deviceEvent: Uint16Array;
  private readonly deviceEventAt: number;
  private readonly words: Int32Array;

  /** @param direction DESC_F_WRITE when we write into the buffers, or 0. */
  constructor(
    readonly spec: RingDescription,
    readonly state: RingState,
    protected readonly memory: GuestMemory,
    private readonly direction: number,
  ) {
    const { desc, driver, device } = packedParts(spec, memory);
    this.words = state.words;
    this.stats = state.stats;
    this.descU32 = desc.views.u32;
    this.desc = desc.offset >>> 2;
    this.driverEvent = driver.views.u16;
    this.driverEventAt = driver.offset >>> 1;
    this.deviceEvent = device.views.u16;
    this.deviceEventAt = device.offset >>> 1;
    this.chain = new Chain(memory, spec.size, direction, spec.indirect);
    this.access = new PoolAccess(memory, direction);
  }

  hasWork(): boolean {
    const at = this.words[POSITION]!;
    return !this.isBroken && isAvailable(this.observe(at & 0x7fff), at >>> 15);
  }

  offered(): number {
    return this.hasWork() ? 1 : 0;
  }

  awaitKick(): boolean {
    if (this.isBroken) return false;
    const { deviceEvent, deviceEventAt } = this;
    if (this.spec.eventIdx) {
      deviceEvent[deviceEventAt] = this.words[POSITION]!;
      Atomics.store(deviceEvent, deviceEventAt + 1, EVENT_F_DESC);
    } else Atomics.store(deviceEvent, deviceEventAt + 1, EVENT_F_ENABLE);
    fence();
    return this.hasWork();
  }

  ignoreKicks(): void {
    this.deviceEvent[this.deviceEventAt + 1] = EVENT_F_DISABLE;
  }

  protected get isBroken(): boolean {
    return this.words[BROKEN] !== 0;
  }

  protected giveUp(code: number): void {
    this.state.fail(brokenReason(code));
  }

  /** @returns false when there is nothing to do, or the ring is broken. */
  protected begin(): boolean {
    this.consumed = 0;
    this.ready = 0;
    this.firstWord = -1;
    const { words } = this;
    const at = words[POSITION]!;
    this.position = at & 0x7fff;
    this.wrap = at >>> 15;
    return words[BROKEN] === 0 && isAvailable(this.observe(this.position), this.wrap);
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
    const { words } = this;
    const { size, eventIdx } = this.spec;
    const added = this.consumed;
    this.position += added;
    if (this.position >= size) {
      this.position -= size;
      this.wrap ^= 1;
    }
    words[POSITION] = this.position | (this.wrap << 15);
    const callFd = words[CALL_FD]!;
    if (callFd < 0) return;
    // the store above and these loads are sequentially consistent: the fence in between is part of them
    const flags = Atomics.load(this.driverEvent, this.driverEventAt + 1);
    const offWrap = Atomics.load(this.driverEvent, this.driverEventAt);
    if (!packedNeedsNotify(eventIdx, flags, offWrap, size, this.position, this.wrap, added)) {
      this.stats[KICKS_SUPPRESSED]!++;
    } else if (signalPeer(callFd)) this.stats[KICKS]!++;
  }

  private observe(position: number): number {
    return Atomics.load(this.descU32, this.desc + position * DESC_WORDS + 3) >>> 16;
  }
}

/** A descriptor is available when its AVAIL bit equals the wrap counter and its USED bit does not (2.8.1). */
function isAvailable(flags: number, wrap: number): boolean {
  return (flags & DESC_F_AVAIL_USED) === (wrap ? DESC_F_AVAIL : DESC_F_USED);
}
