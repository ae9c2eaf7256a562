/** Starts a ring, and chooses the class that serves it, from the control plane's description of it. */
import { VirtioPmdError } from '../../native/errors.js';
import { MAX_QUEUE_SIZE, NET_HDR_HASH, NET_HDR_LEGACY, NET_HDR_MRG } from '../layout.js';
import { DequeuePacked } from './dequeue-packed.js';
import { DequeueSplit } from './dequeue-split.js';
import { EnqueuePacked } from './enqueue-packed.js';
import { EnqueueSplit } from './enqueue-split.js';
import type { GuestMemory } from './guest-memory.js';
import { startPacked } from './packed-start.js';
import type { DeviceQueue, VringSpec } from './queue.js';
import { BROKEN, GENERATION, POSITION, STARTED, type RingState } from './ring-state.js';
import { startSplit } from './split-ring.js';

/**
 * Starts a ring, as its control plane does: checks it, finds the position, and writes both to `state`. No thread may be in a
 * burst on it. Threads then open the ring with `openRing`.
 *
 * Split rings continue at `used.idx` in the guest's memory, as in DPDK. Packed rings continue at the avail half of `spec.base`,
 * or at the position that the descriptors show, when that contradicts it or `base` is uncertain.
 * @throws VirtioPmdError EPEER when size, base or addresses are invalid.
 */
export function startRing(spec: VringSpec, state: RingState, memory: GuestMemory): void {
  const { index, packed, size, base, hdrSize } = spec;
  const fits = Number.isInteger(size) && size > 0 && size <= MAX_QUEUE_SIZE;
  if (!fits || (!packed && (size & (size - 1)) !== 0)) {
    const accepted = `1 to ${MAX_QUEUE_SIZE}${packed ? '' : ', a power of two'}`;
    throw new VirtioPmdError('EPEER', `ring ${index} has a size of ${size}; accepted: ${accepted}`);
  }
  if (packed && (base & 0x7fff) >= size) {
    throw new VirtioPmdError('EPEER', `ring ${index} is to start at ${base & 0x7fff}, but has ${size} descriptors`);
  }
  if (hdrSize !== NET_HDR_LEGACY && hdrSize !== NET_HDR_MRG && hdrSize !== NET_HDR_HASH) {
    throw new VirtioPmdError('ECONFIG', `a net header of ${hdrSize} bytes was asked for; there are 10, 12 and 20`);
  }
  const { words } = state;
  words[BROKEN] = 0;
  words[POSITION] = packed ? startPacked(spec, state, memory) : startSplit(spec, memory);
  state.description = spec;
  words[GENERATION] = (words[GENERATION]! + 1) | 0;
  Atomics.store(words, STARTED, 1); // publish
}

/**
 * Opens a started ring for bursts on this thread: even ones enqueue (the guest's Rx), odd ones dequeue (the guest's Tx). It is
 * valid until the ring's next start, or the next memory table.
 * @throws VirtioPmdError EPEER when a part does not lie in the memory
 */
export function openRing(state: RingState, memory: GuestMemory): DeviceQueue {
  const spec = state.description;
  const { index, packed } = spec;
  if ((index & 1) === 0) return packed ? new EnqueuePacked(spec, state, memory) : new EnqueueSplit(spec, state, memory);
  return packed ? new DequeuePacked(spec, state, memory) : new DequeueSplit(spec, state, memory);
}
