/**
 * Where a packed ring goes on when it starts: where the front-end says, or where the descriptors show when they contradict
 * that. Buffers that were skipped are marked as used (docs/decisions/0014).
 */
import { DESC_F_AVAIL, DESC_F_AVAIL_USED, DESC_F_USED, DESC_F_WRITE, DESC_WORDS, EVENT_F_DISABLE } from '../layout.js';
import type { GuestMemory } from './guest-memory.js';
import { packedParts } from './packed-ring.js';
import {
  findInterrupted,
  findPosition,
  isPlausible,
  type InterruptedPosition,
  type PackedPosition,
} from './packed-position.js';
import type { VringSpec } from './queue.js';
import type { RingState } from './ring-state.js';

/**
 * Prepares the start of a packed ring. Marks it as broken when no position is possible.
 * @returns the position: bits 0-14 the next descriptor, bit 15 its wrap counter.
 * @throws VirtioPmdError EPEER when a part is misaligned or does not lie in the memory
 */
export function startPacked(spec: VringSpec, state: RingState, memory: GuestMemory): number {
  const { desc, device } = packedParts(spec, memory);
  const direction = spec.index & 1 ? 0 : DESC_F_WRITE;
  const ring = new Descriptors(desc.views.u32, desc.offset >>> 2, spec.size, direction);
  const { position, wrap } = recover(spec, state, ring);
  // we poll: the driver need not kick
  device.views.u16[(device.offset >>> 1) + 1] = EVENT_F_DISABLE;
  return position | (wrap << 15);
}

/** Whether a base is that of a new ring. Only the avail half counts: front-ends differ in the other one. */
const isInitial = (base: number) => (base & 0xffff) === 0x8000;

/**
 * The position that the descriptors show, when they contradict `base`, or when the front-end has lost its back-end and does
 * not know the position, or gives that of a new ring; else `base`.
 */
function recover({ base, left, size }: VringSpec, state: RingState, ring: Descriptors): PackedPosition {
  const given: PackedPosition = { position: base & 0x7fff, wrap: (base & 0x8000) === 0 ? 0 : 1 };
  // plain loads: the message that starts a ring came after the ring's contents, and 32768 loads take half the time
  const flagsOf = (slot: number) => ring.flagsOf(slot);
  const isPossible = isPlausible(flagsOf, given);
  if (isPossible && left !== undefined && !(isInitial(base) && !isInitial(left))) {
    ring.mend(left, given);
    return given;
  }
  const found = findPosition(flagsOf, size);
  if (found !== undefined) return found;
  const interrupted = findInterrupted(flagsOf, size);
  if (interrupted !== undefined && (ring.direction === 0 || interrupted.passed === 1)) return ring.finish(interrupted);
  if (!isPossible) {
    state.fail(
      `its descriptors contradict the position ${given.position} (wrap counter ${given.wrap}) and do not tell another: restart the guest's driver`,
    );
  }
  return given;
}

/** The flags of a ring's descriptors. */
class Descriptors {
  /** @param desc the ring's first word in `u32`. @param direction DESC_F_WRITE when we write into the buffers, or 0. */
  constructor(
    private readonly u32: Uint32Array,
    private readonly desc: number,
    private readonly size: number,
    readonly direction: number,
  ) {}

  flagsOf(slot: number): number {
    return this.u32[this.desc + slot * DESC_WORDS + 3]! >>> 16;
  }

  /**
   * Corrects descriptors that the front-end has used between our last run, which ended at `left`, and the position `to`. QEMU up
   * to 8.0 uses them with the wrong wrap counter: see getVringBase.
   */
  mend(left: number, to: PackedPosition): void {
    const { size } = this;
    const from = left & 0x7fff;
    const wrap = (left >>> 15) & 1;
    const count = to.position - from + (wrap === to.wrap ? 0 : size);
    for (let ahead = 0; ahead < count; ahead++) {
      const slot = (from + ahead) % size;
      const counter = slot < from ? 1 - wrap : wrap;
      const flags = Atomics.load(this.u32, this.desc + slot * DESC_WORDS + 3) >>> 16;
      const isUsed = ((flags & DESC_F_AVAIL) === 0) === ((flags & DESC_F_USED) === 0);
      if (isUsed) this.markUsed(slot, counter); // otherwise it is part of a list
    }
  }

  private markUsed(slot: number, counter: number): void {
    const word = this.desc + slot * DESC_WORDS + 3;
    const flags = (counter ? DESC_F_AVAIL_USED : 0) | this.direction;
    Atomics.store(this.u32, word, (this.u32[word]! & 0xffff) | (flags << 16));
  }

  /**
   * Completes an interrupted burst: marks the skipped buffers as used, without changes. A single one ends a burst, and its
   * length is in the descriptor already. Several are packets of the guest, which are lost.
   * @returns the position after them
   */
  finish(at: InterruptedPosition): PackedPosition {
    for (let ahead = at.passed - 1; ahead >= 0; ahead--) {
      const slot = (at.position + ahead) % this.size;
      this.markUsed(slot, slot < at.position ? 1 - at.wrap : at.wrap);
    }
    // undefined: the guest has changed the ring meanwhile
    return findPosition((slot) => this.flagsOf(slot), this.size) ?? at;
  }
}
