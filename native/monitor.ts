/**
 * Sleeping until a word of memory changes, without a system call: Intel's UMWAIT (WAITPKG) or AMD's MWAITX. The code is C
 * (monitor.c), in the native helper.
 */
import { helperStatus, monitorFunctions } from './helper.js';

/** '' when this CPU can do it; else the reason. */
export function monitorStatus(): string {
  const functions = monitorFunctions();
  if (functions === undefined) return helperStatus().reason;
  return functions.kind() !== 0 ? '' : 'this CPU has neither WAITPKG (Intel) nor MWAITX (AMD)';
}

/**
 * Returns a function that sleeps while the 16-bit word at an address is `seen`, for some 30 us at most. Any write to its
 * cache line may end the sleep too. Does nothing where `monitorStatus` gives a reason. The address is a number: a BigInt per
 * call is garbage.
 */
export function openMonitor(): (address: number, seen: number) => void {
  const functions = monitorFunctions();
  const kind = functions?.kind() ?? 0;
  return (address, seen) => functions?.wait(kind, address, seen);
}
