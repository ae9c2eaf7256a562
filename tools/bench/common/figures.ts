/** Numbers as lines of progress and tables show them. */

export const mpps = (pps: number) => (pps / 1e6).toFixed(3);
export const microseconds = (ns: number) => (ns / 1000).toFixed(1);
/** How far a measurement is, in front of a line. */
export const pairOf = (pair: number, { pairs }: { readonly pairs: number }) => `pair ${pair + 1}/${pairs}`;
