/** Sleeping until the device writes the word that announces the next packet (rte_eth_get_monitor_addr). No system call. */
import { openMonitor } from '../../native/monitor.js';
import { viewsOf } from '../../native/region.js';
import { DESC_F_AVAIL_USED, DESC_SIZE } from '../layout.js';
import { BROKEN, layoutOf, queueState, STARTED, USED_IDX, USED_WRAP, type QueueSpec } from './queue.js';

/**
 * Returns a function that sleeps until the device uses a buffer, for some 30 us at most. It returns at once when there are
 * packets already, or on a CPU that cannot sleep so (monitorStatus). For the thread that polls the queue.
 */
export function openRxMonitor(spec: QueueSpec): () => void {
  const { words } = queueState(spec);
  const { u16 } = viewsOf(spec.mapping);
  const sleep = openMonitor();
  const base = Number(spec.mapping.address);
  const { desc, device } = layoutOf(spec);
  const usedIdx = (spec.ringOff + device + 2) >> 1;
  const flags = (spec.ringOff + desc + DESC_SIZE - 2) >> 1;
  return () => {
    if (words[STARTED] === 0 || words[BROKEN] !== 0) return;
    const used = words[USED_IDX]!;
    const word = spec.packed ? flags + used * (DESC_SIZE / 2) : usedIdx;
    const seen = Atomics.load(u16, word);
    const mark = words[USED_WRAP] === 0 ? 0 : DESC_F_AVAIL_USED;
    const packets = spec.packed ? (seen & DESC_F_AVAIL_USED) === mark : seen !== used;
    if (!packets) sleep(base + 2 * word, seen);
  };
}
