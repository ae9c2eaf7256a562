/** Formats numbers for progress lines and tables. */

export const mpps = (pps: number) => (pps / 1e6).toFixed(3);
export const microseconds = (ns: number) => (ns / 1000).toFixed(1);
/** Progress of a measurement, as the beginning of a line. */
export const pairOf = (pair: number, { pairs }: { readonly pairs: number }) => `pair ${pair + 1}/${pairs}`;
