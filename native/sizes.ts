/** Sizes of memory as text. */

const KIB = 1024;
const MIB = 1024 * 1024;

function inUnits(bytes: number, unit: number): string {
  const n = bytes / unit;
  return Number.isInteger(n) ? `${n}` : n.toFixed(1);
}

/** In MiB, the unit of `-m`, with one decimal unless it is whole: "2046 MiB", "0.5 MiB". */
export function formatMiB(bytes: number | bigint): string {
  return `${inUnits(Number(bytes), MIB)} MiB`;
}

/** In the largest unit, up to MiB, that makes at least 1: "64 bytes", "4 KiB", "2046 MiB". */
export function formatSize(bytes: number | bigint): string {
  const n = Number(bytes);
  if (n < KIB) return `${n} bytes`;
  return n < MIB ? `${inUnits(n, KIB)} KiB` : formatMiB(n);
}
