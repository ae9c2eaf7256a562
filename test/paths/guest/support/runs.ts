/** How many runs a property test makes. weak-order.test.ts repeats the suites: a twentieth of them is enough there. */
export function runs(usual: number): number {
  return process.env['VPMD_WEAK_ORDER'] === '1' ? Math.ceil(usual / 20) : usual;
}
