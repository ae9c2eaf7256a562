/**
 * Rx interrupts of one queue (rte_eth_dev_rx_intr_enable and _disable): asks the device for a notification, then checks the
 * ring once more. Uses only the state that every Rx path keeps, so that any of them can sleep between two bursts.
 */
import { fence } from '../../native/order.js';
import { viewsOf } from '../../native/region.js';
import { AVAIL_F_NO_INTERRUPT, DESC_WORDS, EVENT_F_DESC, EVENT_F_DISABLE, EVENT_F_ENABLE } from '../layout.js';
import { WRAP_BITS } from './packed.js';
import { BROKEN, FREE_COUNT, layoutOf, queueState, STARTED, USED_IDX, USED_WRAP, type QueueSpec } from './queue.js';

/** For the thread that polls the queue. On a queue that is not started, or broken, neither call touches the ring. */
export interface RxInterrupt {
  /**
   * Asks for an interrupt with the next packet that is not consumed yet.
   * @returns true when there are packets already: then do not wait, as the device may have decided before we asked
   * (virtio 1.2 sections 2.7.14 and 2.8.21.3.1).
   */
  enable(): boolean;
  /** Asks for no interrupts: the thread polls. */
  disable(): void;
}

export function openRxInterrupt(spec: QueueSpec): RxInterrupt {
  return spec.packed ? packedInterrupt(spec) : splitInterrupt(spec);
}

function splitInterrupt(spec: QueueSpec): RxInterrupt {
  const { words } = queueState(spec);
  const { u16 } = viewsOf(spec.mapping);
  const layout = layoutOf(spec);
  const flags = (spec.ringOff + layout.driver) >> 1;
  const usedEvent = flags + 2 + spec.size;
  const usedIdx = ((spec.ringOff + layout.device) >> 1) + 1;
  return {
    enable() {
      if (words[STARTED] === 0 || words[BROKEN] !== 0) return false;
      const used = words[USED_IDX]!;
      if (spec.eventIdx) u16[usedEvent] = used;
      else u16[flags] = 0;
      fence();
      return Atomics.load(u16, usedIdx) !== used;
    },
    disable() {
      // with EVENT_IDX the flag must stay 0 (section 2.7.7.1); an event index behind us costs one interrupt in 65536
      if (!spec.eventIdx && words[STARTED] !== 0 && words[BROKEN] === 0) u16[flags] = AVAIL_F_NO_INTERRUPT;
    },
  };
}

function packedInterrupt(spec: QueueSpec): RxInterrupt {
  const { words } = queueState(spec);
  const { i32 } = viewsOf(spec.mapping);
  const layout = layoutOf(spec);
  const desc32 = (spec.ringOff + layout.desc) >> 2;
  /** off_wrap | flags << 16: one store, so that the device never sees half of it. */
  const event = (spec.ringOff + layout.driver) >> 2;
  return {
    enable() {
      if (words[STARTED] === 0 || words[BROKEN] !== 0) return false;
      const idx = words[USED_IDX]!;
      const wrap = words[USED_WRAP]!;
      i32[event] = spec.eventIdx ? idx | (wrap << 15) | (EVENT_F_DESC << 16) : EVENT_F_ENABLE << 16;
      fence();
      if (words[FREE_COUNT] === spec.nbDesc) return false; // the device has no buffer: the descriptors are of an older lap
      const mark = wrap === 0 ? 0 : WRAP_BITS;
      return (Atomics.load(i32, desc32 + idx * DESC_WORDS + 3) & WRAP_BITS) === mark;
    },
    disable() {
      if (words[STARTED] !== 0 && words[BROKEN] === 0) i32[event] = EVENT_F_DISABLE << 16;
    },
  };
}
