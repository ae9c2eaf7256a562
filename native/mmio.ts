/** Registers of a device, mapped into this process. Each access has exactly the width of the register. */
import { fence } from './order.js';
import type { Views } from './region.js';

/**
 * Reads a register. Atomics, because a compiler may not drop such a load or merge two. For the CPU it is a plain load.
 * @param offset a multiple of `width`.
 */
export function readRegister(views: Views, offset: number, width: 1 | 2 | 4): number {
  if (width === 1) return Atomics.load(views.u8, offset);
  if (width === 2) return Atomics.load(views.u16, offset >> 1);
  return Atomics.load(views.u32, offset >> 2);
}

/**
 * Writes a register. The device sees every earlier store to memory before the register changes. No Atomics: their store is
 * an exchange, which reads the register.
 */
export function writeRegister(views: Views, offset: number, width: 1 | 2 | 4, value: number): void {
  fence();
  if (width === 1) views.u8[offset] = value;
  else if (width === 2) views.u16[offset >> 1] = value;
  else views.u32[offset >> 2] = value;
}
