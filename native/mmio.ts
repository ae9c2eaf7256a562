/** Registers of a device, mapped into this process: one access of exactly the width that the register has. */
import { fence } from './order.js';
import type { Views } from './region.js';

/**
 * Atomics, because no compiler may leave such a load out, or make one of two. It is a plain load for the CPU.
 * @param offset a multiple of `width`.
 */
export function readRegister(views: Views, offset: number, width: 1 | 2 | 4): number {
  if (width === 1) return Atomics.load(views.u8, offset);
  if (width === 2) return Atomics.load(views.u16, offset >> 1);
  return Atomics.load(views.u32, offset >> 2);
}

/**
 * Whatever was written to memory before is there for the device when the register changes. No Atomics: their store is
 * an exchange, which reads the register.
 */
export function writeRegister(views: Views, offset: number, width: 1 | 2 | 4, value: number): void {
  fence();
  if (width === 1) views.u8[offset] = value;
  else if (width === 2) views.u16[offset >> 1] = value;
  else views.u32[offset >> 2] = value;
}
