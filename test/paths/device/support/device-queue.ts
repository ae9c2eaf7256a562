/** Starts a ring and opens it on the same thread, and shows what its shared state says. */
import type { GuestMemory } from '../../../../paths/device/guest-memory.js';
import { openRing, startRing } from '../../../../paths/device/open.js';
import type { DeviceQueue, VringSpec } from '../../../../paths/device/queue.js';
import { CALL_FD, RingState } from '../../../../paths/device/ring-state.js';

export interface TestQueue extends DeviceQueue {
  readonly stats: Float64Array;
  readonly broken: string | undefined;
  base(): number;
  setCallFd(fd: number): void;
}

export type TestSpec = VringSpec & { readonly callFd?: number };

export function openDeviceQueue(spec: TestSpec, memory: GuestMemory): TestQueue {
  const state = new RingState();
  state.clear();
  state.words[CALL_FD] = spec.callFd ?? -1;
  startRing(spec, state, memory);
  const queue = openRing(state, memory) as TestQueue;
  Object.defineProperty(queue, 'broken', { get: () => state.broken });
  queue.base = () => state.base(spec.packed);
  queue.setCallFd = (fd) => (state.words[CALL_FD] = fd);
  return queue;
}
