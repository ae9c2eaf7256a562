/**
 * What a thread goes on with while it waits (rte_service): a vhost port answers a virtio_user port of the same thread, which
 * would else wait for it in vain.
 */
import { pollFd } from '../../native/event.js';

/** The services of this thread. */
const services = new Set<() => void>();

/** Milliseconds between two rounds of the services. */
const STEP_MS = 1;

/** Adds a function that does what it can without waiting, and never throws. @returns a function that removes it */
export function addService(service: () => void): () => void {
  services.add(service);
  return () => services.delete(service);
}

/** Waits for a descriptor, as pollFd does, and runs the services meanwhile. @returns the events, 0 after `timeoutMs` */
export function pollServing(fd: number, events: number, timeoutMs: number): number {
  if (services.size === 0) return pollFd(fd, events, timeoutMs);
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    for (const service of services) service();
    const left = deadline - performance.now();
    const ready = pollFd(fd, events, Math.ceil(Math.min(Math.max(0, left), STEP_MS)));
    if (ready !== 0 || left <= 0) return ready;
  }
}
