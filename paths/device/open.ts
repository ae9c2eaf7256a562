/** Chooses the class that serves a ring, from the control plane's description of it. */
import { VirtioPmdError } from '../../native/errors.js';
import { MAX_QUEUE_SIZE, NET_HDR_HASH, NET_HDR_LEGACY, NET_HDR_MRG } from '../layout.js';
import { DequeuePacked } from './dequeue-packed.js';
import { DequeueSplit } from './dequeue-split.js';
import { EnqueuePacked } from './enqueue-packed.js';
import { EnqueueSplit } from './enqueue-split.js';
import type { GuestMemory } from './guest-memory.js';
import type { DeviceQueue, VringSpec } from './queue.js';

/**
 * Starts a ring: even ones enqueue (the guest's Rx), odd ones dequeue (the guest's Tx).
 *
 * Split rings continue at `used.idx` in the guest's memory, as in DPDK: we use buffers in order, so any earlier back-end
 * stopped there, even one that died. Packed rings continue at the avail half of `spec.base`, or at the position that the
 * descriptors show, when that contradicts it or `base` is uncertain.
 * @throws VirtioPmdError EPEER when size, base or addresses are invalid.
 */
export function openDeviceQueue(spec: VringSpec, memory: GuestMemory): DeviceQueue {
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
  if ((index & 1) === 0) return packed ? new EnqueuePacked(spec, memory) : new EnqueueSplit(spec, memory);
  return packed ? new DequeuePacked(spec, memory) : new DequeueSplit(spec, memory);
}
