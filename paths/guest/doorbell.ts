/** Doorbells: how a queue notifies its device of work. At most once per burst. */
import { signalFd } from '../../native/event.js';
import { fence, WEAK_ORDER } from '../../native/order.js';
import { signalPeer } from '../../native/peer-event.js';
import { writePort16 } from '../../native/port-io.js';
import { viewsOf } from '../../native/region.js';
import type { Doorbell } from './queue.js';

/**
 * Rings the doorbell. `position` is for NOTIFICATION_DATA (virtio 1.2 section 4.1.5.2): the avail idx of a split ring; for a
 * packed ring the next descriptor to fill, with its wrap counter in bit 15.
 */
export type Ring = (position: number) => void;

/** The doorbell of one queue, for the calling thread. */
export function openDoorbell(doorbell: Doorbell): Ring {
  switch (doorbell.kind) {
    case 'none':
      return () => {};
    case 'eventfd': {
      const { fd } = doorbell;
      return () => void signalFd(fd);
    }
    case 'peer-eventfd': {
      const { fd } = doorbell;
      return () => void signalPeer(fd);
    }
    case 'mmio': {
      const { u16 } = viewsOf(doorbell.mapping);
      const { value } = doorbell;
      const at = doorbell.offset >> 1;
      // a plain store: Atomics.store would compile to an exchange, which reads the register
      return () => {
        if (WEAK_ORDER) fence();
        u16[at] = value;
      };
    }
    case 'mmio-data': {
      const { u32 } = viewsOf(doorbell.mapping);
      const { value } = doorbell;
      const at = doorbell.offset >> 2;
      return (position) => {
        if (WEAK_ORDER) fence();
        u32[at] = value | (position << 16);
      };
    }
    case 'port': {
      const { fd, offset, value } = doorbell;
      return () => writePort16(fd, offset, value);
    }
  }
}
