/**
 * Whether to notify the other side: pure functions, the same for driver and device (virtio 1.2 sections 2.7.7, 2.7.10 and
 * 2.8.10). The caller publishes its index and executes a full barrier before it reads the words that it passes here. Garbage
 * in those words causes at most a notification too many or too few.
 */
import { AVAIL_F_NO_INTERRUPT, EVENT_F_DESC, EVENT_F_DISABLE } from './layout.js';

/** Bit 15 of `off_wrap`: the wrap counter that belongs to the offset in the bits below. */
const OFF_WRAP_COUNTER = 1 << 15;

/** True when a 16-bit index has passed `eventIdx` on its way from `oldIdx` to `newIdx` (both modulo 2^16). */
export function needEvent(eventIdx: number, newIdx: number, oldIdx: number): boolean {
  return ((newIdx - eventIdx - 1) & 0xffff) < ((newIdx - oldIdx) & 0xffff);
}

/**
 * Split ring.
 * @param eventIdx whether EVENT_IDX was negotiated.
 * @param word with it: the other side's used_event or avail_event; without: its flags (bit 0: do not notify).
 * @param newIdx our idx as just published; `oldIdx`: as it was after the previous decision.
 */
export function splitNeedsNotify(eventIdx: boolean, word: number, newIdx: number, oldIdx: number): boolean {
  return eventIdx ? needEvent(word, newIdx, oldIdx) : (word & AVAIL_F_NO_INTERRUPT) === 0;
}

/**
 * Packed ring.
 * @param eventIdx whether EVENT_IDX was negotiated: without it the mode DESC does not exist and counts as ENABLE, like the
 *   reserved mode 3.
 * @param flags, offWrap the other side's event suppression structure.
 * @param size descriptors in the ring.
 * @param newIdx, newWrap the position and wrap counter behind the last descriptor that we have just published.
 * @param added descriptors published since the previous decision, at most `size`.
 */
export function packedNeedsNotify(
  eventIdx: boolean,
  flags: number,
  offWrap: number,
  size: number,
  newIdx: number,
  newWrap: number,
  added: number,
): boolean {
  const mode = flags & 3;
  if (mode === EVENT_F_DISABLE) return false;
  if (mode !== EVENT_F_DESC || !eventIdx) return true;
  let event = offWrap & (OFF_WRAP_COUNTER - 1);
  // an event in the other lap is one ring size earlier
  if (offWrap >>> 15 !== newWrap) event -= size;
  return needEvent(event, newIdx, newIdx - added);
}
