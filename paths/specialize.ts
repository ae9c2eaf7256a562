/**
 * Compiles separate machine code for every queue.
 *
 * V8 compiles a typed array's base address and length as constants when it knows the array: a constant in the scope around a
 * function that exists once. Then an access costs 0.33 ns instead of 0.83 ns (Node 20, AMD EPYC Milan). A second instance of
 * the same function makes both slow, permanently. So each path is a factory, whose closures have the queue's arrays as
 * constants, and the factory is compiled again from its source for each queue. docs/decisions/0004-code-per-queue.md has the
 * measurements.
 *
 * The price: `scope` must name everything that the factory uses from outside, since the copy sees nothing else. A missing
 * name is a ReferenceError at the first burst, so every path's test finds it.
 */

/** Makes each source unique: for equal sources V8 would reuse the function in its compilation cache. */
let serial = 0;

type Factory<A extends unknown[], R> = (...args: A) => R;

/** False, for example, with Node's --disallow-code-generation-from-strings. */
const canMakeCode = (() => {
  try {
    // eslint-disable-next-line @typescript-eslint/no-implied-eval -- decision 0004
    new Function('');
    return true;
  } catch {
    return false;
  }
})();

/** VPMD_SHARED_CODE=1: all queues share the code, which is slower, but visible to coverage tools and debuggers. */
const shared = process.env['VPMD_SHARED_CODE'] === '1' || !canMakeCode;

/** A note to log once when code cannot be generated; else undefined. */
export const sharedCodeNote = canMakeCode
  ? undefined
  : 'queues share code, which is slower: no code can be made from strings here (--disallow-code-generation-from-strings)';

/** Calls a new copy of `factory`. @param scope by name, everything that its source refers to, except globals. */
export function specialize<A extends unknown[], R>(
  factory: Factory<A, R>,
  scope: Readonly<Record<string, unknown>>,
  ...args: A
): R {
  const source = factory.toString();
  const names = Object.keys(scope);
  // a minifier has renamed what the source refers to: the names cannot be matched
  const renamed = names.some((name) => !source.includes(name));
  if (shared || renamed) return factory(...args);
  // eslint-disable-next-line @typescript-eslint/no-implied-eval -- decision 0004: the source is that of a function of ours
  const make = new Function(...names, `"use strict"; /* ${serial++} */ return (${source});`) as (
    ...values: unknown[]
  ) => Factory<A, R>;
  return make(...Object.values(scope))(...args);
}
