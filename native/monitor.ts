/**
 * Sleeping until a word of memory changes, without a system call: UMWAIT of Intel's WAITPKG, or AMD's MWAITX. The calls are C
 * (monitor.c), in the native helper.
 */
import { helperStatus, monitorFunctions } from './helper.js';

/** '' when this CPU can do it, else why not. */
export function monitorStatus(): string {
  const functions = monitorFunctions();
  if (functions === undefined) return helperStatus().reason;
  return functions.kind() !== 0 ? '' : 'this CPU has neither WAITPKG (Intel) nor MWAITX (AMD)';
}

/**
 * A function that sleeps while the 16-bit word at an address is `seen`, for some 30 us at most; any write to its cache line
 * may end that, too. Does nothing where `monitorStatus` gives a reason. The address is a number: a BigInt per call is garbage.
 */
export function openMonitor(): (address: number, seen: number) => void {
  const functions = monitorFunctions();
  const kind = functions?.kind() ?? 0;
  return (address, seen) => functions?.wait(kind, address, seen);
}
