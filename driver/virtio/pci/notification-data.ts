/** The driver's position in a ring, read from the ring, for NOTIFICATION_DATA (virtio 1.2 section 2.9). */
import { viewsOf, type Mapping } from '../../../native/region.js';
import { DESC_F_AVAIL, DESC_SIZE } from '../../../paths/layout.js';
import { vring_packed_desc } from '../../wire/linux/virtio-ring.js';
import type { QueueSetup } from '../transport.js';

const WRAP = 0x8000;

/**
 * Split: the avail index. Packed: the next descriptor to be made available, with its wrap counter in bit 15. This reads the whole
 * ring, so it is for the control plane; data paths keep their position.
 */
export function driverPosition(memory: Mapping, queue: QueueSetup, packed: boolean): number {
  const { u16 } = viewsOf(memory);
  if (!packed) return u16[(queue.driver + 2) >> 1]!;
  // driver and device leave the same AVAIL bit in every descriptor of one lap, and its inverse in the next
  const lap = (at: number) => u16[(queue.desc + at * DESC_SIZE + vring_packed_desc.flags.offset) >> 1]! & DESC_F_AVAIL;
  const first = lap(0);
  for (let at = 1; at < queue.size; at++) {
    if (lap(at) !== first) return first === 0 ? at : at | WRAP;
  }
  return first === 0 ? WRAP : 0;
}
