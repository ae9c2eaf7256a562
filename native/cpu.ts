/** CPUs: which ones this thread may use, and pinning it to some. */
import { c, check } from './libc.js';

const MASK_BYTES = 128; // glibc's cpu_set_t: 1024 CPUs

/** CPUs that the calling thread may run on, ascending. */
export function availableCpus(): number[] {
  const mask = new Uint8Array(MASK_BYTES);
  check(c.schedGetaffinity(0, MASK_BYTES, mask), 'sched_getaffinity');
  const cpus: number[] = [];
  for (let cpu = 0; cpu < MASK_BYTES * 8; cpu++) if (mask[cpu >> 3]! & (1 << (cpu & 7))) cpus.push(cpu);
  return cpus;
}

/** Pins the calling thread (only that one) to `cpus`. @throws SystemError EINVAL when none of them exists. */
export function pinThread(cpus: readonly number[]): void {
  const mask = new Uint8Array(MASK_BYTES);
  for (const cpu of cpus) mask[cpu >> 3]! |= 1 << (cpu & 7);
  check(c.schedSetaffinity(c.gettid(), MASK_BYTES, mask), 'sched_setaffinity', `CPU ${cpus.join(',')}`);
}
