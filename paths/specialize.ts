/**
 * Machine code of its own for every queue.
 *
 * V8 turns a typed array into constants (base address and length) when it knows which one it is, and it knows for a
 * constant of the scope around a function that exists once. Then an access costs 0.33 ns instead of 0.83 ns (Node 20,
 * AMD EPYC Milan); a second instance of the same function takes that away from both, for ever. So each path is a
 * factory, whose closures have the queue's arrays as constants, and each queue gets the factory compiled anew from its
 * source. docs/decisions/0004-code-per-queue.md has the measurements.
 *
 * The price: `scope` must name everything that the factory uses from outside, since the copy sees nothing else. A name
 * forgotten is a ReferenceError at the first burst, so every path's test finds it.
 */

/** Makes each source unique: V8 would take equal ones for the same function out of its compilation cache. */
let serial = 0;

type Factory<A extends unknown[], R> = (...args: A) => R;

/** False with Node's --disallow-code-generation-from-strings, for example. */
const canMakeCode = (() => {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- decision 0004
    new Function('');
    return true;
  } catch {
    return false;
  }
})();

/** VPMD_SHARED_CODE=1: one code for all queues, slower, but visible to coverage tools and debuggers. */
const shared = process.env['VPMD_SHARED_CODE'] === '1' || !canMakeCode;

/** What to tell the user once, or undefined when all is as it should be. */
export const sharedCodeNote = canMakeCode
  ? undefined
  : 'queues share code, which is slower: no code can be made from strings here (--disallow-code-generation-from-strings)';

/** Calls a fresh copy of `factory`. `scope`: by name, all that its source refers to and that is not global. */
export function specialize<A extends unknown[], R>(
  factory: Factory<A, R>,
  scope: Readonly<Record<string, unknown>>,
  ...args: A
): R {
  const source = factory.toString();
  const names = Object.keys(scope);
  // a minifier has renamed what the source refers to: then there is no telling what is what
  const renamed = names.some((name) => !source.includes(name));
  if (shared || renamed) return factory(...args);
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- decision 0004: the source is that of a function of ours
  const make = new Function(...names, `"use strict"; /* ${serial++} */ return (${source});`) as (
    ...values: unknown[]
  ) => Factory<A, R>;
  return make(...Object.values(scope))(...args);
}
